"""Indices and starts against the *true* sizes, and windows of a padded array.

XLA keeps a window inside the padded array, so garbage in the pad lanes of indices is harmless where
windows are read. What must be added is the bound by the true size, where that differs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import Atom
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import bounds
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.padded import Fill, Padded
from sod2jax.rewrite.sizes import broadcast_along

OUT_OF_RANGE = np.int32(np.iinfo(np.int32).max)


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a window starts on one axis.

    Attributes:
      value: an ``int``, or an int32 scalar, from 0 to the last start that fits the true size.
      high: the largest value at any size of the bucket.
    """

    value: Any
    high: int


def room(dim: Dim, size: Dim) -> Dim:
    """The last start of a window of ``size`` on an axis of ``dim``."""
    return dims.normalise(dim - size)


def partial_axes(shape: Sequence[Dim], sizes: Sequence[Dim]) -> tuple[int, ...]:
    """Axes that a window of ``sizes`` does not span."""
    return tuple(k for k, (d, size) in enumerate(zip(shape, sizes, strict=True)) if d != size)


def to_int32(index: Any) -> Any:
    """The index as int32; what does not fit becomes the nearest that does."""
    info, target = jnp.iinfo(index.dtype), np.iinfo(np.int32)
    low, high = max(int(info.min), int(target.min)), min(int(info.max), int(target.max))
    if (low, high) != (int(info.min), int(info.max)):
        dtype = index.dtype.type
        index = lax.clamp(dtype(low), index, dtype(high))
    return lax.convert_element_type(index, np.int32)


def is_inside(ctx: Context, atom: Atom, last: Sequence[Dim]) -> bool:
    """Whether the analysis proves that every true index lies in ``0..last``, for each ``last``."""
    if not last:
        return True
    span = ctx.value_range(atom)
    if span is None or not _at_least(ctx, span[0], 0):
        return False
    return all(_at_least(ctx, end, span[1]) for end in last)


def _at_least(ctx: Context, a: Dim, b: Dim) -> bool:
    low = bounds(room(a, b), ctx.region).low
    return low is not None and low >= 0


def clamped(ctx: Context, index: Any, last: Sequence[Dim]) -> Any:
    """int32 indices ``[..., k]`` moved into ``0..last[k]``."""
    index = to_int32(index)
    return lax.clamp(np.int32(0), index, _ends(ctx, index, last))


def checked(ctx: Context, index: Any, last: Sequence[Dim]) -> Any:
    """int32 indices ``[..., k]``; those outside ``0..last[k]`` become ``OUT_OF_RANGE``."""
    index = to_int32(index)
    valid = lax.bitwise_and(
        lax.ge(index, lax.full_like(index, 0)), lax.le(index, _ends(ctx, index, last))
    )
    return lax.select(valid, index, lax.full_like(index, OUT_OF_RANGE))


def _ends(ctx: Context, index: Any, last: Sequence[Dim]) -> Any:
    ends = jnp.stack([jnp.int32(ctx.true(end)) for end in last])
    return lax.broadcast_in_dim(ends, index.shape, (index.ndim - 1,))


def start(ctx: Context, atom: Atom, index: Any, dim: Dim, size: Dim) -> Start:
    """Start of a window of ``size`` on an axis of ``dim``, moved so that it fits, as XLA does.

    Args:
      ctx: the context.
      atom: the operand that the index comes from, for what the analysis knows of it.
      index: integer scalar.
      dim: true size of the axis.
      size: true size of the window.
    """
    last = room(dim, size)
    if last == 0:
        return Start(0, 0)
    if not is_inside(ctx, atom, [last]):
        value = lax.clamp(np.int32(0), to_int32(index), jnp.int32(ctx.true(last)))
        return Start(value, ctx.size(last))
    low, high = ctx.value_range(atom)  # type: ignore[misc]
    value = ctx.true(low) if low == high else to_int32(index)
    return Start(value, min(ctx.size(high), ctx.size(last)))


def read(ctx: Context, value: Padded, starts: Sequence[Start], shape: Sequence[Dim]) -> Padded:
    """The window of true size ``shape``; axes that it spans keep their layout and fill.

    Where start + N(size) may pass the end of the array, the window is read as late as it fits and
    its lanes are moved back.
    """
    partial = partial_axes(value.shape, shape)
    value = ctx.compact(value, partial)
    sizes = [ctx.size(d) if k in partial else value.array.shape[k] for k, d in enumerate(shape)]
    places, shifts = _fit(starts, sizes, value.array.shape)
    array = _window(value.array, places, sizes)
    for axis, shift in shifts.items():
        array = _shifted(array, axis, shift)
    extents = tuple((shape[k],) if k in partial else value.extents[k] for k in range(value.rank))
    fills = {k: f for k, f in value.fills.items() if k not in partial}
    return value.with_array(array, extents, fills)


