"""Without specs: learns from the calls which dimensions vary, and which vary together."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

from sod2jax import dims
from sod2jax.dims import Dim
from sod2jax.signature import Leaf


@dataclasses.dataclass(frozen=True)
class _Group:
    """Axes that had equal sizes in every call.

    Attributes:
      number: of the symbol that stands for their size.
      size: their size in all calls so far; None once it has varied.
    """

    number: int
    size: int | None

    @property
    def dim(self) -> Dim:
        return dims.symbol(f"n{self.number}") if self.size is None else self.size


class Learner:
    """Partitions the axes of a function's arguments by what the calls have shown.

    Axes that were equal in every call share a symbol until a call disproves it; an axis that never
    varied is a number. A wrong guess costs a trace, never an answer: what a program assumes is part
    of its specs, and each call is planned by the specs that fit it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: dict[Any, list[_Group]] = {}

    def specs(self, key: Any, leaves: Sequence[Leaf]) -> list[Leaf]:
        """The arrays of a call with symbolic shapes, after learning from the call.

        Args:
          key: what else the calls that belong together have in common (tree, static arguments).
          leaves: the arrays, at the exact shapes of the call.
        """
        key = (key, tuple((len(leaf.shape), leaf.aval.dtype) for leaf in leaves))
        sizes = [size for leaf in leaves for size in leaf.aval.shape]
        with self._lock:
            groups = self._groups[key] = _refined(self._groups.get(key), sizes)
        rest = iter(groups)
        return [
            dataclasses.replace(leaf, shape=tuple(next(rest).dim for _ in leaf.shape))
            for leaf in leaves
        ]


def _refined(groups: list[_Group] | None, sizes: Sequence[int]) -> list[_Group]:
    """Splits each group by the sizes of one more call; the largest part keeps the number."""
    if groups is None:
        numbers = {size: k for k, size in enumerate(dict.fromkeys(sizes))}
        return [_Group(numbers[size], size) for size in sizes]
    parts = collections.Counter(zip(groups, sizes, strict=True))
    fresh = max((group.number for group in groups), default=-1) + 1
    taken: set[int] = set()
    renamed: dict[tuple[_Group, int], _Group] = {}
    for (group, size), _ in parts.most_common():
        number = group.number if group.number not in taken else fresh
        fresh += number == fresh
        taken.add(number)
        renamed[group, size] = _Group(number, size if size == group.size else None)
    return [renamed[group, size] for group, size in zip(groups, sizes, strict=True)]
