"""Reads and writes at positions that are computed at run time."""

from __future__ import annotations

from collections.abc import Sequence

from jax.lax import GatherScatterMode

from sod2jax._compat import Atom, JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.region import Region
from sod2jax.rdp.lanes import Demand
from sod2jax.rdp.rule import (
    Context,
    Dims,
    Places,
    meet_all,
    register_local,
    same_range,
)
from sod2jax.rdp.rules.assemble import hull
from sod2jax.rdp.rules.layout import param_dims
from sod2jax.rdp.values import NAC_VALUE, Range, ValueFact, at_most


def _within(region: Region, start: Range | None, size: Dim, dim: Dim) -> bool:
    """Whether [start, start + size) stays inside an axis of ``dim``, so that nothing is clamped."""
    if start is None:
        return False
    last = dims.normalise(dim - size)
    return at_most(0, start.low, region) and at_most(start.high, last, region)


def _window_demand(
    region: Region, start: Range | None, size: Dim, dim: Dim, need: tuple[Dim, Dim] | None
) -> tuple[Dim, Dim] | None:
    """Positions of an axis of ``dim`` that ``need`` of a window of ``size`` may read.

    The window starts anywhere in ``start``; a need of None is all of the window.
    """
    if start is None or not _within(region, start, size, dim):
        return None
    first, limit = need or (0, size)
    part = (dims.normalise(start.low + first), dims.normalise(start.high + limit))
    return None if part == (0, dim) else part


def _gather_batch_axes(eqn: JaxprEqn) -> list[int]:
    """Axes of a gather's result that come from its indices, in their order."""
    offsets = eqn.params["dimension_numbers"].offset_dims
    return [k for k in range(len(dims_of(eqn.outvars[0]))) if k not in offsets]


def _gather_windows(eqn: JaxprEqn) -> dict[int, int]:
    """Operand axis -> the axis of the result that runs over its slice."""
    numbers = eqn.params["dimension_numbers"]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [k for k in range(len(dims_of(eqn.invars[0]))) if k not in gone]
    return dict(zip(kept, numbers.offset_dims, strict=True))


def _gather_lanes(eqn: JaxprEqn) -> list[Places]:
    """A slice of a whole axis starts at 0, or is all fill, whatever the index."""
    numbers, batch = eqn.params["dimension_numbers"], _gather_batch_axes(eqn)
    shape = dims_of(eqn.invars[0])
    sizes = tuple(map(dims.from_jax, eqn.params["slice_sizes"]))
    places = {k: at for k, at in _gather_windows(eqn).items() if sizes[k] == shape[k]}
    pairs = zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    places.update({k: batch[axis] for k, axis in pairs})
    return [tuple(places.get(k) for k in range(len(shape))), (*batch, None)]


def _gather_shape(eqn: JaxprEqn, operand: Dims, indices: Dims) -> list[Dims]:
    del operand
    sizes = param_dims(eqn.params["slice_sizes"])
    windows = {at: sizes[k] for k, at in _gather_windows(eqn).items()}
    by_axis = dict(zip(_gather_batch_axes(eqn), indices[:-1], strict=True)) | windows
    return [tuple(by_axis[k] for k in range(len(by_axis)))]


def _gather_starts(eqn: JaxprEqn, indices: ValueFact) -> dict[int, Range | None]:
    """Range of the start along each indexed axis of the operand."""
    mapped = eqn.params["dimension_numbers"].start_index_map
    every = indices.every if isinstance(indices.every, Range) else None
    single = len(dims_of(eqn.invars[1])) == 1
    starts = indices.elements if single and indices.elements else (every,) * len(mapped)
    return dict(zip(mapped, starts, strict=True))


def _gather_value(
    ctx: Context, eqn: JaxprEqn, operand: ValueFact, indices: ValueFact
) -> list[ValueFact]:
    """Elements of the operand, and the fill where a window may be out of bounds."""
    starts, shape = _gather_starts(eqn, indices), dims_of(eqn.invars[0])
    sizes = tuple(map(dims.from_jax, eqn.params["slice_sizes"]))
    inside = all(_within(ctx.region, r, sizes[k], shape[k]) for k, r in starts.items())
    clamps = GatherScatterMode.CLIP, GatherScatterMode.PROMISE_IN_BOUNDS
    if not inside and eqn.params["mode"] not in clamps:
        return [NAC_VALUE]
    start = starts.get(0)
    if operand.elements and inside and start and start.is_point and sizes == (1,):
        element = operand.elements[int(start.low)]  # type: ignore[arg-type]
        return [ValueFact.of(element, eqn.outvars[0].aval.dtype, ctx.region)]
    return same_range(ctx, eqn, operand)


