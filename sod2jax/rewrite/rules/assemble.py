"""Cutting arrays apart and putting them together: slice, split, concatenate, pad, tile, reverse."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.rewrite import padded
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes import along
from sod2jax.rewrite.lanes.layouts import align_axes
from sod2jax.rewrite.padded import Padded, constant_fill


@register_pad_rule("slice")
def _slice(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Cuts each axis: a plain slice where it starts and steps by integers."""
    starts = eqn.params["start_indices"]
    strides = eqn.params["strides"] or (1,) * operand.rank
    for axis, (start, dim, stride) in enumerate(zip(starts, ctx.out_shape(), strides, strict=True)):
        operand = along.cut(ctx, operand, axis, dims.from_jax(start), dim, dims.from_jax(stride))
    return [operand]


@register_pad_rule("split")
def _split(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Consecutive cuts of one axis."""
    axis, sizes = eqn.params["axis"], [dims.from_jax(size) for size in eqn.params["sizes"]]
    ends = itertools.accumulate(sizes, lambda a, b: dims.normalise(a + b), initial=0)
    return [
        along.cut(ctx, operand, axis, start, size) for start, size in zip(ends, sizes, strict=False)
    ]


@register_pad_rule("concatenate")
def _concatenate(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Puts each operand at its true offset, over the pad lanes of the one before.

    Operands without pad lanes on the axis, up to and with the first that has some, are a plain
    concatenation: the result is a prefix again.
    """
    axis, dim = eqn.params["dimension"], ctx.out_shape()[eqn.params["dimension"]]
    others = [k for k in range(operands[0].rank) if k != axis]
    operands = tuple(ctx.compact(p, (axis,)) for p in align_axes(ctx, operands, others))
    runs = _runs(operands, axis)
    array = _plain(runs[0], axis)
    if len(runs) > 1:
        array = _overlaid(ctx, runs, axis, ctx.size(dim))
    extents = list(operands[0].extents)
    extents[axis] = (dim,)
    inexact = [k for k, layout in enumerate(extents) if padded.is_padded(layout)]
    fills = along.joined(operands, inexact, constant_fill(0) if len(runs) > 1 else None, axis)
    nonnegative = all(p.nonnegative for p in operands)
    return [Padded(array, tuple(extents), fills, nonnegative=nonnegative)]


def _runs(operands: Sequence[Padded], axis: int) -> list[list[Padded]]:
    """Groups of operands in which only the last may have pad lanes on the axis."""
    runs: list[list[Padded]] = [[]]
    for operand in operands:
        runs[-1].append(operand)
        if padded.is_padded(operand.extents[axis]):
            runs.append([])
    return [run for run in runs if run]


def _plain(run: Sequence[Padded], axis: int) -> Any:
    return lax.concatenate([p.array for p in run], axis) if len(run) > 1 else run[0].array


def _overlaid(ctx: Context, runs: Sequence[Sequence[Padded]], axis: int, size: int) -> Any:
    arrays = [_plain(run, axis) for run in runs]
    room = max(size, sum(array.shape[axis] for array in arrays))
    out = along.lengthen(arrays[0], axis, room)
    offset: Dim = 0
    for run, array in zip(runs[:-1], arrays[1:], strict=True):
        offset = dims.normalise(offset + sum(p.shape[axis] for p in run))
        out = along.write(out, axis, ctx.true(offset), array)
    return lax.slice_in_dim(out, 0, size, axis=axis)


@register_pad_rule("pad")
def _pad(ctx: Context, eqn: JaxprEqn, operand: Padded, value: Padded) -> list[Padded]:
    """Pads axis by axis, all plain ones at once.

    Where new lanes follow the true lanes of an axis with pad lanes, these hold the padding value
    first: they become true lanes.
    """
    config = [tuple(map(dims.from_jax, widths)) for widths in eqn.params["padding_config"]]
    shape = ctx.out_shape()
    plain: list[Any] = [(0, 0, 0)] * operand.rank
    for axis, (low, high, gap) in enumerate(config):
        if padded.is_padded(operand.extents[axis]) or dims.is_symbolic(shape[axis]):
            operand = _pad_axis(ctx, operand, value, axis, (low, high, gap), shape[axis])
        else:
            plain[axis] = (low, high, gap)
    if any(widths != (0, 0, 0) for widths in plain):
        array = lax.pad(operand.array, value.array, plain)
        extents = [
            (d,) if w != (0, 0, 0) else e
            for d, w, e in zip(shape, plain, operand.extents, strict=True)
        ]
        fills = along.joined([operand], operand.padded_axes, value.fill(0))
        operand = Padded(array, tuple(extents), fills)
    return [operand]


def _pad_axis(
    ctx: Context, operand: Padded, value: Padded, axis: int, widths: Sequence[Dim], dim: Dim
) -> Padded:
    low, high, gap = widths
    if low == high == gap == 0:
        return operand
    operand = ctx.compact(operand, (axis,))
    trailing = ctx.size(high) > 0
    if trailing and padded.is_padded(operand.extents[axis]):
        operand = _with_value(ctx, operand, value, axis)
    size = ctx.size(dim)
    array = along.spread(ctx, operand.array, axis, low, gap, size, value.array)
    # Cutting true lanes off leaves them past the end.
    clean = along.lowest_value(ctx, high) >= 0
    axes = [k for k in range(operand.rank) if k != axis or clean]
    fills = along.joined([operand], axes, value.fill(0), axis)
    return along.changed(operand, axis, array, dim, value.fill(0), fills)


def _with_value(ctx: Context, operand: Padded, value: Padded, axis: int) -> Padded:
    """The padding value in the pad lanes of an axis; it may be known only at run time."""
    if value.constant is not None:
        reason = "padding after the true lanes would uncover them"
        return ctx.mask(operand, (axis,), value.constant, reason, strict=True)
    shape = operand.array.shape
    valid = ctx.valid(operand.extents, (axis,))
    array = lax.select(valid, operand.array, lax.broadcast(value.array, shape))
    fills = {k: f.meet(value.fill(0)) for k, f in operand.fills.items() if k != axis}
    return Padded(array, operand.extents, fills)


@register_pad_rule("rev")
def _rev(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Reverses; on an axis with pad lanes the true ones come last then, and are read from there."""
    dimensions = eqn.params["dimensions"]
    moved = [k for k in dimensions if padded.is_padded(operand.extents[k])]
    operand = ctx.compact(operand, moved)
    array = lax.rev(operand.array, dimensions)
    for axis in moved:
        size = array.shape[axis]
        array = along.read(array, axis, size - ctx.true(operand.shape[axis]), size, size)
    if not moved:
        return [operand.with_array(array)]
    return [Padded(array, operand.extents, nonnegative=operand.nonnegative)]


@register_pad_rule("tile")
def _tile(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Repeats axes: the copies become an outer factor of the layout, so no lane moves."""
    reps = [dims.from_jax(r) for r in eqn.params["reps"]]
    array = lax.tile(operand.array, tuple(ctx.sizes(reps)))
    extents = tuple(padded.extent((r, *e)) for r, e in zip(reps, operand.extents, strict=True))
    fills = {k: f for k, f in operand.fills.items() if isinstance(reps[k], int)}
    return [operand.with_array(array, extents, fills)]


@register_pad_rule("stack")
def _stack(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Puts operands side by side on a new axis without pad lanes."""
    axis = eqn.params["axis"] % (operands[0].rank + 1)
    operands = align_axes(ctx, operands)
    (array,) = ctx.bind(*(p.array for p in operands))
    first = operands[0]
    extents = (*first.extents[:axis], (len(operands),), *first.extents[axis:])
    fills = along.joined(operands, first.padded_axes)
    moved = {k + (k >= axis): f for k, f in fills.items()}
    return [Padded(array, extents, moved, nonnegative=all(p.nonnegative for p in operands))]


@register_pad_rule("unstack")
def _unstack(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Takes an axis without pad lanes apart."""
    axis = eqn.params["axis"] % operand.rank
    kept = [k for k in range(operand.rank) if k != axis]
    extents, fills = [operand.extents[k] for k in kept], operand.fills_from(kept)
    return [operand.with_array(array, extents, fills) for array in ctx.bind(operand.array)]
