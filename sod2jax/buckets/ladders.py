"""Ladders: the sizes of each symbol that buckets are made of, and the lookup of a call's bucket."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Mapping

from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import InvariantError

SMALLEST = 16
"""The first size of a ladder that grows on demand, unless it is told another."""

_SHOWN = 8  # sizes of a ladder that are printed


@dataclasses.dataclass(frozen=True, repr=False)
class Ladders:
    """The sizes to choose from, by symbol; one that nobody gave an upper bound has no ladder yet.

    Attributes:
      sizes: (symbol, ascending sizes, or None to grow by powers of two) pairs.
      separate: bounded symbols whose buckets do not serve what a smaller one serves.
      ends: (symbol, largest size) pairs of those that grow and end somewhere.
      starts: (symbol, smallest size) pairs of those that grow and begin with another than 16.
      units: (symbol, what all its sizes are multiples of) pairs, where that is not 1.
    """

    sizes: tuple[tuple[str, tuple[int, ...] | None], ...]
    separate: frozenset[str] = frozenset()
    ends: tuple[tuple[str, int], ...] = ()
    starts: tuple[tuple[str, int], ...] = ()
    units: tuple[tuple[str, int], ...] = ()

    def bucket(self, sizes: Mapping[str, int]) -> Bucket:
        """The smallest bucket that holds true sizes.

        Raises:
          InvariantError: one of them is larger than its ladder.
        """
        ends, starts, units = dict(self.ends), dict(self.starts), dict(self.units)
        held = {
            name: _grown(
                sizes[name], starts.get(name, SMALLEST), ends.get(name), units.get(name, 1)
            )
            if ladder is None
            else _at_least(ladder, sizes[name])
            for name, ladder in self.sizes
        }
        chosen = {name: size for name, size in held.items() if size is not None}
        if len(chosen) < len(held):
            raise InvariantError(f"no bucket of {self} holds {dict(sizes)}")
        return self._with_sizes(chosen)

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Every bucket of the ladders, smallest first; empty if some symbol is unbounded."""
        if any(ladder is None for _, ladder in self.sizes):
            return ()
        names = [name for name, _ in self.sizes]
        product = itertools.product(*(ladder or () for _, ladder in self.sizes))
        buckets = [self._with_sizes(dict(zip(names, sizes, strict=True))) for sizes in product]
        return tuple(sorted(buckets, key=lambda b: math.prod(b.values())))

    def _with_sizes(self, sizes: Mapping[str, int]) -> Bucket:
        lowest = []
        for name, ladder in self.sizes:
            if ladder is not None and name in self.separate:
                smaller = [size for size in ladder if size < sizes[name]]
                lowest.append((name, max(smaller, default=0) + 1))
        return dataclasses.replace(Bucket.of(sizes), lowest=tuple(sorted(lowest)))

    def __repr__(self) -> str:
        return f"Ladders({'; '.join(f'{name}: {_shown(ladder)}' for name, ladder in self.sizes)})"


def _grown(size: int, start: int, end: int | None, unit: int) -> int | None:
    """The smallest power of two, in units, that holds a size, or the end; None if that does not."""
    power = max(-(-start // unit) * unit, unit << (-(-size // unit) - 1).bit_length())
    return power if end is None or power <= end else end if size <= end else None


def _at_least(ladder: tuple[int, ...], size: int) -> int | None:
    """The smallest size of a ladder that holds a size."""
    at = bisect.bisect_left(ladder, size)
    return ladder[at] if at < len(ladder) else None


def _shown(ladder: tuple[int, ...] | None) -> str:
    if ladder is None:
        return "powers of 2"
    if len(ladder) > _SHOWN:
        return f"{len(ladder)} from {ladder[0]} to {ladder[-1]}"
    return " ".join(map(str, ladder))
