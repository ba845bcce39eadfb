"""Without specs: learns from the calls which dimensions vary, and which vary together."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sod2jax.arguments.signature import Leaf, invert
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import Dim

Relations = Mapping[str, Dim]  # what symbols are, in terms of other symbols

_REMEMBERED = 64  # calls whose sizes are kept to derive relations from
_MOST_GUESSES = 8  # relations that are tried, and that are kept, for one kind of call
_FACTORS = range(1, 17)
_DIVISORS = range(2, 65)  # that a size may be a multiple of
_POWERS = (2, 4, 8, 16, 32, 64)
_HEADROOM = 4  # times the largest size seen is what a bounded program is planned for
_LEAST_BOUND = 64


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


@dataclasses.dataclass
class _State:
    """What was seen of the calls that have a key in common.

    Attributes:
      groups: for each axis, the group that it is in.
      history: sizes of all axes, for the latest different calls.
      proved: relations that made a trace succeed, fewest first.
      tries: relations that made none succeed.
      bounds: of each symbol, the upper bounds that its sizes have led to, ascending.
    """

    groups: list[_Group]
    history: collections.deque[tuple[int, ...]]
    proved: list[Relations] = dataclasses.field(default_factory=list)
    tries: int = 0
    bounds: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)


class Learner:
    """Partitions the axes of a function's arguments by what the calls have shown.

    Axes that were equal in every call share a symbol until a call disproves it; an axis that never
    varied is a number. A program that does not trace with the symbols that remain may need a
    relation between them, such as labels one shorter than inputs, or to know that a size is a
    multiple of 8: these are derived from the sizes seen. It may need an upper bound, which nothing
    gives: some times the largest size seen is one to plan by. A wrong guess costs a trace, never an
    answer: what a program assumes is part of its specs, and each call is planned by the specs that
    fit it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[Any, _State] = {}
        self._latest: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"Learner({len(self._states)} kinds of calls)"

    def specs(self, key: Any, leaves: Sequence[Leaf]) -> list[Leaf]:
        """The arrays of a call with symbolic shapes, after learning from the call.

        Args:
          key: (tree, what else the calls that belong together have in common).
          leaves: the arrays, at the exact shapes of the call.
        """
        ranks = tuple(len(leaf.shape) for leaf in leaves)
        sizes = tuple(size for leaf in leaves for size in leaf.aval.shape)
        key = _key(key, leaves)
        with self._lock:
            state = self._states.get(key)
            if state is None:
                like = self._latest.get((key[0], ranks))
                groups = _first(sizes, None if like is None else self._states[like].groups)
                state = self._states[key] = _State(groups, collections.deque(maxlen=_REMEMBERED))
            state.groups = _refined(state.groups, sizes)
            if sizes not in state.history:
                state.history.append(sizes)
            self._latest[key[0], ranks] = key
            rest = iter(state.groups)
        return [
            dataclasses.replace(leaf, shape=tuple(next(rest).dim for _ in leaf.shape))
            for leaf in leaves
        ]

    def forget(self, key: Any) -> None:
        """Forgets the calls of a key."""
        tree, rest = key
        with self._lock:
            gone = {each for each in self._states if (each[0], each[1][0]) == (tree, rest)}
            for each in gone:
                del self._states[each]
            self._latest = {like: k for like, k in self._latest.items() if k not in gone}

    def guesses(self, key: Any, leaves: Sequence[Leaf]) -> Iterator[Relations]:
        """Relations between the symbols of ``specs`` to trace a call with, until one succeeds.

        The first is none at all, after those that proved necessary and hold for the call.

        Args:
          key: as for ``specs``.
          leaves: what ``specs`` returned.
        """
        sizes = tuple(size for leaf in leaves for size in leaf.aval.shape)
        with self._lock:
            state = self._state(key, leaves)
            others = [call for call in state.history if call != sizes]
            proved, tries = list(state.proved), state.tries
        axes = [dim for leaf in leaves for dim in leaf.shape]
        symbols = {str(dim): at for at, dim in enumerate(axes) if dims.is_symbolic(dim)}
        now = {name: sizes[at] for name, at in symbols.items()}
        yield from (relations for relations in proved if _hold(relations, now))
        yield {}
        if max(tries, len(proved)) >= _MOST_GUESSES:
            return
        rows = np.array([*others, sizes])[:, list(symbols.values())]
        seen = dict(zip(symbols, rows.T, strict=True))
        related = _related(seen, {}, least=2)
        yield related
        fixed = {1, *(dim for dim in axes if not dims.is_symbolic(dim))}
        pinned: dict[str, Dim] = {name: size for name, size in now.items() if size in fixed}
        yield _related(seen, pinned, least=1)
        roots = {name: sizes for name, sizes in seen.items() if name not in related}
        for divisors in (_POWERS, _DIVISORS):
            yield related | _divided(roots, divisors)

    def bounds(self, key: Any, leaves: Sequence[Leaf]) -> tuple[Comparison, ...]:
        """Upper bounds of the symbols of ``specs`` to plan by; a call beyond them widens them.

        Args:
          key: as for ``specs``.
          leaves: what ``specs`` returned.
        """
        axes = [axis for leaf in leaves for axis in zip(leaf.shape, leaf.aval.shape, strict=True)]
        now = {str(dim): size for dim, size in axes if dims.is_symbolic(dim)}
        with self._lock:
            known = self._states[_key(key, leaves)].bounds
            for name, size in now.items():
                before = known.get(name, ())
                if size > max(before, default=0):
                    most = max(_LEAST_BOUND, 1 << (_HEADROOM * size - 1).bit_length())
                    known[name] = (*before, most)
            most = {name: min(b for b in known[name] if b >= size) for name, size in now.items()}
        return tuple(Comparison.of(most[name], ">=", dims.symbol(name)) for name in sorted(most))

    def _state(self, key: Any, leaves: Sequence[Leaf]) -> _State:
        """What was seen of the calls of a key; nothing if it has been forgotten meanwhile."""
        fresh = _State([], collections.deque(maxlen=_REMEMBERED))
        return self._states.setdefault(_key(key, leaves), fresh)

    def succeeded(self, key: Any, leaves: Sequence[Leaf], relations: Relations) -> None:
        """Takes in that a guess made a trace succeed; relations are then tried first."""
        with self._lock:
            state = self._state(key, leaves)
            if relations and relations not in state.proved:
                state.proved = sorted([*state.proved, relations], key=len)

    def failed(self, key: Any, leaves: Sequence[Leaf], relations: Relations) -> None:
        """Takes in that a guess was traced in vain."""
        with self._lock:
            self._state(key, leaves).tries += bool(relations)


