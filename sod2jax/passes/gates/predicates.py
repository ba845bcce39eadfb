"""Selects by a gate: a predicate that is one vector along one axis, the same for all else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn, Var
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import dims_of
from sod2jax.rows.merged import reshaped_row
from sod2jax.rows.reads import Mixed, Row


@dataclasses.dataclass(frozen=True)
class Gate:
    """What decides a select, row by row.

    Attributes:
      vector: bool or integers; only one of its axes may be longer than 1.
      vector_axis: that axis.
      axis: the axis of rows of the select's result.
    """

    vector: Var
    vector_axis: int
    axis: int


def gate_of(select: JaxprEqn, makers: Mapping[Var, JaxprEqn]) -> Gate | None:
    """The gate of a select, the earliest that its predicate is made from; None if it has none.

    Args:
      select: a ``select_n`` equation.
      makers: the equation that makes each variable, where that is in sight.
    """
    atom = select.invars[0]
    if _compat.is_literal(atom) or not dims_of(atom):
        return None
    vectors = [_traced(atom, axis, makers) for axis in range(len(dims_of(atom)))]
    earliest = min(filter(None, vectors), key=lambda traced: traced.rank, default=None)
    if earliest is None:
        return None
    return Gate(earliest.atom, earliest.axis, earliest.result_axis)


@dataclasses.dataclass(frozen=True)
class _Traced:
    atom: Atom
    axis: int
    result_axis: int

    @property
    def rank(self) -> int:
        return len(dims_of(self.atom))


def _traced(atom: Atom, result_axis: int, makers: Mapping[Var, JaxprEqn]) -> _Traced | None:
    """The earliest value that is the predicate along an axis, and constant along the others."""
    axis, vector = result_axis, None
    while True:
        if all(d == 1 for k, d in enumerate(dims_of(atom)) if k != axis):
            vector = _Traced(atom, axis, result_axis)
        eqn = None if _compat.is_literal(atom) else makers.get(atom)
        if eqn is None or (before := _before(eqn, axis)) is None:
            return vector
        atom, axis = eqn.invars[0], before


def _before(eqn: JaxprEqn, axis: int) -> int | None:
    """The axis of an equation's operand that an axis of its result is, value for value."""
    name, operand = eqn.primitive.name, eqn.invars[0] if eqn.invars else None
    if operand is None or _compat.is_literal(operand) or len(eqn.outvars) > 1:
        return None
    rows = dims_of(eqn.outvars[0])[axis]
    if name == "broadcast_in_dim":
        placed = [int(at) for at in eqn.params["broadcast_dimensions"]]
        kept = axis in placed and dims_of(operand)[placed.index(axis)] == rows
        return placed.index(axis) if kept else None
    if name == "reshape":
        return _before_reshape(eqn, rows, axis)
    if name == "squeeze":
        rank = len(dims_of(operand))
        gone = {int(a) % rank for a in eqn.params["dimensions"]}
        return [k for k in range(rank) if k not in gone][axis]
    if name == "transpose":
        return int(eqn.params["permutation"][axis])
    if name == "convert_element_type" and operand.aval.dtype == np.bool_:
        return axis if eqn.params["new_dtype"] == np.int32 else None
    return axis if name in ("copy", "stop_gradient") else None


def _before_reshape(eqn: JaxprEqn, rows: dims.Dim, axis: int) -> int | None:
    try:
        row = reshaped_row(eqn, rows, Row(axis))
    except Mixed:
        return None
    return row.axis if row.inner == 1 else None


def rows_of(gate: Gate) -> dims.Dim:
    """How many rows a gate decides for."""
    return dims_of(gate.vector)[gate.vector_axis]
