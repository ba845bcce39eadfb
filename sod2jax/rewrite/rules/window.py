"""Reductions over sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from sod2jax._compat import JaxprEqn
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.sliding import (
    Windows,
    align_trivial,
    combine,
    extents_after,
    fixed,
    moving_axes,
    parameters,
    windows_of,
    with_fill,
)
from sod2jax.rewrite.monoids import IDENTITY, OPERATORS, monoid_of
from sod2jax.rewrite.padded import Padded


@register_pad_rule("reduce_window_sum", "reduce_window_max", "reduce_window_min")
def _reduce_window(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Reduces with the identity in all pad lanes that windows see."""
    monoid = eqn.primitive.name.removeprefix("reduce_window_")
    windows = windows_of(eqn, ctx.out_shape())
    array, left = _prepare(ctx, operand, windows, monoid)
    (out,) = ctx.bind(array, **parameters(left))
    return [Padded(out, extents_after(operand, windows))]


@register_pad_rule("reduce_window")
def _generic_reduce_window(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """The same for a reducer given as a jaxpr, if its identity is known or nothing is filled."""
    half = len(operands) // 2
    monoid = monoid_of(eqn.params["jaxpr"]) if half == 1 else None
    windows = windows_of(eqn, ctx.out_shape())
    values = align_trivial(ctx, operands[:half], windows)
    arrays, lefts = zip(*(_prepare(ctx, value, windows, monoid) for value in values), strict=True)
    initial = (p.array for p in operands[half:])
    outs = ctx.bind(*arrays, *initial, **parameters(lefts[0]))
    return [Padded(out, extents_after(values[0], windows)) for out in outs]


def _prepare(
    ctx: Context, operand: Padded, windows: Sequence[Windows], monoid: str | None
) -> tuple[Any, list[Windows]]:
    """Fills lanes, and moves them where needed, so that fixed windows remain."""
    moving, left = moving_axes(operand, windows), list(windows)
    if monoid is None and any(w.needs_fill(ctx) or not w.is_fixed for w in moving.values()):
        raise ctx.refuse(
            "its reducer has no identity that is known; use add, mul, max, min, and, or, xor"
        )
    identity = IDENTITY[monoid](operand.array.dtype) if monoid else 0
    array = with_fill(ctx, operand, moving, identity).array
    for axis, along_axis in moving.items():
        array, left[axis] = _fix(ctx, array, axis, along_axis, monoid, identity)
    return array, left


def _fix(
    ctx: Context, array: Any, axis: int, windows: Windows, monoid: str | None, identity: Any
) -> tuple[Any, Windows]:
    size, stride, base, dilation = windows.size, windows.stride, windows.base, windows.dilation
    if windows.is_fixed:
        padding = windows.padding(ctx, array.shape[axis])
        if min(padding) >= 0:
            return array, fixed(size, stride, padding, base, dilation)
    array = windows.positions(ctx, array, axis, jnp.asarray(identity, array.dtype))
    if windows.has_fixed_steps:
        return array, fixed(size, stride, dilation=dilation)
    return combine(ctx, array, axis, windows, OPERATORS[monoid], identity), fixed(1, 1)