def _key(key: Any, leaves: Sequence[Leaf]) -> Any:
    tree, rest = key
    return tree, (rest, tuple((len(leaf.shape), leaf.aval.dtype) for leaf in leaves))


def _first(sizes: Sequence[int], like: Sequence[_Group] | None) -> list[_Group]:
    """The groups before any call; what varied in calls of another dtype or mode varies here too."""
    if like is None:
        numbers = {size: k for k, size in enumerate(dict.fromkeys(sizes))}
        return [_Group(numbers[size], size) for size in sizes]
    return [
        group if group.size is None else _Group(group.number, size)
        for group, size in zip(like, sizes, strict=True)
    ]


def _refined(groups: Sequence[_Group], sizes: Sequence[int]) -> list[_Group]:
    """Splits each group by the sizes of one more call; the largest part keeps the number."""
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


def _hold(relations: Relations, sizes: Mapping[str, int]) -> bool:
    """Whether a call has relations; also false where they name symbols that are none any more."""
    return all(
        name in sizes and _gives(dim, _own(name), sizes[name], sizes)
        for name, dim in relations.items()
    )


def _gives(dim: Dim, own: str, size: int, sizes: Mapping[str, int]) -> bool:
    """Whether a dimension has a size, at some value of its own symbol if it has that."""
    if own in dims.symbols_of(dim):
        value = invert(dim, own, size, sizes)
        return value is not None and value >= 1
    return dims.symbols_of(dim) <= sizes.keys() and dims.evaluate(dim, sizes) == size


def _related(
    seen: Mapping[str, np.ndarray], pinned: Mapping[str, Dim], least: int
) -> dict[str, Dim]:
    """Relations ``k*v + c`` that hold for the latest call and for most of the others.

    Args:
      seen: for each symbol, its size in every call; the last is the call to find relations for.
      pinned: symbols that are numbers.
      least: how many sizes must bear out that two symbols are equal.
    """
    relations, roots = dict(pinned), list[str]()
    for name in sorted(seen.keys() - pinned.keys(), key=lambda name: (seen[name][-1], name)):
        fits = [fit for root in roots for fit in _fits(root, seen[root], seen[name], least)]
        if fits:
            relations[name] = max(fits, key=lambda fit: fit[0])[1]
        else:
            roots.append(name)
    return relations


def _own(name: str) -> str:
    """The symbol that a symbol is a multiple of."""
    return f"{name}_part"


def _divided(seen: Mapping[str, np.ndarray], divisors: Sequence[int]) -> dict[str, Dim]:
    """Each symbol that most calls have as ``c*k + r`` with the r of the latest, for some c.

    Args:
      seen: for each symbol, its size in every call; the last is the call to find it for.
      divisors: what c may be; of those with as many sizes, the first with r = 0, else the first.
    """
    out: dict[str, Dim] = {}
    for name, sizes in seen.items():
        fits = [
            (len(set(sizes[holds].tolist())), rest == 0, divisor)
            for divisor in divisors
            for rest in [int(sizes[-1]) % divisor]
            for holds in [sizes % divisor == rest]
            if 2 * holds.sum() > len(holds) and sizes[-1] >= divisor
        ]
        support, _, divisor = max(fits, default=(0, False, 1))
        if support > 1:
            rest = int(sizes[-1]) % divisor
            out[name] = dims.normalise(divisor * dims.symbol(_own(name)) + rest)
    return out


def _fits(
    name: str, sizes: np.ndarray, wanted: np.ndarray, least: int
) -> Iterator[tuple[tuple[int, ...], Dim]]:
    """(rank, dimension) of every ``k*v + c`` that enough sizes of v bear out."""
    for factor in _FACTORS:
        offset = int(wanted[-1] - factor * sizes[-1])
        holds = wanted == factor * sizes + offset
        support = len(set(sizes[holds].tolist()))
        equal, simple = (factor, offset) == (1, 0), factor == 1 or offset == 0
        needed = least if equal else 2 if simple else 3
        if support >= needed and (equal or 2 * holds.sum() > len(holds)):
            rank = (support, -factor, -abs(offset))
            yield rank, dims.normalise(factor * dims.symbol(name) + offset)
