"""Windows that slide along one axis, and how to keep them off the pad lanes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import Dim
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.lanes import along
from sod2jax.rewrite.lanes.layouts import align_axes
from sod2jax.rewrite.padded import Extent, Padded, is_padded, pick


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows along one axis, in the words of ``lax.reduce_window``.

    Lane i of the axis stands at position ``low + i * base``; window o reads the positions
    ``o * stride + k * dilation`` for k below ``size``.

    Attributes:
      size: positions per window.
      stride: distance between windows.
      low: padding before the first lane.
      high: padding after the last lane.
      base: distance between lanes.
      dilation: distance between the positions of a window.
      count: number of windows.
    """

    size: Dim
    stride: Dim
    low: Dim
    high: Dim
    base: Dim
    dilation: Dim
    count: Dim

    @property
    def is_trivial(self) -> bool:
        """Whether each lane is a window of its own."""
        return self.size == self.stride == self.base == 1 and self.low == self.high == 0

    @property
    def has_fixed_steps(self) -> bool:
        """Whether windows have the same positions at every true size."""
        return all(isinstance(d, int) for d in (self.size, self.stride, self.dilation))

    @property
    def is_fixed(self) -> bool:
        """Whether windows see the same lanes at every true size, the axis's end aside."""
        return self.has_fixed_steps and isinstance(self.low, int) and isinstance(self.base, int)

    def is_plain(self, value: Padded, axis: int) -> bool:
        """Whether neither the axis nor its windows depend on a true size."""
        return self.is_fixed and isinstance(self.high, int) and not is_padded(value.extents[axis])

    def needs_fill(self, ctx: Context) -> bool:
        """Whether a window may see a position that no true lane holds."""
        return ctx.size(self.low) > 0 or ctx.size(self.high) > 0 or self.base != 1

    def ends_within(self, ctx: Context, lanes: Dim) -> bool:
        """Whether no window passes the last one of so many lanes, at any true size."""
        if not self.is_fixed or self.base != 1:
            return False
        last = (self.count - 1) * self.stride + (self.size - 1) * self.dilation - self.low
        end = dims.normalise(last + 1)
        return ctx.region.proves(Comparison.of(lanes, ">=", end))

    def reach(self, ctx: Context) -> int:
        """Number of positions that windows cover, at the largest sizes."""
        count, size = ctx.size(self.count), ctx.size(self.size)
        span = (size - 1) * ctx.size(self.dilation) + 1
        return max((count - 1) * ctx.size(self.stride) + span, 0)

    def padding(self, ctx: Context, lanes: int) -> tuple[int, int]:
        """The padding with which exactly N(count) windows of fixed steps fit on ``lanes`` lanes."""
        low, stride, base = int(self.low), int(self.stride), int(self.base)  # type: ignore[arg-type]
        width = (lanes - 1) * base + 1
        if isinstance(self.high, int):
            span = (ctx.size(self.size) - 1) * int(self.dilation) + 1  # type: ignore[arg-type]
            if (low + width + self.high - span) // stride + 1 == ctx.size(self.count):
                return low, self.high
        return low, self.reach(ctx) - low - width

    def positions(self, ctx: Context, array: Any, axis: int, fill: Any) -> Any:
        """The array with its lanes at their positions along the axis, and ``fill`` between them."""
        gap = self.base - 1
        return along.spread(ctx, array, axis, self.low, gap, self.reach(ctx), fill)


def windows_of(eqn: JaxprEqn, counts: Sequence[Dim]) -> list[Windows]:
    """The windows of an equation along each axis."""
    params, ones = eqn.params, (1,) * len(counts)
    columns = zip(
        params["window_dimensions"],
        params["window_strides"],
        params["padding"],
        params.get("base_dilation", ones),
        params.get("window_dilation", ones),
        counts,
        strict=True,
    )
    return [
        Windows(*map(dims.from_jax, (size, stride, low, high, base, dilation, count)))
        for size, stride, (low, high), base, dilation, count in columns
    ]


def parameters(windows: Sequence[Windows]) -> dict[str, Any]:
    """Parameters of a window primitive whose windows are all fixed."""
    return {
        "window_dimensions": tuple(w.size for w in windows),
        "window_strides": tuple(w.stride for w in windows),
        "padding": tuple((w.low, w.high) for w in windows),
        "base_dilation": tuple(w.base for w in windows),
        "window_dilation": tuple(w.dilation for w in windows),
    }


def fixed(
    size: Dim, stride: Dim, padding: tuple[int, int] = (0, 0), base: Dim = 1, dilation: Dim = 1
) -> Windows:
    """Windows of fixed steps, as many as fit."""
    return Windows(size, stride, *padding, base, dilation, count=0)