def _window(array: Any, places: Sequence[Any], sizes: Sequence[int]) -> Any:
    if all(isinstance(place, int) for place in places):
        limits = [place + size for place, size in zip(places, sizes, strict=True)]
        return lax.slice(array, places, limits)
    return lax.dynamic_slice(array, _scalars(places), sizes, allow_negative_indices=False)


def _scalars(places: Sequence[Any]) -> list[Any]:
    return [jnp.int32(place) for place in places]


def _fit(
    starts: Sequence[Start], sizes: Sequence[int], held: Sequence[int]
) -> tuple[list[Any], dict[int, Any]]:
    """(starts of windows that end inside the array, by how much each axis had to give way)."""
    places, shifts = [], {}
    for axis, (at, size, have) in enumerate(zip(starts, sizes, held, strict=True)):
        if at.high + size <= have:
            places.append(at.value)
            continue
        places.append(_least(at.value, have - size))
        shifts[axis] = at.value - places[-1]
    return places, shifts


def _least(value: Any, bound: int) -> Any:
    return min(value, bound) if isinstance(value, int) else lax.min(value, np.int32(bound))


def _shifted(array: Any, axis: int, by: Any) -> Any:
    """``out[j] = array[j + by]`` along an axis, for -N <= by <= N; zeros outside."""
    size = array.shape[axis]
    widths = [(size, size, 0) if k == axis else (0, 0, 0) for k in range(array.ndim)]
    wide = lax.pad(array, jnp.zeros((), array.dtype), widths)
    return _window(wide, [by + size if k == axis else 0 for k in range(array.ndim)], array.shape)


def write(
    ctx: Context,
    operand: Padded,
    update: Padded,
    starts: Sequence[Start],
    combine: Callable[[Any, Any], Any] | None = None,
    allowed: Any = None,
) -> Padded:
    """The operand with a window of ``update``'s size replaced, or combined with what was there.

    Pad lanes of the update on axes that it does not span would fall on true lanes of the operand:
    there the window is read, selected from and written back.

    Args:
      ctx: the context.
      operand: what to change; its axes that the update spans get the layout of the update's.
      update: of the operand's rank.
      starts: of the window, by axis.
      combine: elementwise function of (old, new).
      allowed: bool scalar; where it is False nothing changes.
    """
    partial = partial_axes(operand.shape, update.shape)
    operand, update = _aligned(ctx, operand, update, partial)
    sizes = update.array.shape
    places, shifts = _fit(starts, sizes, operand.array.shape)
    new = update.array
    for axis, shift in shifts.items():
        new = _shifted(new, axis, -shift)
    lanes = _written(ctx, update, [k for k in partial if k in update.padded_axes], shifts)
    if allowed is not None:
        lanes.append(lax.broadcast(allowed, sizes))
    if lanes or combine is not None:
        old = _window(operand.array, places, sizes)
        new = new if combine is None else combine(old, new)
        new = lax.select(functools.reduce(lax.bitwise_and, lanes), new, old) if lanes else new
    array = lax.dynamic_update_slice(
        operand.array, new, _scalars(places), allow_negative_indices=False
    )
    return Padded(array, operand.extents, _kept_fills(operand, update, partial, combine is None))


def _aligned(
    ctx: Context, operand: Padded, update: Padded, partial: Sequence[int]
) -> tuple[Padded, Padded]:
    for axis in range(operand.rank):
        if axis in partial:
            operand, update = ctx.compact(operand, (axis,)), ctx.compact(update, (axis,))
        else:
            operand, update = ctx.align([(operand, axis), (update, axis)])
    return operand, update


def _written(
    ctx: Context, update: Padded, axes: Sequence[int], shifts: dict[int, Any]
) -> list[Any]:
    """Arrays of bool of the window's shape: lanes that hold a true lane of the update."""
    out = []
    for axis in axes:
        lanes = ctx.lanes(update.extents[axis])
        if axis in shifts:
            lanes = _shifted(lanes, 0, -shifts[axis])
        out.append(broadcast_along(lanes, axis, update.array.shape))
    return out


def _kept_fills(
    operand: Padded, update: Padded, partial: Sequence[int], replaced: bool
) -> dict[int, Fill]:
    """Known pad lanes: replaced where the window spans the axis, untouched where it does not."""
    out = {}
    for axis, fill in operand.fills.items():
        same = replaced and update.fills.get(axis) == fill
        if (axis in partial or same) and not fill.or_nan_row:
            out[axis] = fill
    return out
