"""What a block of rows of an equation's results needs, and which results are sums over the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sod2jax import _compat
from sod2jax._compat import JaxprEqn, Var
from sod2jax.ir import vocabulary
from sod2jax.rows.needs import operand_needs
from sod2jax.rows.reads import Mixed, Need, Row

Labels = Mapping[Var, Row]
"""Of values that are computed by rows, where these are."""

_STRUCTURED = frozenset({"cond", "scan", "while"})  # stay whole: their bodies are looked into


class Rules:
    """The rules of one jaxpr for rows of any number, each asked once."""

    def __init__(self) -> None:
        self._needs: dict[tuple[int, int, Row], tuple[JaxprEqn, list[Need] | None]] = {}
        self._refused: dict[int, JaxprEqn] = {}

    def needs(self, eqn: JaxprEqn, rows: int, row: Row) -> list[Need] | None:
        """What of each operand a row of every result needs; None where it is not known."""
        key = (id(eqn), rows, row)
        if id(eqn) in self._refused:
            return None
        if key not in self._needs:
            self._needs[key] = (eqn, _needs(eqn, rows, row))
        return self._needs[key][1]

    def refuse(self, eqn: JaxprEqn) -> None:
        """Takes it that nothing is known of an equation."""
        self._refused[id(eqn)] = eqn


def with_needs(eqn: JaxprEqn, needs: Sequence[Need]) -> list[tuple[Var, Need]]:
    """The operands that are no literals, and what is read of each; none without needs."""
    pairs = zip(eqn.invars, needs, strict=False)  # what numbers the rows needs nothing
    return [(atom, need) for atom, need in pairs if not _compat.is_literal(atom)]


def is_position(eqn: JaxprEqn, row: Row) -> bool:
    """Whether an equation numbers the rows: its block is that of the first rows, and a start."""
    return eqn.primitive.name == "iota" and eqn.params["dimension"] == row.axis


def _needs(eqn: JaxprEqn, rows: int, row: Row) -> list[Need] | None:
    if eqn.effects or eqn.primitive.name in _STRUCTURED:
        return None
    if any(var.aval.shape[row.axis : row.axis + 1] != (rows * row.inner,) for var in eqn.outvars):
        return None
    if is_position(eqn, row):
        return []
    try:
        return operand_needs(eqn, rows, [row] * len(eqn.outvars))
    except Mixed:
        return None


# Operands' rows of an equation that sums over them, or None; of the equation and the labels of its
# operands.
AccumulationRule = Callable[[JaxprEqn, Sequence[Row | None]], list[Need] | None]

MONOIDS = {
    "reduce_and": "and",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_or": "or",
    "reduce_sum": "sum",
    "conv_general_dilated": "sum",
    "dot_general": "sum",
    "scatter-add": "sum",
}
"""What the results of blocks are combined by."""


def accumulated(eqn: JaxprEqn, labels: Labels) -> list[Need] | None:
    """What of each operand a block needs whose results, combined, are the equation's.

    None where it is not such an equation, or its operands have no rows.
    """
    rule = _ACCUMULATIONS.get(eqn.primitive.name)
    if rule is None or eqn.effects or not _adds_up(eqn):
        return None
    rows = [None if _compat.is_literal(atom) else labels.get(atom) for atom in eqn.invars]
    return rule(eqn, rows) if any(rows) else None


def _adds_up(eqn: JaxprEqn) -> bool:
    """Whether a sum of parts is as good as the whole: with 16 bits each part would be rounded."""
    dtype = eqn.outvars[0].aval.dtype
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biufc":
        return False
    is_sum = MONOIDS[eqn.primitive.name] == "sum"
    return not is_sum or dtype.kind in "biu" or dtype.itemsize >= 4


def _reduction(eqn: JaxprEqn, rows: Sequence[Row | None]) -> list[Need] | None:
    (row,) = rows
    return [row] if row is not None and row.axis in eqn.params["axes"] else None


def _pair(left: Row | None, right: Row | None, at: Sequence[tuple[int, int]]) -> list[Need] | None:
    """Rows of two operands that are contracted, at one of some pairs of axes."""
    for pair in at:
        a, b = (
            row if row is None or row.axis == axis else False
            for row, axis in zip((left, right), pair, strict=True)
        )
        if a is False or b is False or (a and b and a.inner != b.inner):  # type: ignore[union-attr]
            continue
        inner = (a or b).inner  # type: ignore[union-attr]
        return [Row(pair[0], inner), Row(pair[1], inner)]
    return None


def _product(eqn: JaxprEqn, rows: Sequence[Row | None]) -> list[Need] | None:
    (left, right), _ = eqn.params["dimension_numbers"]
    lhs, rhs = rows
    return _pair(lhs, rhs, list(zip(left, right, strict=True)))


def _weights_of_convolution(eqn: JaxprEqn, rows: Sequence[Row | None]) -> list[Need] | None:
    left, right = rows
    lhs, rhs, _ = eqn.params["dimension_numbers"]
    groups = eqn.params["feature_group_count"], eqn.params["batch_group_count"]
    return _pair(left, right, [(lhs[1], rhs[1])]) if groups == (1, 1) else None


def _scatter(eqn: JaxprEqn, rows: Sequence[Row | None]) -> list[Need] | None:
    """Updates by rows of the indices: what is added to is the first sum."""
    operand, indices, updates = rows
    numbers = eqn.params["dimension_numbers"]
    if operand is not None or updates is None or updates.inner != 1:
        return None
    rank = len(eqn.invars[2].aval.shape)
    batch = [axis for axis in range(rank) if axis not in numbers.update_window_dims]
    if numbers.operand_batching_dims or updates.axis not in batch:
        return None
    own = Row(batch.index(updates.axis))
    return [None, own, updates] if indices in (None, own) else None


_ACCUMULATIONS: dict[str, AccumulationRule] = {
    **dict.fromkeys(
        vocabulary.REDUCTIONS & MONOIDS.keys(),
        _reduction,
    ),
    "conv_general_dilated": _weights_of_convolution,
    "dot_general": _product,
    "scatter-add": _scatter,
}