def moving_axes(operand: Padded, windows: Sequence[Windows]) -> dict[int, Windows]:
    """The axes on which windows depend on a true size, or may meet pad lanes."""
    return {
        axis: along_axis
        for axis, along_axis in enumerate(windows)
        if not (along_axis.is_trivial or along_axis.is_plain(operand, axis))
    }


def extents_after(operand: Padded, windows: Sequence[Windows]) -> tuple[Extent, ...]:
    """Trivial windows keep the layout of an axis; others give a prefix."""
    return tuple(
        layout if along_axis.is_trivial else (along_axis.count,)
        for layout, along_axis in zip(operand.extents, windows, strict=True)
    )


def align_trivial(
    ctx: Context, values: Sequence[Padded], windows: Sequence[Windows]
) -> tuple[Padded, ...]:
    """The values with one layout on every axis that windows leave as it is."""
    trivial = [axis for axis, along_axis in enumerate(windows) if along_axis.is_trivial]
    return align_axes(ctx, values, trivial)


def with_fill(ctx: Context, value: Padded, moving: Mapping[int, Windows], fill: Any) -> Padded:
    """Prefix axes, with ``fill`` in the pad lanes that windows past the true lanes see."""
    seen = [axis for axis, windows in moving.items() if ctx.size(windows.high) > 0]
    reason = "windows that pass the end of the true lanes would see them"
    return ctx.mask(ctx.compact(value, moving), seen, fill, reason, strict=True)


def unfold(ctx: Context, array: Any, axis: int, windows: Windows) -> tuple[Any, Any]:
    """Lays windows out one after the other, N(size) lanes each.

    Windows that are shorter than that repeat their first lane: a window starts as it would, so a
    selection from it is the same.

    Returns:
      (array, int32[N(count) * N(size)]: the position of each of its lanes).
    """
    count, size = ctx.size(windows.count), ctx.size(windows.size)
    surplus = jnp.int32(size - ctx.true(windows.size))
    own = lax.max(_ramp(size) - surplus, jnp.zeros(size, np.int32))
    at = own * jnp.int32(ctx.true(windows.dilation))
    first = _ramp(count) * jnp.int32(ctx.true(windows.stride))
    index = (first[:, None] + at[None, :]).reshape(count * size)
    return pick(array, index, axis), index


def fold(array: Any, axis: int, index: Any, size: int) -> Any:
    """Adds the lanes of unfolded windows up at their positions."""
    shape = tuple(size if k == axis else n for k, n in enumerate(array.shape))
    where = (slice(None),) * axis + (index,)
    return jnp.zeros(shape, array.dtype).at[where].add(array, mode="drop")


def in_window(ctx: Context, windows: Windows) -> Any:
    """bool[N(count) * N(size)]: lanes of unfolded windows that do not only repeat the first."""
    count, size = ctx.size(windows.count), ctx.size(windows.size)
    own = lax.ge(_ramp(size), jnp.full(size, size - ctx.true(windows.size), np.int32))
    return jnp.tile(own, count)


def combine(
    ctx: Context,
    array: Any,
    axis: int,
    windows: Windows,
    operator: Callable[[Any, Any], Any],
    identity: Any,
) -> Any:
    """Reduces windows whose size, stride or dilation is known only at run time, by doubling.

    ``table`` holds at each position the reduction of 1, 2, 4, ... window lanes from there on; a
    window is put together from the binary digits of its size. No position outside a window is read
    for it, so infinities stay where they are.
    """
    count, stride, dilation = map(ctx.size, (windows.count, windows.stride, windows.dilation))
    room = max((count - 1) * stride + 1, 0)
    length, step = jnp.int32(ctx.true(windows.size)), jnp.int32(ctx.true(windows.dilation))
    shape = tuple(room if k == axis else n for k, n in enumerate(array.shape))
    total, done, table = jnp.full(shape, identity, array.dtype), jnp.int32(0), array
    for digit in range(ctx.size(windows.size).bit_length()):
        width = 1 << digit
        here = along.read(table, axis, done * step, ctx.size(windows.size) * dilation, room)
        used = lax.ne(lax.bitwise_and(length, jnp.int32(width)), jnp.int32(0))
        total = lax.select(used, operator(total, here), total)
        done = done + jnp.where(used, jnp.int32(width), jnp.int32(0))
        ahead = along.read(table, axis, width * step, width * dilation, table.shape[axis])
        table = operator(table, ahead)
    if isinstance(windows.stride, int):
        return lax.slice_in_dim(total, 0, room, windows.stride, axis)
    index = _ramp(count) * jnp.int32(ctx.true(windows.stride))
    return pick(total, index, axis)


def _ramp(size: int) -> Any:
    return lax.iota(np.int32, size)
