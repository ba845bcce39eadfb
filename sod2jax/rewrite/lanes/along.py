"""Moves along one axis that other rules are made of: cutting, joining, spreading lanes out."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import bounds
from sod2jax.rewrite import moves, padded
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.padded import ANYTHING, Fill, Padded, constant_fill
from sod2jax.rewrite.sizes import broadcast_along


def joined(
    values: Sequence[Padded],
    axes: Sequence[int],
    new: Fill | None = None,
    lengthened: int | None = None,
) -> dict[int, Fill]:
    """Fills along some axes of lanes that come from several values, and of new ones.

    Args:
      values: where lanes come from; axes without pad lanes in a value have no say.
      axes: the axes.
      new: what new lanes hold; None if there are none.
      lengthened: an axis that got more true lanes: a row of NaN is no such row any more.
    """
    fills = {}
    for axis in axes:
        sources = [v.fill(axis) for v in values if padded.is_padded(v.extents[axis])]
        sources += [] if new is None else [new]
        fill = functools.reduce(Fill.meet, sources) if sources else ANYTHING
        if fill != ANYTHING and not (axis == lengthened and fill.or_nan_row):
            fills[axis] = fill
    return fills


def lengthen(array: Any, axis: int, size: int) -> Any:
    """The array with at least ``size`` lanes on an axis; new ones hold zeros or copies of a key."""
    missing = size - array.shape[axis]
    if missing <= 0:
        return array
    if jnp.issubdtype(array.dtype, jax.dtypes.extended):
        return jnp.take(array, np.minimum(np.arange(size), array.shape[axis] - 1), axis=axis)
    widths = [(0, missing if k == axis else 0, 0) for k in range(array.ndim)]
    return lax.pad(array, jnp.zeros((), array.dtype), widths)


def read(array: Any, axis: int, start: Any, most: int, size: int, stride: int = 1) -> Any:
    """Every ``stride``-th of ``size`` lanes from ``start``, which may be traced, up to ``most``.

    The array is lengthened first: XLA would move a slice that passes its end.
    """
    array = lengthen(array, axis, most + size)
    if isinstance(start, int):
        return lax.slice_in_dim(array, start, start + size, stride, axis)
    zero = np.int32(0)
    starts = [jnp.int32(start) if k == axis else zero for k in range(array.ndim)]
    sizes = [size if k == axis else n for k, n in enumerate(array.shape)]
    array = lax.dynamic_slice(array, starts, sizes, allow_negative_indices=False)
    return array if stride == 1 else lax.slice_in_dim(array, 0, size, stride, axis)


def write(array: Any, axis: int, start: Any, update: Any) -> Any:
    """The array with ``update`` written over lanes ``start`` onwards, which it must have."""
    zero = np.int32(0)
    starts = [jnp.int32(start) if k == axis else zero for k in range(array.ndim)]
    return lax.dynamic_update_slice(array, update, starts, allow_negative_indices=False)


def cut(ctx: Context, value: Padded, axis: int, start: Dim, dim: Dim, stride: Dim = 1) -> Padded:
    """Lanes ``start, start + stride, ...`` of an axis, ``dim`` of them, as a prefix axis.

    Every true lane of the result is a true lane of ``value``, so pad lanes need no mask.
    """
    if start == 0 and stride == 1 and dim == value.shape[axis]:
        return value
    value = ctx.compact(value, (axis,))
    size = ctx.size(dim)
    if not isinstance(stride, int):
        index = ctx.true(start) + lax.iota(np.int32, size) * jnp.int32(ctx.true(stride))
        return moves.take(value, axis, index, dim)
    span = max(size - 1, 0) * stride + min(size, 1)
    most = ctx.size(start)
    array = read(value.array, axis, ctx.true(start), most, span, stride)
    grown = most + span > value.array.shape[axis]
    # Lanes past the result's end may be true ones here unless it ends where the axis does. A row
    # of NaN that is cut to nothing is none.
    to_end = stride == 1 and dims.normalise(start + dim - value.shape[axis]) == 0
    kept = to_end and lowest_value(ctx, dim) > 0
    axes = [k for k in range(value.rank) if k != axis or kept]
    new = constant_fill(0) if grown else None
    return changed(value, axis, array, dim, new, joined([value], axes, new))


def changed(
    value: Padded, axis: int, array: Any, dim: Dim, new: Fill | None, fills: Mapping[int, Fill]
) -> Padded:
    """``value`` with other lanes along one axis.

    Args:
      value: where the lanes come from.
      axis: the axis that changed; it has a prefix layout now.
      array: the new array.
      dim: the true size of the axis.
      new: what lanes hold that ``value`` does not have; None if there are none.
      fills: what is known of the pad lanes now.
    """
    extents = (*value.extents[:axis], (dim,), *value.extents[axis + 1 :])
    constant = value.constant if new is None or new.is_known(value.constant) else None
    nonnegative = value.nonnegative and (new is None or (new.value is not None and new.value >= 0))
    return Padded(array, extents, fills, constant, nonnegative=nonnegative)


def spread(ctx: Context, array: Any, axis: int, low: Dim, gap: Dim, size: int, fill: Any) -> Any:
    """An axis of ``size`` lanes where lane ``low + i * (gap + 1)`` holds lane i of the array.

    All other lanes hold the scalar ``fill``; lanes that fall outside are dropped.
    """
    if not isinstance(gap, int):
        return _spread_by_index(ctx, array, axis, low, gap, size, fill)
    span = max(array.shape[axis] - 1, 0) * (gap + 1) + min(array.shape[axis], 1)
    if isinstance(low, int):
        return _pad(array, axis, (low, size - low - span, gap), fill)
    least, most = lowest_value(ctx, low), ctx.size(low)
    array = _pad(array, axis, (most, max(size - least - span, 0), gap), fill)
    return read(array, axis, most - ctx.true(low), most - least, size)


def _spread_by_index(
    ctx: Context, array: Any, axis: int, low: Dim, gap: Dim, size: int, fill: Any
) -> Any:
    """Each lane asks which lane of the array it holds, if any."""
    lane = lax.iota(np.int32, size) - ctx.true(low)
    step = jnp.full_like(lane, ctx.true(gap) + 1)
    source = lax.div(lane, step)
    inside = (lax.rem(lane, step) == 0) & (lane >= 0) & (source < array.shape[axis])
    taken = padded.pick(array, source, axis)
    return lax.select(
        broadcast_along(inside, axis, taken.shape), taken, lax.broadcast(fill, taken.shape)
    )


def _pad(array: Any, axis: int, widths: tuple[int, int, int], fill: Any) -> Any:
    config = [widths if k == axis else (0, 0, 0) for k in range(array.ndim)]
    return lax.pad(array, fill, config)


def lowest_value(ctx: Context, dim: Dim) -> int:
    """Smallest value of a dimension expression over the bucket."""
    low = bounds(dim, ctx.region).low
    if low is None:
        raise ctx.refuse(f"'{dim}' has no lower bound; constrain its symbols")
    return low
