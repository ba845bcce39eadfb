"""A bucket: the padded sizes that serve a whole region of shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from sod2jax.ir.region import Region


@dataclasses.dataclass(frozen=True, repr=False)
class Bucket(Mapping[str, int]):
    """One padded size for every symbol.

    Attributes:
      sizes: (symbol, padded size) pairs, sorted by symbol.
      lowest: (symbol, smallest true size) pairs of the symbols that have one, sorted likewise.
    """

    sizes: tuple[tuple[str, int], ...]
    lowest: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Bucket:
        """The bucket with these sizes."""
        return cls(tuple(sorted(sizes.items())))

    def __getitem__(self, name: str) -> int:
        return dict(self.sizes)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.sizes))

    def __len__(self) -> int:
        return len(self.sizes)

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether true sizes fit."""
        above = all(low <= sizes[name] for name, low in self.lowest)
        return above and all(sizes[name] <= size for name, size in self.sizes)

    def covers(self, other: Bucket) -> bool:
        """Whether all true sizes that another bucket holds fit."""
        begin = dict(other.lowest)
        above = all(low <= begin.get(name, 1) for name, low in self.lowest)
        return above and all(other[name] <= size for name, size in self.sizes)

    def part_of(self, region: Region) -> Region:
        """The sizes of a region that it serves."""
        return region.below(self, dict(self.lowest))

    def __str__(self) -> str:
        return ", ".join(f"{name}={size}" for name, size in self.sizes) or "fixed shapes"

    def __repr__(self) -> str:
        return f"Bucket({', '.join(f'{name}={size}' for name, size in self.sizes)})"
