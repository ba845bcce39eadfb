"""Primitives that compare or accumulate along an axis."""

from __future__ import annotations

from typing import Any

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.vocabulary import ARG_REDUCTIONS, CUMULATIVE
from sod2jax.rdp import arithmetic
from sod2jax.rdp.lattice import DimFact
from sod2jax.rdp.rule import Context, Dims, register_local, same_range, untracked
from sod2jax.rdp.rules.assemble import off_axis
from sod2jax.rdp.rules.reduce import reduce_lanes, reduce_shape, reduced_axes
from sod2jax.rdp.values import NAC_VALUE, Range, ValueFact, greatest, least


def _positions(ctx: Context, dim: dims.Dim, dtype: Any) -> ValueFact:
    return ValueFact.of(Range(0, dims.normalise(dim - 1)), dtype, ctx.region)


def _argmax_value(ctx: Context, eqn: JaxprEqn, operand: ValueFact) -> list[ValueFact]:
    del operand
    (axis,) = reduced_axes(eqn)
    dim = dims_of(eqn.invars[0])[axis]
    return [_positions(ctx, dim, eqn.outvars[0].aval.dtype)]


def _cumsum_value(ctx: Context, eqn: JaxprEqn, operand: ValueFact) -> list[ValueFact]:
    """A sum of 1 to n elements."""
    (atom,), (out,) = eqn.invars, eqn.outvars
    every = operand.range(atom.aval.dtype)
    if every is None:
        return [NAC_VALUE]
    total = arithmetic.scale(ctx.region, every, dims_of(atom)[eqn.params["axis"]])
    sums = Range(
        least((every.low, total.low), ctx.region), greatest((every.high, total.high), ctx.region)
    )
    return [ValueFact.of(sums, out.aval.dtype, ctx.region)]


def _same_shapes(eqn: JaxprEqn, *operands: Dims) -> list[Dims]:
    del eqn
    return list(operands)


def _sort_value(ctx: Context, eqn: JaxprEqn, *operands: ValueFact) -> list[ValueFact]:
    del ctx, eqn
    return [ValueFact(fact.every) for fact in operands]


def _top_k_shape(eqn: JaxprEqn, operand: Dims) -> list[Dims]:
    axis = eqn.params["axis"]
    count = DimFact.of(dims.from_jax(eqn.params["k"]))
    return [(*operand[:axis], count, *operand[axis + 1 :])] * 2


def _top_k_value(ctx: Context, eqn: JaxprEqn, operand: ValueFact) -> list[ValueFact]:
    dim = dims_of(eqn.invars[0])[eqn.params["axis"]]
    return [ValueFact(operand.every), _positions(ctx, dim, eqn.outvars[1].aval.dtype)]


_CUMULATIVE_VALUES = {"cumsum": _cumsum_value, "cummax": same_range, "cummin": same_range}

register_local(*ARG_REDUCTIONS, lanes=reduce_lanes, shape=reduce_shape, value=_argmax_value)
for _name in CUMULATIVE:
    register_local(
        _name,
        lanes=lambda eqn: off_axis(eqn, eqn.params["axis"]),
        shape=_same_shapes,
        value=_CUMULATIVE_VALUES.get(_name, untracked),
    )
register_local(
    "sort",
    lanes=lambda eqn: off_axis(eqn, eqn.params["dimension"]),
    shape=_same_shapes,
    value=_sort_value,
)
register_local(
    "top_k",
    lanes=lambda eqn: off_axis(eqn, eqn.params["axis"]),
    shape=_top_k_shape,
    value=_top_k_value,
)
