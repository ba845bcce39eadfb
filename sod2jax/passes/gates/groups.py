"""Selects by one gate that can be taken together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn, Var
from sod2jax.ir.dims import Dim
from sod2jax.passes.gates.predicates import Gate, rows_of
from sod2jax.rows.reads import Row


@dataclasses.dataclass(frozen=True)
class Group:
    """Selects by one gate, none of which needs another's result.

    Attributes:
      selects: their equations.
      gates: the gate of each; all have one vector.
      rows: how many rows it decides for.
    """

    selects: tuple[JaxprEqn, ...]
    gates: tuple[Gate, ...]
    rows: Dim

    @property
    def count(self) -> int:
        """How many cases there are."""
        return len(self.selects[0].invars) - 1

    def case(self, number: int) -> list[Atom]:
        """What the selects choose in a case."""
        return [select.invars[1 + number] for select in self.selects]

    @property
    def reads(self) -> list[Row | None]:
        """What is read of each result: a row, or the whole where there is only one."""
        return [None if self.rows == 1 else Row(axis) for axis in self.axes]

    @property
    def axes(self) -> tuple[int, ...]:
        """The axis of rows of each result."""
        return tuple(gate.axis for gate in self.gates)


def last_group(
    gated: Sequence[tuple[JaxprEqn, Gate]], makers: Mapping[Var, JaxprEqn]
) -> tuple[Group, list[tuple[JaxprEqn, Gate]]]:
    """The last select and those before it by the same gate, as far as none needs another.

    Returns:
      The group, and the other selects.
    """
    (last, gate), rest, members = gated[-1], [], [gated[-1]]
    above: set[int] | None = None
    for eqn, other in reversed(gated[:-1]):
        if not _same_cases(eqn, other, last, gate):
            rest.append((eqn, other))
            continue
        above = _above(last, makers) if above is None else above
        if id(eqn) in above:
            rest.append((eqn, other))
            continue
        members.append((eqn, other))
        above |= _above(eqn, makers)
    selects, gates = zip(*reversed(members), strict=True)
    return Group(selects, gates, rows_of(gate)), rest[::-1]


def _same_cases(a: JaxprEqn, gate_a: Gate, b: JaxprEqn, gate_b: Gate) -> bool:
    same = gate_a.vector is gate_b.vector and gate_a.vector_axis == gate_b.vector_axis
    return same and len(a.invars) == len(b.invars)


def _above(start: JaxprEqn, makers: Mapping[Var, JaxprEqn]) -> set[int]:
    """Ids of the equations that an equation needs, directly or not."""
    seen: set[int] = set()
    stack = [start]
    while stack:
        for atom in stack.pop().invars:
            maker = None if _compat.is_literal(atom) else makers.get(atom)
            if maker is not None and id(maker) not in seen:
                seen.add(id(maker))
                stack.append(maker)
    return seen
