"""Convolutions: pad lanes along window, channel and group axes must add nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.rewrite import padded
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes import along
from sod2jax.rewrite.lanes.contraction import mask_contracted
from sod2jax.rewrite.lanes.sliding import Windows, fixed, in_window, unfold
from sod2jax.rewrite.padded import Padded
from sod2jax.rewrite.sizes import broadcast_along

# Fast algorithms (Winograd, FFT) mix all lanes of a tile, seen or not. Most libraries have them for
# windows that move by one lane only.
_SPATIAL = "the convolution may mix them into neighbouring windows"
_KERNEL = "the convolution slides them over lanes that no true window sees"
_FINITE = "whether all is finite is asked of true lanes only"
_GROUP = "the convolution may treat groups as one dense contraction with zeros"


@register_pad_rule("conv_general_dilated")
def _conv_general_dilated(ctx: Context, eqn: JaxprEqn, lhs: Padded, rhs: Padded) -> list[Padded]:
    """Zeroes pad lanes of both sides wherever they are summed over.

    Output axes: batch as in ``lhs``, features as in ``rhs``, a prefix for each window axis.
    """
    params, shape = eqn.params, ctx.out_shape()
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    groups = dims.from_jax(params["feature_group_count"])
    batch_groups = dims.from_jax(params["batch_group_count"])
    if groups == 1:
        lhs, rhs = ctx.align([(lhs, lhs_spec[1]), (rhs, rhs_spec[1])])
        lhs, rhs = mask_contracted(ctx, lhs, rhs, lhs_spec[1:2], rhs_spec[1:2])
        if batch_groups != 1:
            member = shape[out_spec[0]]
            lhs, rhs = _grouped(ctx, lhs, rhs, lhs_spec[0], rhs_spec, batch_groups, member)
    else:
        member = rhs.shape[rhs_spec[1]]
        lhs, rhs = _grouped(ctx, lhs, rhs, lhs_spec[1], rhs_spec, groups, member)
    windows = _windows(params, rhs.shape, shape)
    lhs = _filled(ctx, lhs, lhs_spec[2:], windows)
    extents = [(d,) for d in shape]
    if batch_groups == 1:
        extents[out_spec[0]] = lhs.extents[lhs_spec[0]]
    extents[out_spec[1]] = rhs.extents[rhs_spec[0]]
    rhs = ctx.compact(rhs, rhs_spec[2:])
    left, steps, kernels = lhs.array, [], {}
    for i, j, o, along_axis in zip(lhs_spec[2:], rhs_spec[2:], out_spec[2:], windows, strict=True):
        if along_axis.is_trivial:
            extents[o] = lhs.extents[i]
        elif not along_axis.has_fixed_steps:
            kernels[i, j] = along_axis
        elif not along_axis.is_plain(lhs, i):
            left, along_axis = _fix(ctx, left, i, along_axis)
        steps.append(along_axis)

    def convolve(left: Any, right: Any, steps: Sequence[Windows]) -> Any:
        (out,) = ctx.bind(
            left,
            right,
            window_strides=tuple(step.stride for step in steps),
            padding=tuple((step.low, step.high) for step in steps),
            lhs_dilation=tuple(step.base for step in steps),
            rhs_dilation=tuple(step.dilation for step in steps),
            feature_group_count=ctx.size(groups),
            batch_group_count=ctx.size(batch_groups),
        )
        return out

    def apart(left: Any, right: Any) -> Any:
        """Each window beside the others."""
        laid_out = list(steps)
        for (i, j), along_axis in kernels.items():
            left, right = _unfolded(ctx, left, right, i, j, along_axis)
            size = ctx.size(along_axis.size)
            laid_out[lhs_spec.index(i) - 2] = fixed(size, size)
        return convolve(left, right, laid_out)

    if not kernels:
        out = convolve(left, rhs.array, steps)
    elif not all(_moves_evenly(along_axis) for along_axis in kernels.values()):
        out = apart(left, rhs.array)
    else:
        right = ctx.mask(rhs, [j for _, j in kernels], 0, _KERNEL, strict=True).array
        slid, at = list(steps), left
        for (i, _), along_axis in kernels.items():
            at, slid[lhs_spec.index(i) - 2] = _fix(ctx, at, i, along_axis)
        out = _if_finite(ctx, lhs, convolve(at, right, slid), apart, left, right)
    return [Padded(out, tuple(extents))]


def _moves_evenly(windows: Windows) -> bool:
    """Whether only the number of a window's positions depends on a true size."""
    return isinstance(windows.stride, int) and isinstance(windows.dilation, int)


