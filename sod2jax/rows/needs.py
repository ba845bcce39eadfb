"""Which operands' rows a row of a result needs, equation by equation.

Backward over a slice of a program: from the axis of rows of a result follows, for each operand, the
axis whose row alone is read, or that the operand is read whole. Reading whole what other rows made
is no mistake: the operand then stays outside and is computed for every row, as before. An equation
is refused (``Mixed``) where a row of its result cannot be computed from such operands alone, or
depends on which row it is: flow, of Rank and Dimension Propagation, says which axes are aligned,
and ``KINDS`` which primitives tell no position from another.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sod2jax import _compat, rdp
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir import vocabulary
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import dims_of
from sod2jax.rows.merged import grouped_needs, is_grouped, reshaped_row
from sod2jax.rows.reads import UNUSED, Mixed, Need, Row, join


class Kind(enum.Enum):
    """How a primitive treats rows.

    Attributes:
      ELEMENTWISE: operands are aligned, or the same for every row.
      ALIKE: operands are aligned or scalars.
      CONTRACTS: an operand that is not aligned is read whole.
      CREATES: makes every row the same from nothing, or from operands without rows.
    """

    ELEMENTWISE = enum.auto()
    ALIKE = enum.auto()
    CONTRACTS = enum.auto()
    CREATES = enum.auto()


_ELEMENTWISE = vocabulary.ELEMENTWISE | vocabulary.CASTS | vocabulary.COPIES
_ALIKE = frozenset().union(
    vocabulary.REDUCTIONS,
    vocabulary.ARG_REDUCTIONS,
    vocabulary.CUMULATIVE,
    vocabulary.WINDOW_REDUCTIONS,
    vocabulary.WINDOW_SELECTIONS - {"select_and_scatter"},  # its lanes are not known
    vocabulary.SORTS - {"approx_top_k"},  # nor are these
    vocabulary.ASSEMBLY,
    vocabulary.DYNAMIC_SLICES,
    "bitcast_convert_type rev squeeze".split(),
)
KINDS: dict[str, Kind] = {
    **dict.fromkeys(_ELEMENTWISE, Kind.ELEMENTWISE),
    **dict.fromkeys(_ALIKE, Kind.ALIKE),
    **dict.fromkeys(["dot_general", "conv_general_dilated", "gather"], Kind.CONTRACTS),
    **dict.fromkeys(["broadcast_in_dim", "iota"], Kind.CREATES),
}


def operand_needs(eqn: JaxprEqn, rows: Dim, outs: Sequence[Need]) -> list[Need]:
    """What of each operand is read for what is read of the results.

    Args:
      eqn: the equation.
      rows: the number of rows.
      outs: the need of each result; some are rows.

    Raises:
      Mixed: rows are not independent, or not known to be.
    """
    if eqn.effects:
        raise Mixed(f"'{eqn.primitive.name}' has effects")
    if rows == 1:
        return [None] * len(eqn.invars)  # the row is the whole
    name = eqn.primitive.name
    wanted = set(outs) - {UNUSED}
    if name in vocabulary.CALLS:
        ((_, body),) = _compat.sub_jaxprs(eqn)
        return jaxpr_needs(body, rows, outs)[0]
    if name in _STRUCTURED:
        return _STRUCTURED[name](eqn, rows, outs)
    if len(wanted) != 1 or None in wanted:
        raise Mixed(f"'{name}' gives rows on several axes")
    (row,) = wanted
    assert isinstance(row, Row)
    if name == "reshape":
        return [reshaped_row(eqn, rows, row)]
    if name == "conv_general_dilated" and is_grouped(eqn, row):
        return grouped_needs(eqn, rows, row)
    if name == "transpose":
        return [Row(int(eqn.params["permutation"][row.axis]), row.inner)]
    return _aligned(eqn, row)


def jaxpr_needs(
    jaxpr: Jaxpr, rows: Dim, outs: Sequence[Need]
) -> tuple[list[Need], dict[Var, Need]]:
    """What of each input is read for what is read of the outputs, and the same of every variable.

    Raises:
      Mixed: as ``operand_needs``; also where a value made inside is read in two ways.
    """
    needs: dict[Var, Need] = {}

    def add(atoms: Iterable[Atom], reads: Iterable[Need]) -> None:
        for atom, need in zip(atoms, reads, strict=True):
            if _compat.is_literal(atom):
                if isinstance(need, Row):
                    raise Mixed("a literal has rows")
            elif need is not UNUSED:
                needs[atom] = join(needs.get(atom, UNUSED), need)

    add(jaxpr.outvars, outs)
    for eqn in reversed(jaxpr.eqns):
        made = [needs.get(var, UNUSED) for var in eqn.outvars]
        if any(isinstance(need, Row) for need in made):
            add(eqn.invars, operand_needs(eqn, rows, made))
        elif eqn.effects or any(need is None for need in made):
            add(eqn.invars, [None] * len(eqn.invars))
    if any(isinstance(needs.get(var), Row) for var in jaxpr.constvars):
        raise Mixed("a constant has rows")
    return [needs.get(var, UNUSED) for var in jaxpr.invars], needs


def _aligned(eqn: JaxprEqn, row: Row) -> list[Need]:
    """Operands whose axis is aligned with the result's, by their transfer rules."""
    name, kind = eqn.primitive.name, KINDS.get(eqn.primitive.name)
    if kind is None:
        raise Mixed(f"'{name}' is not known to treat all rows alike")
    if row.inner != 1:
        raise Mixed(f"'{name}' works on merged axes")
    needs: list[Need] = []
    for atom, places in zip(eqn.invars, rdp.lanes_of(eqn), strict=True):
        axis = next((axis for axis, at in enumerate(places) if at == row.axis), None)
        if axis is None and not _is_read_whole(kind, dims_of(atom), row.axis):
            raise Mixed(f"'{name}' mixes rows")
        needs.append(None if axis is None else Row(axis))
    if any(needs):
        return needs
    if kind is not Kind.CREATES or eqn.params.get("dimension") == row.axis:
        raise Mixed(f"'{name}' tells rows by their position")
    return needs


