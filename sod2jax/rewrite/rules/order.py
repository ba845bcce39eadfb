"""Primitives that depend on the order of lanes: argmax, sort, top-k."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.layouts import align_axes
from sod2jax.rewrite.monoids import highest, lowest
from sod2jax.rewrite.padded import Padded, is_padded


@register_pad_rule("argmax", "argmin")
def _arg_extremum(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Pad lanes hold the worst number and come last, so the first true lane wins every tie."""
    (axis,) = eqn.params["axes"]
    worst = lowest if eqn.primitive.name == "argmax" else highest
    operand, fill = ctx.compact(operand, (axis,)), worst(operand.array.dtype)
    operand = ctx.mask(operand, (axis,), fill, "their index could win", strict=True)
    (out,) = ctx.bind(operand.array)
    return [Padded(out, (*operand.extents[:axis], *operand.extents[axis + 1 :]))]


@register_pad_rule("sort")
def _sort(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Gives pad lanes keys that nothing exceeds, and sorts stably.

    They stand behind the true lanes to begin with, so a true lane with the very same keys stays in
    front of them.
    """
    axis, num_keys = eqn.params["dimension"], eqn.params["num_keys"]
    operands = align_axes(ctx, tuple(ctx.compact(p, (axis,)) for p in operands))
    extents = operands[0].extents
    if not is_padded(extents[axis]):
        return [Padded(out, extents) for out in ctx.bind(*(p.array for p in operands))]
    if not eqn.params["is_stable"] and num_keys < len(operands):
        raise ctx.refuse(
            "which of two equal keys comes first in an unstable sort depends on the size of the "
            "array; sort stably (stable=True, is_stable=True)"
        )
    keys = [_with_last_keys(ctx, p, axis) for p in operands[:num_keys]]
    arrays = [p.array for p in (*keys, *operands[num_keys:])]
    return [Padded(out, extents) for out in ctx.bind(*arrays, is_stable=True)]


def _with_last_keys(ctx: Context, key: Padded, axis: int) -> Padded:
    return ctx.mask(key, (axis,), _last(key.array.dtype), "the sort would mix them in")


def _last(dtype: Any) -> Any:
    """The key that sorts behind or beside every other: all NaNs are one key, the last."""
    if jnp.issubdtype(dtype, np.complexfloating):
        return complex(math.nan, math.nan)
    return math.nan if jnp.issubdtype(dtype, np.inexact) else highest(dtype)


@register_pad_rule("top_k")
def _top_k(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Pad lanes hold the number that is last in the total order, and stand behind its equals."""
    axis = eqn.params["axis"]
    operand = _with_last_number(ctx, ctx.compact(operand, (axis,)), axis)
    shape = ctx.out_shape()
    extents = (*operand.extents[:axis], (shape[axis],), *operand.extents[axis + 1 :])
    return [Padded(out, extents) for out in ctx.bind(operand.array, k=ctx.size(shape[axis]))]


def _with_last_number(ctx: Context, operand: Padded, axis: int) -> Padded:
    """Top-k ranks a negative NaN below -inf; of these, the one with every bit set is the last."""
    reason = "they could be among the largest"
    dtype = operand.array.dtype
    if not jnp.issubdtype(dtype, np.floating):
        return ctx.mask(operand, (axis,), lowest(dtype), reason)
    if not is_padded(operand.extents[axis]):
        return operand
    words = jnp.dtype(f"uint{jnp.finfo(dtype).bits}")
    bits = Padded(lax.bitcast_convert_type(operand.array, words), operand.extents)
    masked = ctx.mask(bits, (axis,), highest(words), reason)
    return Padded(lax.bitcast_convert_type(masked.array, dtype), operand.extents)


@register_pad_rule("approx_top_k")
def _approx_top_k(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Rows do not see each other; within a row, the choice depends on its size and on k."""
    axis = eqn.params["reduction_dimension"] % operand.rank
    if is_padded(operand.extents[axis]) or dims.is_symbolic(dims.from_jax(eqn.params["k"])):
        raise ctx.refuse(
            "which elements it finds, and which of two equal ones, depends on the size of the "
            "array and on k; use jax.lax.top_k, which is exact"
        )
    values, indices = ctx.bind(operand.array)
    extents = (*operand.extents[:axis], values.shape[axis : axis + 1], *operand.extents[axis + 1 :])
    return [Padded(values, extents), Padded(indices, extents)]