def _gather_demand(ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> list[Demand]:
    starts, shape = _gather_starts(eqn, ctx.value(eqn.invars[1])), dims_of(eqn.invars[0])
    sizes = tuple(map(dims.from_jax, eqn.params["slice_sizes"]))
    lanes, _ = _gather_lanes(eqn)
    windows, needed = _gather_windows(eqn), outs[0].axes or ()
    operand = list(outs[0].through(lanes).axes or ())
    for k, start in starts.items():
        if lanes[k] is None:
            need = needed[windows[k]] if k in windows else None
            operand[k] = _window_demand(ctx.region, start, sizes[k], shape[k], need)
    return [Demand(tuple(operand)), Demand.whole(len(dims_of(eqn.invars[1])))]


def _whole_window_lanes(window: Sequence[Dim], shape: Sequence[Dim]) -> Places:
    return tuple(k if a == b else None for k, (a, b) in enumerate(zip(window, shape, strict=True)))


def _dynamic_slice_lanes(eqn: JaxprEqn) -> list[Places]:
    """A slice of a whole axis is clamped to start at 0."""
    starts = [()] * (len(eqn.invars) - 1)
    return [_whole_window_lanes(dims_of(eqn.outvars[0]), dims_of(eqn.invars[0])), *starts]


def _dynamic_slice_shape(eqn: JaxprEqn, *operands: Dims) -> list[Dims]:
    del operands
    return [param_dims(eqn.params["slice_sizes"])]


def _dynamic_slice_demand(ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> list[Demand]:
    operand, *starts = eqn.invars
    lanes, *_ = _dynamic_slice_lanes(eqn)
    axes = list(outs[0].axes or ())
    for k, (dim, size) in enumerate(zip(dims_of(operand), dims_of(eqn.outvars[0]), strict=True)):
        if lanes[k] is None:
            every = ctx.value(starts[k]).every
            start = every if isinstance(every, Range) else None
            axes[k] = _window_demand(ctx.region, start, size, dim, axes[k])
    return [Demand(tuple(axes)), *(Demand.whole(0) for _ in starts)]


def _every_axis(atom: Atom) -> Places:
    return tuple(range(len(dims_of(atom))))


def _update_slice_lanes(eqn: JaxprEqn) -> list[Places]:
    """The operand's elements stay where they are; an update of a whole axis starts at 0."""
    operand, update, *starts = eqn.invars
    return [
        _every_axis(operand),
        _whole_window_lanes(dims_of(update), dims_of(operand)),
        *(() for _ in starts),
    ]


def _first_shape(eqn: JaxprEqn, operand: Dims, *others: Dims) -> list[Dims]:
    del eqn, others
    return [operand]


def _update_slice_value(
    ctx: Context, eqn: JaxprEqn, operand: ValueFact, update: ValueFact, *starts: ValueFact
) -> list[ValueFact]:
    del eqn, starts
    return [hull(ctx, (operand, update))]


def _scatter_lanes(eqn: JaxprEqn) -> list[Places]:
    """The operand's elements stay where they are; whole windows start at 0 or are dropped."""
    operand, indices, updates = eqn.invars
    numbers, shape, update = eqn.params["dimension_numbers"], dims_of(operand), dims_of(updates)
    gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    kept = [k for k in range(len(shape)) if k not in gone]
    windows = zip(numbers.update_window_dims, kept, strict=True)
    places = {at: k for at, k in windows if update[at] == shape[k]}
    batch = [at for at in range(len(update)) if at not in numbers.update_window_dims]
    pairs = dict(
        zip(numbers.scatter_indices_batching_dims, numbers.operand_batching_dims, strict=True)
    )
    places.update({batch[axis]: k for axis, k in pairs.items()})
    return [
        _every_axis(operand),
        tuple(pairs.get(axis) for axis in range(len(dims_of(indices)))),
        tuple(places.get(at) for at in range(len(update))),
    ]


def _scatter_value(
    ctx: Context, eqn: JaxprEqn, operand: ValueFact, indices: ValueFact, updates: ValueFact
) -> list[ValueFact]:
    del eqn, indices
    return [hull(ctx, (operand, updates))]


def _scatter_demand(ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> list[Demand]:
    """Any update may be the one that a needed lane holds."""
    operand, *others = eqn.invars
    needed = meet_all(ctx, [out.through(_every_axis(operand)) for out in outs])
    return [needed, *(Demand.whole(len(dims_of(atom))) for atom in others)]


register_local(
    "gather", lanes=_gather_lanes, shape=_gather_shape, value=_gather_value, demand=_gather_demand
)
register_local(
    "dynamic_slice",
    lanes=_dynamic_slice_lanes,
    shape=_dynamic_slice_shape,
    value=same_range,
    demand=_dynamic_slice_demand,
)
register_local(
    "dynamic_update_slice", lanes=_update_slice_lanes, shape=_first_shape, value=_update_slice_value
)
register_local(
    "scatter",
    "scatter-max",
    "scatter-min",
    lanes=_scatter_lanes,
    shape=_first_shape,
    value=_scatter_value,
    demand=_scatter_demand,
)
register_local(
    "scatter-add",
    "scatter-mul",
    "scatter-sub",
    lanes=_scatter_lanes,
    shape=_first_shape,
    demand=_scatter_demand,
)
