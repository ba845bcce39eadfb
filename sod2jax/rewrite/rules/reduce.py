"""Reductions: pad lanes along reduced axes must hold the identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.layouts import align_axes
from sod2jax.rewrite.monoids import IDENTITY, OPERATORS, monoid_of
from sod2jax.rewrite.padded import ANYTHING, Padded, RowReduction, is_padded

_REDUCTIONS = {f"reduce_{monoid}": monoid for monoid in IDENTITY}


@register_pad_rule(*_REDUCTIONS)
def _reduce(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Masks the reduced axes with the identity and reduces."""
    monoid, axes = _REDUCTIONS[eqn.primitive.name], eqn.params["axes"]
    fill = IDENTITY[monoid](operand.array.dtype)
    operand = ctx.mask(operand, axes, fill, f"the {monoid} would count them")
    (out,) = ctx.bind(operand.array)
    kept = [k for k in range(operand.rank) if k not in axes]
    row = None
    if monoid in ("sum", "max"):
        row = RowReduction(monoid, operand.array, frozenset(axes), operand.nonnegative, tuple(kept))
    fills = _kept_fills(operand, kept, monoid)
    nonnegative = operand.nonnegative and monoid in ("sum", "max", "min", "prod")
    extents = tuple(operand.extents[k] for k in kept)
    return [Padded(out, extents, fills, row=row, nonnegative=nonnegative)]


def _kept_fills(operand: Padded, kept: list[int], monoid: str) -> dict[int, Any]:
    """Rows of zeros sum to zero; rows of one number have it as their maximum and minimum."""
    same = {"sum": (0,), "max": None, "min": None}.get(monoid, ())
    fills = {}
    for to, axis in enumerate(kept):
        fill = operand.fills.get(axis, ANYTHING)
        one_number = fill.value is not None and not fill.or_nan_row
        if one_number and (same is None or fill.value in same):
            fills[to] = fill
    return fills


@register_pad_rule("reduce")
def _reduce_by_jaxpr(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """The same for a reducer given as a jaxpr, if its identity is known or not needed."""
    axes, half = eqn.params["dimensions"], len(operands) // 2
    values, initial = operands[:half], operands[half:]
    values = align_axes(ctx, values)
    if any(is_padded(values[0].extents[axis]) for axis in axes):
        monoid = monoid_of(eqn.params["jaxpr"]) if half == 1 else None
        if monoid is None:
            raise ctx.refuse(
                "no number is known that the reducer ignores; reduce by sum, max, min, prod, "
                "and, or or xor, or along axes of fixed size"
            )
        arrays = [_from_initial(ctx, values[0], initial[0].array, axes, monoid)]
    else:
        arrays = ctx.bind(*(p.array for p in (*values, *initial)))
    kept = tuple(e for k, e in enumerate(values[0].extents) if k not in axes)
    return [Padded(array, kept) for array in arrays]


def _from_initial(
    ctx: Context, value: Padded, initial: Any, axes: Sequence[int], monoid: str
) -> Any:
    """Reduces the true lanes and ``initial``, which XLA leaves out where there is one lane."""
    fill = IDENTITY[monoid](value.array.dtype)
    value = ctx.mask(value, axes, fill, f"the {monoid} would count them")
    (out,) = ctx.bind(value.array, lax.full((), fill, value.array.dtype))
    count = ctx.true(dims.product(value.shape[axis] for axis in axes))
    started = OPERATORS[monoid](out, lax.broadcast(initial, out.shape))
    return lax.select(lax.eq(jnp.int32(count), np.int32(1)), out, started)
