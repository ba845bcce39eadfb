"""Indexed reads and windows: gather, dynamic_slice, dynamic_update_slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes import along
from sod2jax.rewrite.lanes import indices as ix
from sod2jax.rewrite.padded import Extent, Fill, Padded

_CLIP = lax.GatherScatterMode.CLIP
_FILL = lax.GatherScatterMode.FILL_OR_DROP


@register_pad_rule("dynamic_slice")
def _dynamic_slice(ctx: Context, eqn: JaxprEqn, operand: Padded, *starts: Padded) -> list[Padded]:
    """A window at run-time starts, each moved so that the window fits the *true* size."""
    shape = ctx.out_shape()
    return [
        ix.read(ctx, operand, _starts(ctx, eqn.invars[1:], starts, operand.shape, shape), shape)
    ]


@register_pad_rule("dynamic_update_slice")
def _dynamic_update_slice(
    ctx: Context, eqn: JaxprEqn, operand: Padded, update: Padded, *starts: Padded
) -> list[Padded]:
    """Replaces a window at run-time starts, each moved so that it fits the *true* size."""
    places = _starts(ctx, eqn.invars[2:], starts, operand.shape, update.shape)
    return [ix.write(ctx, operand, update, places)]


def _starts(
    ctx: Context,
    atoms: Sequence[Any],
    starts: Sequence[Padded],
    shape: Sequence[Dim],
    sizes: Sequence[Dim],
) -> list[ix.Start]:
    rows = zip(atoms, starts, shape, sizes, strict=True)
    return [ix.start(ctx, atom, p.array, dim, size) for atom, p, dim, size in rows]


@register_pad_rule("gather")
def _gather(ctx: Context, eqn: JaxprEqn, operand: Padded, indices: Padded) -> list[Padded]:
    """Windows of ``slice_sizes`` of the operand at ``indices[..., :]``, one for each leading index.

    A window may span an axis (which keeps its layout) or lie inside it (then true lanes must come
    first). XLA moves windows into the padded array whatever the indices are, so pad lanes of the
    indices need nothing, and neither do operand axes of fixed size: an embedding lookup is bound as
    it stands. Elsewhere indices are bounded by the true size.
    """
    sizes = tuple(map(dims.from_jax, eqn.params["slice_sizes"]))
    start_axes = eqn.params["dimension_numbers"].start_index_map
    inside = ix.is_inside(
        ctx, eqn.invars[1], [ix.room(operand.shape[k], sizes[k]) for k in start_axes]
    )
    checked = eqn.params["mode"] == _FILL and not inside
    if indices.rank == 1 and not checked:
        return [_one_window(ctx, eqn, operand, indices, sizes)]
    return [_windows(ctx, eqn, operand, indices, sizes, inside, checked)]


def _one_window(
    ctx: Context, eqn: JaxprEqn, operand: Padded, indices: Padded, sizes: Sequence[Dim]
) -> Padded:
    """A gather of one window is a dynamic slice."""
    numbers = eqn.params["dimension_numbers"]
    starts = [ix.Start(0, 0)] * operand.rank
    for component, axis in enumerate(numbers.start_index_map):
        index = lax.index_in_dim(indices.array, component, keepdims=False)
        starts[axis] = ix.start(ctx, eqn.invars[1], index, operand.shape[axis], sizes[axis])
    window = ix.read(ctx, operand, starts, sizes)
    kept = [k for k in range(operand.rank) if k not in numbers.collapsed_slice_dims]
    array = lax.squeeze(window.array, numbers.collapsed_slice_dims)
    extents = [window.extents[k] for k in kept]
    return window.with_array(array, extents, window.fills_from(kept))


def _windows(
    ctx: Context,
    eqn: JaxprEqn,
    operand: Padded,
    indices: Padded,
    sizes: Sequence[Dim],
    inside: bool,
    checked: bool,
) -> Padded:
    numbers = eqn.params["dimension_numbers"]
    batching = numbers.operand_batching_dims
    for axis, at in zip(batching, numbers.start_indices_batching_dims, strict=True):
        operand, indices = ctx.align([(operand, axis), (indices, at)])
    partial = [k for k in ix.partial_axes(operand.shape, sizes) if k not in batching]
    operand = ctx.compact(operand, partial)
    last = [ix.room(operand.shape[k], sizes[k]) for k in numbers.start_index_map]
    index = indices.array
    fixed = not any(
        dims.is_symbolic(operand.shape[k]) or dims.is_symbolic(sizes[k]) for k in partial
    )
    if not inside and not fixed:
        index = (ix.checked if checked else ix.clamped)(ctx, index, last)
    array, window = _with_room(ctx, operand, sizes, partial, batching)
    ordered = not indices.padded_axes and index is indices.array
    (out,) = ctx.bind(
        array,
        index,
        slice_sizes=window,
        mode=_FILL if checked else _CLIP,
        fill_value=eqn.params["fill_value"] if checked else None,
        indices_are_sorted=eqn.params["indices_are_sorted"] and ordered,
        unique_indices=eqn.params["unique_indices"] and ordered,
    )
    extents, fills = _layout(eqn, operand, indices, sizes)
    if checked:
        return Padded(out, extents)
    return operand.with_array(out, extents, fills)


def _with_room(
    ctx: Context,
    operand: Padded,
    sizes: Sequence[Dim],
    partial: Sequence[int],
    batching: Sequence[int],
) -> tuple[Any, tuple[int, ...]]:
    """(operand long enough for padded windows at the last true starts, padded window)."""
    array = operand.array
    window = [1 if k in batching else size for k, size in enumerate(array.shape)]
    for axis in partial:
        window[axis] = ctx.size(sizes[axis])
        longest = ctx.size(ix.room(operand.shape[axis], sizes[axis])) + window[axis]
        array = along.lengthen(array, axis, longest)
    return array, tuple(window)


def _layout(
    eqn: JaxprEqn, operand: Padded, indices: Padded, sizes: Sequence[Dim]
) -> tuple[tuple[Extent, ...], dict[int, Fill]]:
    """Axes of the result: windows at ``offset_dims``, indices elsewhere."""
    numbers = eqn.params["dimension_numbers"]
    gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    window = iter([k for k in range(operand.rank) if k not in gone])
    batch = iter(indices.extents[:-1])
    extents: list[Extent] = []
    fills = {}
    for axis in range(indices.rank - 1 + len(numbers.offset_dims)):
        if axis not in numbers.offset_dims:
            extents.append(next(batch))
            continue
        source = next(window)
        spans = operand.shape[source] == sizes[source]
        extents.append(operand.extents[source] if spans else (sizes[source],))
        if spans and source in operand.fills:
            fills[axis] = operand.fills[source]
    return tuple(extents), fills
