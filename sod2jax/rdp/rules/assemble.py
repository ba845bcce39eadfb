"""Primitives that make arrays or cut and join them along axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import dims_of
from sod2jax.rdp.lanes import Demand
from sod2jax.rdp.lattice import UNDEF, DimFact, lift
from sod2jax.rdp.rule import (
    Context,
    Dims,
    Places,
    meet_all,
    register_local,
    same_range,
)
from sod2jax.rdp.rules.layout import param_dims
from sod2jax.rdp.values import MAX_ELEMENTS, Range, ValueFact


def off_axis(eqn: JaxprEqn, axis: int) -> list[Places]:
    """Lanes of a primitive that mixes or moves positions along one axis only."""
    return [
        tuple(None if k == axis else k for k in range(len(dims_of(atom)))) for atom in eqn.invars
    ]


def _iota_shape(eqn: JaxprEqn) -> list[Dims]:
    return [param_dims(eqn.params["shape"])]


def _iota_value(ctx: Context, eqn: JaxprEqn) -> list[ValueFact]:
    dtype, shape = eqn.outvars[0].aval.dtype, dims_of(eqn.outvars[0])
    size = shape[eqn.params["dimension"]]
    if len(shape) == 1 and isinstance(size, int) and size <= MAX_ELEMENTS:
        return [ValueFact.of_elements([Range.point(k) for k in range(size)], dtype, ctx.region)]
    return [ValueFact.of(Range(0, dims.normalise(size - 1)), dtype, ctx.region)]


def _dim_as_value(ctx: Context, eqn: JaxprEqn, *count: ValueFact) -> list[ValueFact]:
    del count  # of value_as_dim: it is the size of the symbol, whatever it was known to be
    size = Range.point(dims.from_jax(eqn.params["dim"]))
    return [ValueFact.of(size, eqn.outvars[0].aval.dtype, ctx.region)]


def _concatenate_shape(eqn: JaxprEqn, *operands: Dims) -> list[Dims]:
    axis = eqn.params["dimension"]
    shape = list(operands[0])
    for other in operands[1:]:
        shape = [
            lift(lambda x, y: x + y, a, b) if k == axis else a.refine(b)
            for k, (a, b) in enumerate(zip(shape, other, strict=True))
        ]
    return [tuple(shape)]


def _concatenate_value(ctx: Context, eqn: JaxprEqn, *operands: ValueFact) -> list[ValueFact]:
    shapes = [dims_of(atom) for atom in eqn.invars]
    dtype = eqn.outvars[0].aval.dtype
    lengths = [shape[0] if len(shape) == 1 else None for shape in shapes]
    if all(isinstance(n, int) for n in lengths) and sum(lengths) <= MAX_ELEMENTS:  # type: ignore[arg-type]
        ranges = [
            element
            for fact, n in zip(operands, lengths, strict=True)
            for element in fact.elements or (_range(fact),) * n  # type: ignore[operator]
        ]
        return [ValueFact.of_elements(ranges, dtype, ctx.region)]
    return [ValueFact(hull(ctx, operands).every)]


def _range(fact: ValueFact) -> Range | None:
    return fact.every if isinstance(fact.every, Range) else None


def hull(ctx: Context, facts: Sequence[ValueFact]) -> ValueFact:
    """One range around all elements of several arrays."""
    every = ValueFact(facts[0].every)
    for fact in facts[1:]:
        every = every.meet(ValueFact(fact.every), ctx.region)
    return every


def _hull_value(ctx: Context, eqn: JaxprEqn, *operands: ValueFact) -> list[ValueFact]:
    del eqn
    return [hull(ctx, operands)]


def _pad_lanes(eqn: JaxprEqn) -> list[Places]:
    config = [tuple(map(dims.from_jax, c)) for c in eqn.params["padding_config"]]
    return [tuple(k if c == (0, 0, 0) else None for k, c in enumerate(config)), ()]


def _pad_shape(eqn: JaxprEqn, operand: Dims, padding: Dims) -> list[Dims]:
    del padding
    return [tuple(map(_padded, operand, eqn.params["padding_config"]))]


def _padded(dim: DimFact, config: Sequence[Any]) -> DimFact:
    low, high, interior = map(dims.from_jax, config)
    if interior != 0:
        return UNDEF
    return lift(lambda d: d + low + high, dim)


def _slice_bounds(eqn: JaxprEqn) -> list[tuple[Dim, Dim, int]]:
    """(start, limit, stride) of each axis."""
    params = eqn.params
    starts, limits = (
        map(dims.from_jax, params[name]) for name in ("start_indices", "limit_indices")
    )
    strides = params["strides"] or (1,) * len(params["start_indices"])
    return list(zip(starts, limits, map(dims.from_jax, strides), strict=True))  # type: ignore[arg-type]


def _slice_lanes(eqn: JaxprEqn) -> list[Places]:
    whole = zip(dims_of(eqn.invars[0]), _slice_bounds(eqn), strict=True)
    return [tuple(k if cut == (0, dim, 1) else None for k, (dim, cut) in enumerate(whole))]


def _slice_shape(eqn: JaxprEqn, operand: Dims) -> list[Dims]:
    del operand
    return [
        tuple(
            DimFact.of(limit - start) if stride == 1 else UNDEF
            for start, limit, stride in _slice_bounds(eqn)
        )
    ]


def _slice_value(ctx: Context, eqn: JaxprEqn, operand: ValueFact) -> list[ValueFact]:
    start, limit, stride = (_slice_bounds(eqn) or [(0, 0, 1)])[0]
    if operand.elements is None or not isinstance(start, int) or not isinstance(limit, int):
        return same_range(ctx, eqn, operand)
    elements = operand.elements[start:limit:stride]
    return [ValueFact.of_elements(elements, eqn.outvars[0].aval.dtype, ctx.region)]


def _slice_demand(ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> list[Demand]:
    del ctx
    needed = outs[0].axes or ()
    cuts = zip(dims_of(eqn.invars[0]), _slice_bounds(eqn), needed, strict=True)
    return [Demand(tuple(_shifted(dim, cut, need) for dim, cut, need in cuts))]


def _shifted(
    dim: Dim, cut: tuple[Dim, Dim, Dim], need: tuple[Dim, Dim] | None
) -> tuple[Dim, Dim] | None:
    """Positions of the operand that ``need`` of a slice comes from."""
    start, limit, stride = cut
    if need is None or stride != 1:
        return None if (start, limit) == (0, dim) else (start, limit)
    return dims.normalise(start + need[0]), dims.normalise(start + need[1])


def _split_lanes(eqn: JaxprEqn) -> list[Places]:
    return off_axis(eqn, eqn.params["axis"])


def _split_shape(eqn: JaxprEqn, operand: Dims) -> list[Dims]:
    axis = eqn.params["axis"]
    return [
        (*operand[:axis], size, *operand[axis + 1 :]) for size in param_dims(eqn.params["sizes"])
    ]


def _split_demand(ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> list[Demand]:
    axis, start, needs = eqn.params["axis"], 0, []
    for size, out in zip(map(dims.from_jax, eqn.params["sizes"]), outs, strict=True):
        limit = dims.normalise(start + size)
        if out.axes is not None:
            need = _shifted(-1, (start, limit, 1), out.axes[axis])
            needs.append(Demand((*out.axes[:axis], need, *out.axes[axis + 1 :])))
        start = limit
    return [meet_all(ctx, needs)]


def _stack_lanes(eqn: JaxprEqn) -> list[Places]:
    axis = eqn.params["axis"]
    return [tuple(k + (k >= axis) for k in range(len(dims_of(atom)))) for atom in eqn.invars]


def _unstack_lanes(eqn: JaxprEqn) -> list[Places]:
    axis, rank = eqn.params["axis"], len(dims_of(eqn.invars[0]))
    return [tuple(None if k == axis else k - (k > axis) for k in range(rank))]


def _tile_lanes(eqn: JaxprEqn) -> list[Places]:
    reps = map(dims.from_jax, eqn.params["reps"])
    return [tuple(k if times == 1 else None for k, times in enumerate(reps))]


def _tile_shape(eqn: JaxprEqn, operand: Dims) -> list[Dims]:
    times = param_dims(eqn.params["reps"])
    return [tuple(lift(lambda d, r: d * r, d, r) for d, r in zip(operand, times, strict=True))]


register_local("iota", shape=_iota_shape, value=_iota_value)
register_local("value_as_dim", value=_dim_as_value)
register_local("dim_as_value", value=_dim_as_value)
register_local(
    "concatenate",
    lanes=lambda eqn: off_axis(eqn, eqn.params["dimension"]),
    shape=_concatenate_shape,
    value=_concatenate_value,
)
register_local("pad", lanes=_pad_lanes, shape=_pad_shape, value=_hull_value)
register_local(
    "slice", lanes=_slice_lanes, shape=_slice_shape, value=_slice_value, demand=_slice_demand
)
register_local(
    "split", lanes=_split_lanes, shape=_split_shape, value=same_range, demand=_split_demand
)
register_local("stack", lanes=_stack_lanes, value=_hull_value)
register_local("unstack", lanes=_unstack_lanes, value=same_range)
register_local("tile", lanes=_tile_lanes, shape=_tile_shape, value=same_range)
