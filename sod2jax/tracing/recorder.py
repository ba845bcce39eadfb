"""What one trace has decided, and what it may have taken for granted."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from sod2jax.errors import StateError
from sod2jax.ir.comparisons import NO_ASSUMPTIONS, Assumptions, Comparison
from sod2jax.ir.region import Region
from sod2jax.tracing import hooks
from sod2jax.tracing.decisions import Decisions

_LARGE = 1 << 12  # a size that shows how comparisons of unbounded sizes come out


@dataclasses.dataclass
class Recorder:
    """Collects the decisions of one trace.

    Attributes:
      region: the region that the trace is for.
      scope: of the symbols, for JAX.
      assumptions: what is taken for granted of data-dependent sizes.
      data_dependent: their symbols, in the order of their making.
      numbers: the sizes of those that the assumptions leave one size.
      guards: comparisons that the trace took for true, though not all sizes make them so; the
        values mean nothing.
      besides: what must hold besides if the trace succeeds, for errors that somebody caught to be
        right, and numbers to be computed; the values mean nothing.
      decisions: what was decided as the call at hand does; guards, too.
      undecided: the comparison that stopped the trace.
      extremum: the operands of the last ``max`` or ``min`` that stayed symbolic.
      unequal: the last two sizes that were taken for different, one of which is data-dependent.
      refused: the comparison that the last error rested on.
      doubts: what the trace may have taken for granted without asking; the values mean nothing.
      stale: the error of a size that an earlier trace left behind, which somebody may catch.
      computed: results that stand for the same argument whenever it comes, by its id.
      shown: where texts for people go; somebody who replaces that reads them.
      outermost: the trace of the function as a whole, around those that it starts itself.
      delivered: what the host computes, as values of that trace.
      compared: how often one place in the code has compared a size with numbers.
    """

    region: Region
    scope: Any = None
    assumptions: Assumptions = NO_ASSUMPTIONS
    data_dependent: list[str] = dataclasses.field(default_factory=list)
    numbers: dict[str, int] = dataclasses.field(default_factory=dict)
    guards: dict[Comparison, None] = dataclasses.field(default_factory=dict)
    besides: dict[Comparison, None] = dataclasses.field(default_factory=dict)
    decisions: Decisions = dataclasses.field(default_factory=Decisions)
    undecided: Comparison | None = None
    extremum: Comparison | None = None
    unequal: Comparison | None = None
    refused: Comparison | None = None
    doubts: dict[str, None] = dataclasses.field(default_factory=dict)
    stale: StateError | None = None
    computed: dict[int, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    shown: tuple[Any, ...] = dataclasses.field(default_factory=lambda: _shown(), repr=False)
    compared: collections.Counter[Any] = dataclasses.field(default_factory=collections.Counter)
    outermost: Any = None
    delivered: dict[Any, Any] = dataclasses.field(default_factory=dict)
    busy: bool = False

    @property
    def is_read(self) -> bool:
        """Whether code of the function reads what is printed, or warned of."""
        return any(a is not b for a, b in zip(self.shown, _shown(), strict=True))

    @property
    def doubtful(self) -> Comparison | None:
        """The question whose answer most likely made a trace fail, if it asked any."""
        settled = [guard for guard in self.guards if not self.is_data_dependent(guard)]
        last = settled[-1].negated if settled else None
        refused = None if self.refused is None else self.refused.negated
        decided = next(iter(self.decisions.taken), None)
        return decided or self.undecided or self.extremum or last or refused or self.unequal

    @property
    def equalities(self) -> tuple[Comparison, ...]:
        """Those of sizes where errors would not have been raised."""
        refused = [c for c in self.besides if c.op == "!=" and not self.is_data_dependent(c)]
        return tuple(comparison.negated for comparison in refused)

    def is_data_dependent(self, comparison: Comparison) -> bool:
        """Whether a comparison is about a size that is known only after a part has run."""
        return not comparison.symbols.isdisjoint(self.data_dependent)

    def guard(self, comparison: Comparison) -> None:
        """From here on, the trace holds where a comparison does."""
        self.guards.setdefault(comparison)

    def decide(self, question: Comparison) -> bool | None:
        """Answers a ``>=`` as the call does, and goes on with sizes like its own; None to stop."""
        sizes = self.decisions.sizes
        divisor = question.zero_divisor(sizes) if question.symbols <= sizes.keys() else None
        if divisor is not None:  # taken for another number, or the call would not come here
            self.undecided = Comparison.of(divisor, "==", 0, question.source)
            return None
        part = self.decisions.narrowed(self.region, question)
        if part is None:
            self.undecided = question
            return None
        self.region, self.refused = part, None
        return bool(question.holds(self.decisions.sizes))

    def refuse(self, comparison: Comparison) -> None:
        """An error follows, which is right where a comparison holds."""
        self.besides.setdefault(comparison)
        if not self.is_data_dependent(comparison):
            self.refused = comparison

    def limit(self, comparison: Comparison) -> None:
        """From here on, the trace holds where a comparison does; if it fails, not for that."""
        self.besides.setdefault(comparison)

    def doubt(self, reason: str) -> None:
        """Other sizes may make the function take another course, and no comparison tells.

        Args:
          reason: what was seen of a size, and the line.
        """
        self.doubts.setdefault(reason)

    def assume(self, question: Comparison) -> bool:
        """Answers a ``>=`` about such a size as large sizes do; the run will tell."""
        sizes = {n: max(lo, _LARGE) if hi is None else hi for n, lo, hi in self.region.ranges}
        answer = question.holds(sizes)
        self.guard(question if answer else question.negated)
        return answer


def _shown() -> tuple[Any, ...]:
    return sys.stdout, sys.stderr, warnings.filters


def active() -> Recorder | None:
    """The recorder of this thread's trace; None outside of traces."""
    return hooks.active()


def attentive() -> Recorder | None:
    """That recorder, unless it is itself asking."""
    recorder = active()
    return None if recorder is None or recorder.busy else recorder


def stale(what: str, where: str) -> StateError:
    """The error of what an earlier trace left behind, for the trace that is asked for it.

    Args:
      what: was left.
      where: it is used.
    """
    error = StateError(
        f"{what} is used outside of its trace, at {where}: it was stored outside of the function, "
        "where no later call gives it its number. Compute it from the arrays of each call, or "
        "return it"
    )
    recorder = active()
    if recorder is not None:
        recorder.stale = error
    return error


@contextlib.contextmanager
def busy(recorder: Recorder) -> Iterator[None]:
    """What is asked inside the block is nobody's question."""
    recorder.busy = True
    try:
        yield
    finally:
        recorder.busy = False