def _if_finite(
    ctx: Context, lhs: Padded, out: Any, apart: Callable[[Any, Any], Any], left: Any, right: Any
) -> Any:
    """What a kernel gave whose zeros in pad lanes met true lanes, if all of those are finite.

    Whether they are is asked of the true lanes alone: what others hold changes nothing. What they
    give otherwise is computed anew: XLA runs slowly what has a branch to itself.
    """
    if not jnp.issubdtype(left.dtype, np.inexact):
        return out
    seen = ctx.mask(lhs, range(lhs.rank), 0, _FINITE, strict=True).array
    total = jnp.sum(seen, dtype=jnp.promote_types(seen.dtype, np.float32))

    def anew(_: Any, left: Any, right: Any) -> Any:
        with ctx.scope():
            return apart(left, right)

    return lax.cond(jnp.isfinite(total), lambda out, *_: out, anew, out, left, right)


def _windows(params: Any, kernel: Sequence[Dim], out: Sequence[Dim]) -> list[Windows]:
    _, rhs_spec, out_spec = params["dimension_numbers"]
    columns = zip(
        rhs_spec[2:],
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        out_spec[2:],
        strict=True,
    )
    return [
        Windows(*map(dims.from_jax, (kernel[j], stride, low, high, base, dilation, out[o])))
        for j, stride, (low, high), base, dilation, o in columns
    ]


def _filled(ctx: Context, lhs: Padded, axes: Sequence[int], windows: Sequence[Windows]) -> Padded:
    """Zeroes along the axes that windows move on, also where no true window meets pad lanes.

    There it is left out where each window is computed from its own lanes alone.
    """
    moving = {
        axis: along_axis
        for axis, along_axis in zip(axes, windows, strict=True)
        if not (along_axis.is_trivial or along_axis.is_plain(lhs, axis))
    }
    lhs = ctx.compact(lhs, moving)
    alone = not ctx.target.mixes_strided_windows and any(w.stride != 1 for w in windows)
    seen = [k for k, w in moving.items() if not (alone and w.ends_within(ctx, lhs.shape[k]))]
    return ctx.mask(lhs, seen, 0, _SPATIAL, strict=True)


def _fix(ctx: Context, lhs: Any, i: int, windows: Windows) -> tuple[Any, Windows]:
    """Gives the primitive windows that no longer depend on a true size, but for their length."""
    if isinstance(windows.low, int) and isinstance(windows.base, int):
        padding = windows.padding(ctx, lhs.shape[i])
        return lhs, fixed(windows.size, windows.stride, padding, windows.base, windows.dilation)
    lhs = windows.positions(ctx, lhs, i, jnp.zeros((), lhs.dtype))
    return lhs, fixed(windows.size, windows.stride, dilation=windows.dilation)


def _unfolded(
    ctx: Context, lhs: Any, rhs: Any, i: int, j: int, windows: Windows
) -> tuple[Any, Any]:
    """A kernel with pad lanes: windows are laid out, so that its pad lanes meet zeros only.

    Sliding the padded kernel would multiply its zeros with true lanes, which may be infinite.
    The lanes of a short window come last, and so must those of the kernel.
    """
    size, zero = ctx.size(windows.size), jnp.zeros((), lhs.dtype)
    lhs, _ = unfold(ctx, windows.positions(ctx, lhs, i, zero), i, windows)
    own = broadcast_along(in_window(ctx, windows), i, lhs.shape)
    lhs = lax.select(own, lhs, lax.full(lhs.shape, 0, lhs.dtype))
    low = dims.normalise(size - windows.size)
    return lhs, along.spread(ctx, rhs, j, low, 0, size, jnp.zeros((), rhs.dtype))


def _grouped(
    ctx: Context,
    lhs: Padded,
    rhs: Padded,
    axis: int,
    rhs_spec: Sequence[int],
    groups: Dim,
    member: Dim,
) -> tuple[Padded, Padded]:
    """Lays grouped axes out as (group, member) and zeroes their pad lanes on both sides."""
    out, channel = rhs_spec[:2]
    lhs = _arranged(ctx, lhs, axis, (groups, member))
    rhs = _arranged(ctx, rhs, out, (groups, _per_group(ctx, rhs.shape[out], groups)))
    rhs = ctx.compact(rhs, (channel,))
    lhs = ctx.mask(lhs, (axis,), 0, _GROUP, strict=True)
    return lhs, ctx.mask(rhs, (out, channel), 0, _GROUP, strict=True)


def _per_group(ctx: Context, count: Dim, groups: Dim) -> Dim:
    each = dims.quotient(count, groups)
    if each is None:
        raise ctx.refuse(f"'{count}' output features in '{groups}' groups are no polynomial each")
    return each


def _arranged(ctx: Context, value: Padded, axis: int, factors: tuple[Dim, Dim]) -> Padded:
    """The value with one axis laid out as a product of two factors."""
    layout = padded.extent(factors)
    if value.extents[axis] == layout:
        return value
    moved = ctx.relayout(value, axis, axis + 1, factors)
    lanes = ctx.extent_size(layout)
    sizes = (*moved.array.shape[:axis], lanes, *moved.array.shape[axis + 2 :])
    extents = (*moved.extents[:axis], layout, *moved.extents[axis + 2 :])
    fills = moved.fills_from((*range(axis), None, *range(axis + 2, moved.rank)))
    return moved.with_array(moved.array.reshape(sizes), extents, fills)
