"""Gated rows: bodies run in a loop over the rows that ask for them, and write into one array."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.ir.primitives import initial_count
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import ANYTHING, Fill, Padded
from sod2jax.rows.loop import Arrays, Read, over_rows


@register_pad_rule("gated_rows", always=True)
def _gated_rows(ctx: Context, eqn: JaxprEqn, gate: Padded, *operands: Padded) -> list[Padded]:
    """Loops over the rows whose gate is on, counted at run time; pad rows never run.

    Everything is compacted to prefixes along the rows. Results start as the initial arrays, or as
    zeros where every row is written. Of one row, the loop becomes a conditional.
    """
    params, count = eqn.params, initial_count(eqn.params)
    gate = ctx.compact(gate)
    pairs = zip(operands[count:], params["axes"], strict=True)
    inputs = [x if axis is None else ctx.compact(x, (axis,)) for x, axis in pairs]
    initial = [ctx.compact(x) for x in operands[:count]]
    start = initial or _zeros(ctx, eqn)
    results = [
        _compat.with_weak_type(x.array, var.aval) for x, var in zip(start, eqn.outvars, strict=True)
    ]
    # Rows that a loop overwrites are read from what it carries: then no copy of them is kept.
    carried = _carried(inputs, initial, params)
    facts = [x.pad_fills for x in start]
    for body, case in zip(params["bodies"], params["cases"], strict=True):
        active = _active(ctx, gate, case)
        seen: list[list[Mapping[int, Fill]]] = []
        run = functools.partial(_block, ctx, eqn, body, inputs, carried, seen)
        results = over_rows(active, params["block"], params["out_axes"], run, results)
        carried = {}  # the next body would read rows that this one wrote
        facts = [
            _met(old, new, axis)
            for old, new, axis in zip(facts, seen[-1], params["out_axes"], strict=True)
        ]
    shapes = [ctx.out_shape(k) for k in range(len(eqn.outvars))]
    return [
        Padded.prefix(array, shape, fills=fills)
        for array, shape, fills in zip(results, shapes, facts, strict=True)
    ]


def _zeros(ctx: Context, eqn: JaxprEqn) -> list[Padded]:
    return [
        Padded.prefix(
            lax.full(ctx.sizes(ctx.out_shape(k)), 0, var.aval.dtype), ctx.out_shape(k), constant=0
        )
        for k, var in enumerate(eqn.outvars)
    ]


def _met(old: Mapping[int, Fill], new: Mapping[int, Fill], axis: int) -> Mapping[int, Fill]:
    """What pad lanes hold whether or not a row was written; pad rows never are.

    Pad rows that may be NaN, because all true ones were, are so still when true ones are written.
    """
    met = {k: fill.meet(new.get(k, ANYTHING)) for k, fill in old.items()}
    if axis in old:
        met[axis] = ANYTHING if old[axis].or_nan_row else old[axis]
    return met


def _carried(
    inputs: Sequence[Padded], initial: Sequence[Padded], params: Mapping[str, Any]
) -> dict[int, int]:
    """Operand -> result whose initial array it is, with the same axis of rows."""
    if not initial:
        return {}
    return {
        k: j
        for k, (x, axis) in enumerate(zip(inputs, params["axes"], strict=True))
        for j, (y, out_axis) in enumerate(zip(initial, params["out_axes"], strict=True))
        if x.array is y.array and x.extents == y.extents and axis == out_axis
    }


def _active(ctx: Context, gate: Padded, case: int) -> jax.Array:
    """bool[N]: the true rows that ask for a case."""
    if gate.array.dtype == np.bool_:
        chosen = gate.array if case else lax.bitwise_not(gate.array)
    else:
        chosen = lax.eq(gate.array, lax.full(gate.array.shape, case, gate.array.dtype))
    if not gate.padded_axes:
        return chosen
    return lax.bitwise_and(chosen, ctx.lanes(gate.extents[0]))


def _block(
    ctx: Context,
    eqn: JaxprEqn,
    body: Jaxpr,
    inputs: Sequence[Padded],
    carried: Mapping[int, int],
    seen: list[list[Mapping[int, Fill]]],
    read: Read,
    results: Arrays,
) -> Arrays:
    """What a body makes of a block of rows; ``seen`` gets what is known of its pad lanes."""
    size = eqn.params["block"]
    with ctx.scope():
        args = []
        for k, (x, axis) in enumerate(zip(inputs, eqn.params["axes"], strict=True)):
            array = results[carried[k]] if k in carried else x.array
            args.append(x if axis is None else _rows_of(x, axis, size, read(array, axis)))
        rows = [ctx.compact(value) for value in ctx.run(body, args)]
        seen.append([value.pad_fills for value in rows])
        return [
            _compat.with_weak_type(value.array, var.aval)
            for value, var in zip(rows, eqn.outvars, strict=True)
        ]


def _rows_of(value: Padded, axis: int, size: int, array: jax.Array) -> Padded:
    extents = (*value.extents[:axis], (size,), *value.extents[axis + 1 :])
    fills = {k: fill for k, fill in value.fills.items() if k != axis}
    return value.with_array(array, extents, fills)
