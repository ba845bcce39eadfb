"""Selections in sliding windows: what the derivatives of max and min pooling are made of."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes import along
from sod2jax.rewrite.lanes.sliding import (
    Windows,
    align_trivial,
    extents_after,
    fixed,
    fold,
    moving_axes,
    parameters,
    unfold,
    windows_of,
    with_fill,
)
from sod2jax.rewrite.monoids import highest, lowest
from sod2jax.rewrite.padded import Padded


def _worst(select: JaxprEqn, dtype: Any) -> Any:
    """What a selection by ``ge`` or ``le`` takes last."""
    return lowest(dtype) if select.name == "ge" else highest(dtype)


@register_pad_rule("select_and_scatter_add")
def _select_and_scatter_add(
    ctx: Context, eqn: JaxprEqn, source: Padded, operand: Padded
) -> list[Padded]:
    """Adds each source element to the lane that its window selects.

    Windows past the true ones add zero; lanes past the true ones are selected last.
    """
    worst = _worst(eqn.params["select_prim"], operand.array.dtype)
    windows = windows_of(eqn, source.shape)
    source, operand = align_trivial(ctx, (source, operand), windows)
    moving, left = moving_axes(operand, windows), list(windows)
    operand = with_fill(ctx, operand, moving, worst)
    source = ctx.compact(source, moving)
    reason = "windows past the true ones would add them"
    source = ctx.mask(source, list(moving), 0, reason, strict=True)
    array, indices = operand.array, {}
    for axis, along_axis in moving.items():
        array, left[axis], indices[axis] = _select_positions(ctx, array, axis, along_axis, worst)
    params = parameters(left)
    kept = {k: params[k] for k in ("window_dimensions", "window_strides", "padding")}
    (out,) = ctx.bind(source.array, array, **kept)
    for axis, along_axis in moving.items():
        if indices[axis] is not None:
            out = fold(out, axis, indices[axis], along_axis.reach(ctx))
        back, zero = dims.normalise(-along_axis.low), jnp.zeros((), out.dtype)
        out = along.spread(ctx, out, axis, back, 0, operand.array.shape[axis], zero)
    return [Padded(out, operand.extents)]


def _select_positions(
    ctx: Context, array: Any, axis: int, windows: Windows, worst: Any
) -> tuple[Any, Windows, Any]:
    """Explicit positions, fixed windows over them, and the unfolding's index if there was one."""
    array = windows.positions(ctx, array, axis, jnp.asarray(worst, array.dtype))
    if windows.has_fixed_steps:
        return array, fixed(windows.size, windows.stride, dilation=windows.dilation), None
    array, index = unfold(ctx, array, axis, windows)
    size = ctx.size(windows.size)
    return array, fixed(size, size), index


@register_pad_rule("select_and_gather_add")
def _select_and_gather_add(
    ctx: Context, eqn: JaxprEqn, tangents: Padded, operand: Padded
) -> list[Padded]:
    """The tangent of the lane that each window selects, positions without a true lane left out.

    A flag beside each lane leaves them out: no number would, because a NaN loses to any.
    """
    windows = windows_of(eqn, ctx.out_shape())
    tangents, operand = align_trivial(ctx, (tangents, operand), windows)
    moving, left = moving_axes(operand, windows), list(windows)
    extents = extents_after(operand, windows)
    if not moving:
        (out,) = ctx.bind(tangents.array, operand.array)
        return [Padded(out, extents)]
    tangents, operand = ctx.compact(tangents, moving), ctx.compact(operand, moving)
    select, dtype = eqn.params["select_prim"], operand.array.dtype
    arrays = [operand.array, tangents.array, ctx.valid(operand.extents, moving)]
    fills = [jnp.asarray(_worst(select, dtype), dtype), jnp.zeros((), dtype), jnp.asarray(False)]
    for axis, w in moving.items():
        arrays = [w.positions(ctx, a, axis, f) for a, f in zip(arrays, fills, strict=True)]
        left[axis] = fixed(w.size, w.stride, dilation=w.dilation)
        if not w.has_fixed_steps:
            arrays = [unfold(ctx, a, axis, w)[0] for a in arrays]
            left[axis] = fixed(ctx.size(w.size), ctx.size(w.size))

    def choose(x: Any, y: Any) -> Any:
        wins = lax.bitwise_and(x[2], select.bind(x[0], y[0]))
        first = lax.bitwise_or(lax.bitwise_not(y[2]), wins)
        picked = [lax.select(first, a, b) for a, b in zip(x[:2], y[:2], strict=True)]
        return (*picked, lax.bitwise_or(x[2], y[2]))

    start = (fills[0], fills[1], jnp.asarray(True))
    _, out, _ = lax.reduce_window(tuple(arrays), start, choose, **parameters(left))
    return [Padded(out, extents)]


@register_pad_rule("select_and_scatter")
def _select_and_scatter(
    ctx: Context, eqn: JaxprEqn, operand: Padded, source: Padded, initial: Padded
) -> list[Padded]:
    """Binds as it is where no window moves along an axis with pad lanes."""
    windows = windows_of(eqn, source.shape)
    source, operand = align_trivial(ctx, (source, operand), windows)
    if moving_axes(operand, windows):
        raise ctx.refuse("its functions have no identity that is known; use max or min pooling")
    (out,) = ctx.bind(operand.array, source.array, initial.array)
    return [Padded(out, operand.extents)]
