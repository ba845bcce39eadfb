"""What only one case of some selects needs, as far as its rows are apart."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence, Set

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn, Var
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import dims_of, variables
from sod2jax.passes.gates.groups import Group
from sod2jax.rows.needs import operand_needs
from sod2jax.rows.reads import UNUSED, Mixed, Need, Row

# Costs nothing in a slice, and much memory outside, where it would be read row by row.
_COPIED = frozenset({"broadcast_in_dim"})

READ_WHOLE = "its result is read for all rows at once"
NOT_REACHED = "what reads it stays outside"


@dataclasses.dataclass(frozen=True)
class Slice:
    """Equations that only one case needs and that keep rows apart, and copies of broadcasts.

    Attributes:
      eqns: in the program's order.
      needs: what is read of each of their results.
      operands: what they read from outside: (variable, its rows, or None for the whole).
      refused: equations that only this case needs, too, but that stay outside, with the reason;
        the last ones first.
    """

    eqns: tuple[JaxprEqn, ...]
    needs: Mapping[Var, Need]
    operands: tuple[tuple[Var, Row | None], ...]
    refused: tuple[tuple[JaxprEqn, str], ...]


class Uses:
    """Who reads each variable: (id of the equation, position), or the program's end."""

    def __init__(self, eqns: Sequence[JaxprEqn], outvars: Iterable[Atom]):
        self._makers = {var: eqn for eqn in eqns for var in eqn.outvars}
        self._readers: dict[Var, set[tuple[int, int]]] = collections.defaultdict(set)
        for reader, atoms in [*((id(eqn), eqn.invars) for eqn in eqns), (0, outvars)]:
            for at, atom in enumerate(atoms):
                if not _compat.is_literal(atom):
                    self._readers[atom].add((reader, at))

    def of(self, var: Var) -> set[tuple[int, int]]:
        """The readers of a variable."""
        return self._readers.get(var, set())

    def owned(self, group: Group, number: int) -> list[JaxprEqn]:
        """The equations that only a case of a group needs, whatever becomes of rows."""
        selects = {id(select) for select in group.selects}
        inside = {(select, 1 + number) for select in selects}
        owned: dict[int, JaxprEqn] = {}
        stack = [self._makers.get(var) for var in variables(group.case(number))]
        while stack:
            eqn = stack.pop()
            if eqn is None or id(eqn) in owned or id(eqn) in selects:
                continue
            if not all(self.of(var) <= inside for var in eqn.outvars):
                continue  # looked at again when its last reader is among them
            owned[id(eqn)] = eqn
            inside |= {(id(eqn), at) for at in range(len(eqn.invars))}
            stack += [self._makers.get(var) for var in variables(eqn.invars)]
        return list(owned.values())


def slice_of(group: Group, number: int, eqns: Sequence[JaxprEqn], uses: Uses) -> Slice:
    """What only case ``number`` of a group needs; ``eqns`` is the program."""
    outside: set[int] = set()
    while True:
        part = _slice_of(group, number, eqns, uses, outside)
        merged = {var for var, row in part.operands if row is not None and row.inner != 1}
        if not merged:
            return part
        # Rows that are merged with another axis are no rows to read one by one.
        outside |= {id(eqn) for eqn in part.eqns if not merged.isdisjoint(variables(eqn.invars))}


def _slice_of(
    group: Group, number: int, eqns: Sequence[JaxprEqn], uses: Uses, outside: Set[int]
) -> Slice:
    selects = {id(select) for select in group.selects}
    results, inside = group.case(number), {(select, 1 + number) for select in selects}
    reads: dict[Var, set[Row | None]] = collections.defaultdict(set)
    for atom, read in zip(results, group.reads, strict=True):
        reads[atom].add(read)
    needs: dict[Var, Need] = {}
    taken: list[JaxprEqn] = []
    reasons: dict[int, str] = {}
    for eqn in reversed(eqns):
        if id(eqn) in selects or not any(var in reads for var in eqn.outvars):
            continue
        is_own = all(uses.of(var) <= inside for var in eqn.outvars)
        if not is_own and eqn.primitive.name not in _COPIED:
            continue
        outs = [_only(reads[var]) if var in reads else UNUSED for var in eqn.outvars]
        if "several" in outs or (None in outs and group.rows != 1):
            reasons[id(eqn)] = READ_WHOLE
            continue
        if id(eqn) in outside:
            reasons[id(eqn)] = "its operand's rows are merged with another axis"
            continue
        try:
            wanted = operand_needs(eqn, group.rows, outs)  # type: ignore[arg-type]
            _check_boundary(eqn, wanted, group.rows)
        except Mixed as error:
            reasons[id(eqn)] = str(error)
            continue
        for atom, need in zip(eqn.invars, wanted, strict=True):
            if not _compat.is_literal(atom):
                reads[atom].add(need if isinstance(need, Row) else None)
        taken.append(eqn)
        needs.update(zip(eqn.outvars, outs, strict=True))  # type: ignore[arg-type]
        if is_own:
            inside |= {(id(eqn), at) for at in range(len(eqn.invars))}
    ours = {var for eqn in taken for var in eqn.outvars}
    operands = [(atom, row) for atom, rows in reads.items() if atom not in ours for row in rows]
    left = {id(eqn) for eqn in uses.owned(group, number)} - {id(eqn) for eqn in taken}
    refused = [(e, reasons.get(id(e), NOT_REACHED)) for e in reversed(eqns) if id(e) in left]
    return Slice(tuple(taken[::-1]), needs, tuple(operands), tuple(refused))


def _only(rows: set[Row | None]) -> Row | str | None:
    return next(iter(rows)) if len(rows) == 1 else "several"


def _check_boundary(eqn: JaxprEqn, needs: Sequence[Need], rows: Dim) -> None:
    """Merged rows exist inside slices only, and have the sizes they claim."""
    for atom, need in zip(eqn.invars, needs, strict=True):
        if isinstance(need, Row) and need.inner == 1 and dims_of(atom)[need.axis] != rows:
            raise Mixed(f"'{eqn.primitive.name}' has other rows")
