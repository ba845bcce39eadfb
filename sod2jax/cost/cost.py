"""What counted work is: flops and bytes, in terms of dimensions or in numbers."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region, bounds
from sod2jax.target import Target

_SHOWN = 60  # characters of a polynomial that are printed


@dataclasses.dataclass(frozen=True, repr=False)
class Cost:
    """Work of a program or of a part of one.

    Attributes:
      flops: arithmetic operations, in terms of the program's dimensions.
      bytes: read and written, likewise.
      transcendentals: how many of the flops are exponentials, sines, roots and the like.
      assumed: source lines of the loops that count as one iteration for want of a trip count.
    """

    flops: Dim = 0
    bytes: Dim = 0
    transcendentals: Dim = 0
    assumed: tuple[str, ...] = ()

    def __add__(self, other: Cost) -> Cost:
        return self._with(other, lambda a, b: a + b)

    def most(self, other: Cost) -> Cost:
        """The larger of two costs, of each kind of work."""
        return self._with(other, lambda a, b: dims.maximum(a, b))  # type: ignore[arg-type]

    def _with(self, other: Cost, combine: Callable[[Dim, Dim], Any]) -> Cost:
        pairs = zip(self._work, other._work, strict=True)
        work = [dims.normalise(combine(a, b)) for a, b in pairs]
        return Cost(*work, assumed=tuple(dict.fromkeys((*self.assumed, *other.assumed))))

    @property
    def _work(self) -> tuple[Dim, Dim, Dim]:
        return self.flops, self.bytes, self.transcendentals

    def times(self, count: Dim) -> Cost:
        """The cost of doing it ``count`` times."""
        return Cost(*(dims.normalise(w * count) for w in self._work), assumed=self.assumed)

    def at(self, sizes: Mapping[str, int]) -> Cost:
        """The cost at given sizes, in numbers."""
        return Cost(*(int(dims.evaluate(w, sizes)) for w in self._work), assumed=self.assumed)

    def largest(self, region: Region) -> Cost | None:
        """What it comes to at most over a region, in numbers; None if that has no bound."""
        ends = [bounds(w, region).high for w in self._work]
        if any(end is None for end in ends):
            return None
        return Cost(*(end for end in ends if end is not None), assumed=self.assumed)

    def seconds(self, target: Target) -> float:
        """A rough time for a cost in numbers: all arithmetic, then all traffic.

        Raises:
          TypeError: the cost depends on a dimension; take it ``at`` some sizes first.
        """
        if any(map(dims.is_symbolic, self._work)):
            raise TypeError(f"{self} depends on sizes: use .at(sizes) or .largest(region) first")
        return (
            int(self.flops) / target.flops_per_second
            + int(self.transcendentals) / target.transcendentals_per_second
            + int(self.bytes) / target.bytes_per_second
        )

    def __str__(self) -> str:
        work = f"{_number(self.flops)} flops, {_number(self.bytes)} bytes"
        loops = f", with one iteration of each loop at {', '.join(self.assumed)}"
        return work + (loops if self.assumed else "")

    def __repr__(self) -> str:
        flops, traffic, hard = (textwrap.shorten(_number(w), _SHOWN) for w in self._work)
        loops = f", {len(self.assumed)} loops once" if self.assumed else ""
        return f"Cost({flops} flops, {traffic} bytes, {hard} transcendentals{loops})"


def _number(dim: Dim) -> str:
    return f"{dim:,}" if isinstance(dim, int) else str(dim)
