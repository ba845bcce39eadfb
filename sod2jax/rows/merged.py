"""Rows that are part of an axis.

JAX batches a convolution of batched filters by merging rows into its channels.
"""

from __future__ import annotations

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import dims_of
from sod2jax.rows.reads import Mixed, Need, Row


def reshaped_row(eqn: JaxprEqn, rows: Dim, row: Row) -> Row:
    """The row of the operand with as many elements before it and as many inside it."""
    target, source = dims_of(eqn.outvars[0]), dims_of(eqn.invars[0])
    order = eqn.params.get("dimensions") or range(len(source))
    before = dims.product(target[: row.axis])
    passed: Dim = 1
    for axis in map(int, order):
        inner = dims.quotient(source[axis], rows)
        if passed == before and inner is not None and (source[axis] != 1 or rows == 1):
            return Row(axis, inner)
        passed = dims.product((passed, source[axis]))
    raise Mixed("'reshape' splits or mixes rows")


def is_grouped(eqn: JaxprEqn, row: Row) -> bool:
    """Whether the rows of a convolution are part of its groups of channels."""
    out_spec = eqn.params["dimension_numbers"].out_spec
    if dims.from_jax(eqn.params["batch_group_count"]) != 1:
        raise Mixed("'conv_general_dilated' with batch groups mixes rows")
    return row.axis == out_spec[1] and dims.from_jax(eqn.params["feature_group_count"]) != 1


def grouped_needs(eqn: JaxprEqn, rows: Dim, row: Row) -> list[Need]:
    """Rows that are the outermost part of the groups of channels."""
    lhs_spec, rhs_spec, _ = eqn.params["dimension_numbers"]
    groups = dims.quotient(dims.from_jax(eqn.params["feature_group_count"]), rows)
    channels = dims.quotient(dims_of(eqn.invars[0])[lhs_spec[1]], rows)
    if groups is None or channels is None:
        raise Mixed("'conv_general_dilated' has groups that are not by rows")
    return [Row(lhs_spec[1], channels), Row(rhs_spec[0], row.inner)]
