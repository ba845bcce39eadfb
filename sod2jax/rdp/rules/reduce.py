"""Reductions over axes."""

from __future__ import annotations

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.vocabulary import REDUCTIONS
from sod2jax.rdp import arithmetic
from sod2jax.rdp.rule import (
    Context,
    Dims,
    Places,
    register_local,
    same_range,
    untracked,
)
from sod2jax.rdp.values import NAC_VALUE, ValueFact, at_most


def reduced_axes(eqn: JaxprEqn) -> set[int]:
    """The axes that a reduction removes."""
    return {int(axis) for axis in eqn.params["axes"]}


def reduce_lanes(eqn: JaxprEqn) -> list[Places]:
    """Kept axes move up over the removed ones."""
    gone, rank = reduced_axes(eqn), len(dims_of(eqn.invars[0]))
    kept = [axis for axis in range(rank) if axis not in gone]
    return [tuple(kept.index(axis) if axis in kept else None for axis in range(rank))]


def reduce_shape(eqn: JaxprEqn, operand: Dims) -> list[Dims]:
    """The kept dimensions."""
    gone = reduced_axes(eqn)
    return [tuple(dim for axis, dim in enumerate(operand) if axis not in gone)]


def _count(eqn: JaxprEqn) -> dims.Dim:
    """Number of elements reduced into one."""
    shape = dims_of(eqn.invars[0])
    return dims.product(shape[axis] for axis in sorted(reduced_axes(eqn)))


def _extremum_value(ctx: Context, eqn: JaxprEqn, operand: ValueFact) -> list[ValueFact]:
    """One of the elements, if there is any: an empty reduction gives the identity."""
    if not at_most(1, _count(eqn), ctx.region):
        return [NAC_VALUE]
    return same_range(ctx, eqn, operand)


def _sum_value(ctx: Context, eqn: JaxprEqn, operand: ValueFact) -> list[ValueFact]:
    dtype = eqn.outvars[0].aval.dtype
    every = operand.range(eqn.invars[0].aval.dtype)
    if every is None:
        return [NAC_VALUE]
    return [ValueFact.of(arithmetic.scale(ctx.region, every, _count(eqn)), dtype, ctx.region)]


_VALUES = {"reduce_max": _extremum_value, "reduce_min": _extremum_value, "reduce_sum": _sum_value}
for _name in REDUCTIONS:
    _value = _VALUES.get(_name, untracked)
    register_local(_name, lanes=reduce_lanes, shape=reduce_shape, value=_value)