def _is_read_whole(kind: Kind, shape: tuple[Dim, ...], axis: int) -> bool:
    """Whether an operand that is not aligned with the rows is the same for each."""
    if kind is Kind.ELEMENTWISE:
        return not shape or shape[axis] == 1
    return not shape or kind is not Kind.ALIKE


# Control flow


def _cond(eqn: JaxprEqn, rows: Dim, outs: Sequence[Need]) -> list[Need]:
    needs: list[Need] = [UNUSED] * (len(eqn.invars) - 1)
    for branch in eqn.params["branches"]:
        inside, _ = jaxpr_needs(branch, rows, outs)
        needs = [join(a, b) for a, b in zip(needs, inside, strict=True)]
    return [None, *needs]


def _scan(eqn: JaxprEqn, rows: Dim, outs: Sequence[Need]) -> list[Need]:
    """Rows are on other axes than the scanned one."""
    consts, carries = _compat.scan_counts(eqn)
    inside = scan_needs(eqn, rows, outs)
    slices = [
        Row(need.axis + 1, need.inner) if isinstance(need, Row) else need
        for need in inside[consts + carries :]
    ]
    return [*inside[: consts + carries], *slices]


def scan_needs(eqn: JaxprEqn, rows: Dim, outs: Sequence[Need]) -> list[Need]:
    """The need of each input of a scan's body."""
    consts, carries = _compat.scan_counts(eqn)
    slices: list[Need] = []
    for need in outs[carries:]:
        if isinstance(need, Row) and need.axis == 0:
            raise Mixed("'scan' goes through the rows")
        slices.append(Row(need.axis - 1, need.inner) if isinstance(need, Row) else need)
    carry = list(outs[:carries])
    while True:
        inside, _ = jaxpr_needs(eqn.params["jaxpr"], rows, [*carry, *slices])
        again = inside[consts : consts + carries]
        joined = [join(a, b) for a, b in zip(carry, again, strict=True)]
        if joined == carry:
            return [*inside[:consts], *carry, *inside[consts + carries :]]
        carry = joined


def _while(eqn: JaxprEqn, rows: Dim, outs: Sequence[Need]) -> list[Need]:
    cond, body, carry = while_needs(eqn, rows, outs)
    return [*cond, *body, *carry]


def while_needs(
    eqn: JaxprEqn, rows: Dim, outs: Sequence[Need]
) -> tuple[list[Need], list[Need], list[Need]]:
    """The needs of a loop's constants (of its condition, of its body) and of its carry.

    A condition with rows lets each row end by itself; it then has them on the axis that the
    carries have.
    """
    params = eqn.params
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    (test,) = params["cond_jaxpr"].outvars
    carry = list(outs)
    while True:
        axes = {need for need in carry if isinstance(need, Row)}
        if test.aval.shape and (len(axes) > 1 or None in carry):
            raise Mixed("'while' ends its rows together")
        (by_row,) = axes if test.aval.shape else (None,)
        if by_row is not None and (by_row.axis >= len(test.aval.shape) or by_row.inner != 1):
            raise Mixed("'while' ends its rows together")
        seen, _ = jaxpr_needs(params["cond_jaxpr"], rows, [by_row])
        inside, _ = jaxpr_needs(params["body_jaxpr"], rows, carry)
        joined = [
            join(a, join(b, c))
            for a, b, c in zip(carry, seen[n_cond:], inside[n_body:], strict=True)
        ]
        if joined == carry:
            return seen[:n_cond], inside[:n_body], carry
        carry = joined


_STRUCTURED: dict[str, Callable[[Any, Dim, Sequence[Need]], list[Need]]] = {
    "cond": _cond,
    "scan": _scan,
    "while": _while,
}
