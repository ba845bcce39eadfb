"""Which axis a program's large values are computed along, a few rows at a time.

Values that are too large to be kept are joined to *islands* through what computes one from another,
and their axes to classes that stay aligned on the way. A class is good if it carries most bytes of
its island, and if little of what it loses, in sums over it, comes back to the island.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Hashable, Iterable, Mapping, Sequence

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn, Var
from sod2jax.ir.jaxprs import variables
from sod2jax.memory.flatten import size_of
from sod2jax.rows.reads import Row
from sod2jax.schedule.chunks.rules import Rules, accumulated, with_needs

_LEAST_SCORE = 0.3
_BREAK = 0.7  # what a sum over the axis that comes back leaves of a score
_BREAKS = 3  # as many as a sum, what needs all rows at once


class Joined:
    """Sets of things, of which some are joined (a union-find)."""

    def __init__(self) -> None:
        self._parents: dict[Hashable, Hashable] = {}

    def of(self, item: Hashable) -> Hashable:
        """What stands for the set of an item."""
        root = item
        while (parent := self._parents.get(root, root)) != root:
            root = parent
        while (parent := self._parents.get(item, item)) != root:
            self._parents[item], item = root, parent
        return root

    def join(self, a: Hashable, b: Hashable) -> None:
        """Joins two sets."""
        self._parents[self.of(a)] = self.of(b)


@dataclasses.dataclass(frozen=True)
class Choice:
    """Large values, and their rows.

    Attributes:
      rows: how many.
      labels: of each value, where they are.
      nbytes: of the values.
    """

    rows: int
    labels: Mapping[Var, Row]
    nbytes: int


def fat_values(
    eqns: Sequence[JaxprEqn], outputs: Sequence[Atom], least: int, peak: int
) -> dict[Var, int]:
    """The bytes of each value that is large, and no output."""
    kept = set(variables(outputs))
    sizes = {var: size_of(var.aval) for eqn in eqns for var in eqn.outvars if var not in kept}
    floor = max(least, peak // 64)
    return {var: size for var, size in sizes.items() if size >= floor}


class Islands:
    """The large values of a flat program, and the classes of their axes.

    Args:
      eqns: the program.
      fat: the bytes of its large values.
      rules: of its rows.
    """

    def __init__(self, eqns: Sequence[JaxprEqn], fat: Mapping[Var, int], rules: Rules):
        self._eqns, self._fat, self._rules = eqns, fat, rules
        self._values, self._axes = Joined(), Joined()
        self._nodes: dict[tuple[Var, int, Row], None] = {}
        for eqn in eqns:
            self._join_values(eqn)
        for eqn in reversed(eqns):
            self._join_axes(eqn)

    def best(self) -> Choice | None:
        """The number of rows, and the labels, that most bytes of large values have."""
        islands = collections.defaultdict(list)
        for var in self._fat:
            islands[self._values.of(var)].append(var)
        returns = _reached(self._eqns, {v: self._values.of(v) for v in self._fat})
        choices = collections.defaultdict(list)
        for root, members in islands.items():
            chosen = self._best_class(root, members, returns)
            if chosen is not None:
                choices[chosen.rows].append(chosen)
        merged = [
            Choice(
                rows,
                {var: row for one in found for var, row in one.labels.items()},
                sum(one.nbytes for one in found),
            )
            for rows, found in choices.items()
        ]
        return max(merged, key=lambda choice: choice.nbytes, default=None)

    def _is_fat(self, atom: Atom) -> bool:
        return not _compat.is_literal(atom) and atom in self._fat

    def _join_values(self, eqn: JaxprEqn) -> None:
        if eqn.primitive.name == "dot_general" and not eqn.params["dimension_numbers"][1][0]:
            return
        fat = list(filter(self._is_fat, (*eqn.invars, *eqn.outvars)))
        for other in fat[1:]:
            self._values.join(fat[0], other)

    def _join_axes(self, eqn: JaxprEqn) -> None:
        """Joins the axes of large operands and results; those who read the results came first."""
        outs = list(filter(self._is_fat, eqn.outvars))
        if not outs:
            return
        first = outs[0]
        candidates = {(n, Row(k)) for k, n in enumerate(first.aval.shape) if n > 1}
        candidates |= {(n, row) for var, n, row in self._nodes if var is first and row.inner != 1}
        free = _free_axes(eqn)
        for rows, row in candidates:
            node = (first, rows, row)
            self._nodes[node] = None
            needs = self._rules.needs(eqn, rows, row)
            if needs is None or row.axis in free:
                continue
            others = [(out, rows, row) for out in outs[1:]]
            others += [
                (var, rows, need)
                for var, need in with_needs(eqn, needs)
                if isinstance(need, Row) and var in self._fat
            ]
            for other in others:
                self._nodes[other] = None
                self._axes.join(node, other)

    def _best_class(
        self, island: Hashable, members: Iterable[Var], returns: Mapping[Var, set[Hashable]]
    ) -> Choice | None:
        members = set(members)
        total = sum(self._fat[var] for var in members)
        classes: dict[Hashable, dict[Var, list[tuple[int, Row]]]] = {}
        for var, rows, row in self._nodes:
            if var in members:
                found = classes.setdefault(self._axes.of((var, rows, row)), {})
                found.setdefault(var, []).append((rows, row))
        best, best_score = None, _LEAST_SCORE
        for found in classes.values():
            # A value that has the class on two axes has no rows.
            single = {var: at[0] for var, at in found.items() if len(at) == 1}
            if not single:
                continue
            rows = next(iter(single.values()))[0]
            labels = {var: row for var, (_, row) in single.items()}
            carried = sum(self._fat[var] for var in labels)
            score = carried / total * (1 - 1 / rows)
            if score > best_score:
                score *= _BREAK ** self._breaks(island, rows, labels, returns)
            if score > best_score:
                best, best_score = Choice(rows, labels, carried), score
        return best

    def _breaks(
        self,
        island: Hashable,
        rows: int,
        labels: Mapping[Var, Row],
        returns: Mapping[Var, set[Hashable]],
    ) -> int:
        """How often the axis is lost, and what is made of it comes back to the island."""
        count = 0
        for eqn in self._eqns:
            here = any(v in labels for v in variables(eqn.invars))
            if not here or not any(island in returns[out] for out in eqn.outvars):
                continue
            if self._is_row_wise(eqn, rows, labels):
                continue
            count += 1 if accumulated(eqn, labels) is not None else _BREAKS
        return count

    def _is_row_wise(self, eqn: JaxprEqn, rows: int, labels: Mapping[Var, Row]) -> bool:
        out = eqn.outvars[0]
        wanted = [labels[out]] if out in labels else rows_of(out, rows)
        for row in wanted:
            needs = self._rules.needs(eqn, rows, row)
            pairs = with_needs(eqn, needs or [])
            if needs and all(need == labels[var] for var, need in pairs if var in labels):
                return True
        return False


def rows_of(var: Var, rows: int) -> list[Row]:
    """Where a value may have so many rows."""
    return [
        Row(axis, size // rows)
        for axis, size in enumerate(var.aval.shape)
        if size and size % rows == 0
    ]


def _free_axes(eqn: JaxprEqn) -> range:
    """The axes of a product's result that are not those of its batch."""
    if eqn.primitive.name != "dot_general":
        return range(0)
    _, (batch, _) = eqn.params["dimension_numbers"]
    return range(len(batch), len(eqn.outvars[0].aval.shape))


def _reached(eqns: Sequence[JaxprEqn], islands: Mapping[Var, Hashable]) -> dict[Var, set[Hashable]]:
    """Of each value, the islands that are computed from it."""
    reached: dict[Var, set[Hashable]] = collections.defaultdict(set)
    for eqn in reversed(eqns):
        beyond = set().union(*(reached[out] for out in eqn.outvars))
        beyond |= {islands[out] for out in eqn.outvars if out in islands}
        for var in variables(eqn.invars):
            reached[var] |= beyond
    for var, island in islands.items():
        reached[var].add(island)
    return reached
