"""Indexed writes: scatter and its combining kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes import indices as ix
from sod2jax.rewrite.lanes.layouts import transposed
from sod2jax.rewrite.padded import Extent, Padded

# What each primitive makes of the old and the new element.
_COMBINE: dict[str, Callable[[Any, Any], Any] | None] = {
    "scatter": None,
    "scatter-add": lax.add,
    "scatter-max": lax.max,
    "scatter-min": lax.min,
    "scatter-mul": lax.mul,
    "scatter-sub": lax.sub,
}
_CLIP = lax.GatherScatterMode.CLIP
_DROP = lax.GatherScatterMode.FILL_OR_DROP


@register_pad_rule(*_COMBINE)
def _scatter(
    ctx: Context, eqn: JaxprEqn, operand: Padded, indices: Padded, updates: Padded
) -> list[Padded]:
    """Writes windows of ``updates`` at ``indices[..., :]``, one for each leading index.

    Updates from pad lanes get an index out of range: XLA drops them, so they cannot collide with
    true ones. So does a window that leaves the *true* operand, unless the mode moves it. A window
    whose own pad lanes would fall on true lanes is read, combined and written back if it is the
    only one; else its axes become index axes, where lanes are dropped one by one. The order of the
    writes to one element stays.
    """
    numbers = eqn.params["dimension_numbers"]
    inner = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    window = [axis for axis in range(operand.rank) if axis not in inner]
    places = dict(zip(window, numbers.update_window_dims, strict=True))
    sizes = [updates.shape[places[k]] if k in places else 1 for k in range(operand.rank)]
    partial = [
        axis
        for axis in ix.partial_axes(operand.shape, sizes)
        if axis not in numbers.operand_batching_dims
    ]
    spilling = [axis for axis in partial if dims.is_symbolic(sizes[axis])]
    applies = eqn.primitive.name == "scatter" and eqn.params["update_jaxpr"] is not None
    if spilling and indices.rank == 1 and not applies:
        return [_one_window(ctx, eqn, operand, indices, updates)]
    operand, indices, updates = _aligned(ctx, eqn, operand, indices, updates, places, partial)
    index = _kept_indices(ctx, eqn, operand, indices, sizes, partial)
    if spilling:
        batch = [k for k in range(updates.rank) if k not in numbers.update_window_dims]
        updates, index, numbers = _spread(ctx, numbers, index, updates, batch, places, spilling)
    ordered = index is indices.array
    (out,) = ctx.bind(
        operand.array,
        index,
        updates.array,
        dimension_numbers=numbers,
        mode=_DROP,
        indices_are_sorted=eqn.params["indices_are_sorted"] and ordered,
        unique_indices=eqn.params["unique_indices"] and ordered,
    )
    fills = {k: f for k, f in operand.fills.items() if k in partial and not f.or_nan_row}
    return [Padded(out, operand.extents, fills)]


def _one_window(
    ctx: Context, eqn: JaxprEqn, operand: Padded, indices: Padded, updates: Padded
) -> Padded:
    """A scatter of one window: an update at run-time starts, or none where it does not fit."""
    numbers = eqn.params["dimension_numbers"]
    inserted = numbers.inserted_window_dims
    extents = iter(updates.extents)
    layouts = tuple((1,) if k in inserted else next(extents) for k in range(operand.rank))
    updates = Padded(lax.expand_dims(updates.array, inserted), layouts)
    axes = numbers.scatter_dims_to_operand_dims
    last = [ix.room(operand.shape[axis], updates.shape[axis]) for axis in axes]
    starts = [ix.Start(0, 0)] * operand.rank
    for component, axis in enumerate(axes):
        index = lax.index_in_dim(indices.array, component, keepdims=False)
        starts[axis] = ix.start(ctx, eqn.invars[1], index, operand.shape[axis], updates.shape[axis])
    allowed = None
    if eqn.params["mode"] != _CLIP and not ix.is_inside(ctx, eqn.invars[1], last):
        index = ix.checked(ctx, indices.array, last)
        allowed = lax.reduce_and(lax.ne(index, lax.full_like(index, ix.OUT_OF_RANGE)), (0,))
    return ix.write(ctx, operand, updates, starts, _COMBINE[eqn.primitive.name], allowed)


def _aligned(
    ctx: Context,
    eqn: JaxprEqn,
    operand: Padded,
    indices: Padded,
    updates: Padded,
    places: Mapping[int, int],
    partial: Sequence[int],
) -> tuple[Padded, Padded, Padded]:
    """One layout for axes that run together; true lanes first on axes that windows lie inside."""
    numbers = eqn.params["dimension_numbers"]
    pairs = zip(numbers.scatter_indices_batching_dims, numbers.operand_batching_dims, strict=True)
    batching = dict(pairs)
    batch = [k for k in range(updates.rank) if k not in numbers.update_window_dims]
    for axis, at in enumerate(batch):
        together = [(indices, axis), (updates, at)]
        if axis in batching:
            indices, updates, operand = ctx.align([*together, (operand, batching[axis])])
        else:
            indices, updates = ctx.align(together)
    for axis, at in places.items():
        if axis in partial:
            updates = ctx.compact(updates, (at,))
        else:
            operand, updates = ctx.align([(operand, axis), (updates, at)])
    return ctx.compact(operand, partial), indices, updates


def _kept_indices(
    ctx: Context,
    eqn: JaxprEqn,
    operand: Padded,
    indices: Padded,
    sizes: Sequence[Dim],
    partial: Sequence[int],
) -> Any:
    """Indices that are in range only where something true is to be written."""
    numbers = eqn.params["dimension_numbers"]
    axes = numbers.scatter_dims_to_operand_dims
    last = [ix.room(operand.shape[axis], sizes[axis]) for axis in axes]
    fixed = not any(
        dims.is_symbolic(operand.shape[k]) or dims.is_symbolic(sizes[k]) for k in partial
    )
    index = indices.array
    if not ix.is_inside(ctx, eqn.invars[1], last):
        if eqn.params["mode"] == _CLIP:
            index = ix.clamped(ctx, index, last)
        elif not fixed:
            index = ix.checked(ctx, index, last)
    # Pad lanes of batching axes write to pad lanes of the operand.
    padded_axes = [k for k in indices.padded_axes if k not in numbers.scatter_indices_batching_dims]
    if padded_axes:
        index = ix.to_int32(index)
        valid = ctx.valid(indices.extents, padded_axes)
        index = lax.select(valid, index, lax.full_like(index, ix.OUT_OF_RANGE))
    return index


def _spread(
    ctx: Context,
    numbers: Any,
    index: Any,
    updates: Padded,
    batch: Sequence[int],
    places: Mapping[int, int],
    spilling: Sequence[int],
) -> tuple[Padded, Any, Any]:
    """Turns window axes of the updates into index axes, the innermost ones.

    An index out of range stays so: ``OUT_OF_RANGE`` plus a lane wraps round to a negative number.
    """
    rest = [at for axis, at in places.items() if axis not in spilling]
    updates = transposed(updates, [*batch, *(places[axis] for axis in spilling), *rest])
    layouts: tuple[Extent, ...] = updates.extents[: len(batch) + len(spilling)]
    shape = tuple(map(ctx.extent_size, layouts))
    index = ix.to_int32(index)
    components = {
        axis: lax.broadcast_in_dim(index[..., k], shape, range(len(batch)))
        for k, axis in enumerate(numbers.scatter_dims_to_operand_dims)
    }
    for lane, axis in enumerate(spilling, start=len(batch)):
        steps = lax.broadcasted_iota(np.int32, shape, lane)
        components[axis] = lax.add(components[axis], steps) if axis in components else steps
    stacked = lax.concatenate(
        [lax.expand_dims(c, [c.ndim]) for c in components.values()], len(shape)
    )
    valid = lax.broadcast_in_dim(
        ctx.valid(layouts, range(len(batch), len(layouts))), stacked.shape, range(len(shape))
    )
    stacked = lax.select(valid, stacked, lax.full_like(stacked, ix.OUT_OF_RANGE))
    spread = lax.ScatterDimensionNumbers(
        update_window_dims=tuple(range(len(layouts), updates.rank)),
        inserted_window_dims=tuple(sorted((*numbers.inserted_window_dims, *spilling))),
        scatter_dims_to_operand_dims=tuple(components),
        operand_batching_dims=numbers.operand_batching_dims,
        scatter_indices_batching_dims=numbers.scatter_indices_batching_dims,
    )
    return updates, stacked, spread
