"""Comparisons that some sizes of a region answer otherwise, decided as the call at hand does.

The trace goes on for the part of the region where that answer holds. What it took for granted is
among the guards of its program: a call that breaks one has a trace of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region

_MOST = 8  # decisions of one trace


@dataclasses.dataclass
class Decisions:
    """The decisions of one trace.

    Attributes:
      sizes: of the call that is traced for, by symbol; where there are none, nothing is decided.
      expected: upper bounds that calls so far suggest and nobody promised.
      taken: what was taken for true.
    """

    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    expected: tuple[Comparison, ...] = ()
    taken: list[Comparison] = dataclasses.field(default_factory=list)

    def narrowed(self, region: Region, question: Comparison) -> Region | None:
        """The part of a region where a question has the call's answer; None to stop the trace.

        Bounds that are expected come first, where the answer itself is more than a bound of one
        symbol: a question that they settle splits nothing. A trace stops where a symbol would
        become a number, or another one's equal, as there is a simpler one with that, and where it
        decides too often.
        """
        if not question.symbols <= self.sizes.keys():
            return None
        answer = question if question.holds(self.sizes) else question.negated
        if answer in self.taken:
            return region
        taken = (answer,)
        bounds = tuple(b for b in self.expected if b.symbols <= question.symbols)
        if region.decided(taken).constraints != region.constraints:
            taken = bounds if region.decided(bounds).proves(answer) else taken
        part = region.decided(taken)
        self.taken += taken
        equates = part.fixed != region.fixed or any(map(part.settles, taken))
        return None if equates or len(self.taken) > _MOST else part
