"""The kinds of calls of a function: each has programs of its own, and only so many are kept."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from sod2jax.arguments.calls import shortened

MANY = 16
"""Kinds of calls that are worth a warning."""
MOST = 64
"""Kinds of calls whose programs are kept."""

Plan = TypeVar("Plan")


@dataclasses.dataclass(eq=False, repr=False)
class Kind(Generic[Plan]):
    """Calls with one tree of arguments, the same static values, and the same settings of JAX.

    Attributes:
      plans: what serves each of them, by what else differs.
      used: when it was asked for last, in calls.
    """

    plans: dict[Any, Plan] = dataclasses.field(default_factory=dict)
    used: int = 0

    def __repr__(self) -> str:
        return f"Kind({len(self.plans)} plans)"


class Kinds(Generic[Plan]):
    """Remembers the plans of the kinds of calls that were used last.

    Args:
      dropped: is told of the key of each kind that is forgotten.
      many: is told of the keys when there have been ``MANY``.
    """

    def __init__(self, dropped: Callable[[Any], None], many: Callable[[Sequence[Any]], None]):
        self._dropped, self._many = dropped, many
        self._kinds: dict[Any, Kind[Plan]] = {}
        self._clock, self._made = itertools.count(1), 0
        self._lock = threading.Lock()

    def __getitem__(self, key: Any) -> Kind[Plan]:
        """The kind of a key, now the one used last."""
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._added(key)
        kind.used = next(self._clock)
        return kind

    def _added(self, key: Any) -> Kind[Plan]:
        with self._lock:
            kind = self._kinds.setdefault(key, Kind(used=next(self._clock)))
            old = []
            if len(self._kinds) > MOST:
                old = [min(self._kinds, key=lambda k: self._kinds[k].used)]
                del self._kinds[old[0]]
            self._made += 1
            keys = list(self._kinds) if self._made == MANY else None
        for each in old:
            self._dropped(each)
        if keys is not None:
            self._many(keys)
        return kind

    def clear(self) -> None:
        """Forgets all plans."""
        with self._lock:
            for kind in self._kinds.values():
                kind.plans.clear()

    def __len__(self) -> int:
        return len(self._kinds)

    def __repr__(self) -> str:
        return f"Kinds({len(self)})"


def many(name: str, parameters: Sequence[str], keys: Sequence[Any]) -> str:
    """Says that a function is called in many ways, and in what they differ.

    Args:
      name: of the function.
      parameters: the names of its parameters.
      keys: (tree, (static arguments, settings)) of each kind.
    """
    trees, rest = zip(*keys, strict=True)
    static, settings = zip(*rest, strict=True)
    said = [*_static_differences(parameters, static), *_tree_differences(parameters, trees, static)]
    if len(set(settings)) > 1:
        said.append("JAX's settings differ, such as jax.default_device, or rules; set them once")
    return (
        f"{name} has been called in {len(keys)} ways that need programs of their own, each "
        f"compiled anew: {'; '.join(said)}. The {MOST} used last are kept"
    )


def _static_differences(parameters: Sequence[str], static: Sequence[Any]) -> Iterator[str]:
    values: dict[Any, dict[Any, None]] = {}
    for arguments in static:
        for where, _, value in arguments:
            name = (
                parameters[where] if isinstance(where, int) and where < len(parameters) else where
            )
            values.setdefault(name, {})[type(value), value] = None
    for name, seen in values.items():
        if len(seen) > 1:
            (_, first), *_, (_, last) = seen
            yield (
                f"the static argument '{name}' has had {len(seen)} values, such as "
                f"{shortened(first)} and {shortened(last)}; pass what no shape depends on as an "
                "array"
            )


def _tree_differences(
    parameters: Sequence[str], trees: Sequence[Any], static: Sequence[Any]
) -> Iterator[str]:
    structures: dict[str, set[Any]] = {}
    for tree, arguments in zip(trees, static, strict=True):
        for name, structure in _by_parameter(parameters, tree, arguments).items():
            structures.setdefault(name, set()).add(structure)
    for name, seen in structures.items():
        if len(seen) > 1:
            yield (
                f"'{name}' has had {len(seen)} structures, as lists of different lengths and "
                "dictionaries of different keys have; stack what is alike into one array"
            )


def _by_parameter(parameters: Sequence[str], tree: Any, static: Sequence[Any]) -> Mapping[str, Any]:
    """The structure of each argument of a call."""
    positional, named = tree.children()
    taken = {where for where, *_ in static}
    free = [p for k, p in enumerate(parameters) if k not in taken]
    names = [*free, *(f"argument {k}" for k in range(len(free), positional.num_nodes))]
    by_name = dict(zip(names, positional.children(), strict=False))
    return by_name | dict(zip(named.node_data()[1], named.children(), strict=True))
