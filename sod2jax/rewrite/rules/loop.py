"""Loops: carries keep one layout, and pad lanes decide neither how often nor how far to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import Extent, Fill, Padded, constant_fill

Arrays = list[jax.Array]


@register_pad_rule("while")
def _while(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Repeats the rewritten body while the rewritten condition holds.

    Carries are prefixes on every axis, before the loop and after each step, so their layout never
    changes. A condition with axes (from ``vmap``) says which rows go on: the loop runs while a
    true row does, and a row that has ended keeps its values.
    """
    params = eqn.params
    loop = _Carries(ctx, eqn.outvars)
    cond_count, body_count = params["cond_nconsts"], params["body_nconsts"]
    cond_consts = operands[:cond_count]
    body_consts = operands[cond_count : cond_count + body_count]
    init = loop.arrays(operands[cond_count + body_count :])

    def goes_on(carry: Arrays) -> jax.Array:
        (rows,) = ctx.run(params["cond_jaxpr"], (*cond_consts, *loop.values(carry)))
        rows = ctx.compact(rows)
        return ctx.mask(
            rows, rows.padded_axes, False, "a pad row would keep the loop running"
        ).array

    def step(carry: Arrays) -> Arrays:
        return loop.arrays(ctx.run(params["body_jaxpr"], (*body_consts, *loop.values(carry))))

    def scalar_cond(carry: Arrays) -> jax.Array:
        with ctx.scope():
            return goes_on(carry)

    def scalar_body(carry: Arrays) -> Arrays:
        with ctx.scope():
            return step(carry)

    def batched_cond(state: tuple[jax.Array, Arrays]) -> jax.Array:
        rows, _ = state
        return lax.reduce_or(rows, axes=tuple(range(rows.ndim)))

    def batched_body(state: tuple[jax.Array, Arrays]) -> tuple[jax.Array, Arrays]:
        rows, carry = state
        with ctx.scope():
            carry = [
                _keep_ended(rows, new, old) for new, old in zip(step(carry), carry, strict=True)
            ]
            return goes_on(carry), carry

    if params["cond_jaxpr"].outvars[0].aval.shape == ():
        return loop.values(lax.while_loop(scalar_cond, scalar_body, init))
    return loop.values(lax.while_loop(batched_cond, batched_body, (goes_on(init), init))[1])


class _Carries:
    """The arrays that a loop carries from step to step, all in prefix layout.

    Args:
      ctx: the services.
      variables: the loop's output variables, which fix shapes and types of the carries.
    """

    def __init__(self, ctx: Context, variables: Sequence[Any]):
        self._ctx = ctx
        self._avals = [var.aval for var in variables]
        self._shapes = [tuple(map(dims.from_jax, aval.shape)) for aval in self._avals]

    def arrays(self, values: Sequence[Padded]) -> Arrays:
        """What the loop carries for these values."""
        return [
            _compat.with_weak_type(self._ctx.compact(value).array, aval)
            for value, aval in zip(values, self._avals, strict=True)
        ]

    def values(self, arrays: Sequence[jax.Array]) -> list[Padded]:
        """The carried arrays as values; nothing is known of their pad lanes."""
        return [Padded.prefix(a, shape) for a, shape in zip(arrays, self._shapes, strict=True)]


def _keep_ended(rows: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return lax.select(lax.broadcast_in_dim(rows, new.shape, tuple(range(rows.ndim))), new, old)


@register_pad_rule("scan")
def _scan(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Scans as many steps as the true length has: a pad step would change the carry.

    Carries are prefixes, as in ``while``. The scanned axis of the operands is a prefix, too, so
    that step i reads lane i.
    """
    const_count, carry_count = _compat.scan_counts(eqn)
    length = dims.from_jax(eqn.params["length"])
    loop = _Carries(ctx, eqn.outvars[:carry_count])
    consts, init = operands[:const_count], operands[const_count : const_count + carry_count]
    xs = [ctx.compact(x, (0,)) for x in operands[const_count + carry_count :]]

    def step(carry: Arrays, slices: Sequence[jax.Array]) -> tuple[Arrays, list[Padded]]:
        args = (*consts, *loop.values(carry), *map(_slice_of, xs, slices))
        with jax.named_scope("closed_call"):  # what JAX calls it
            results = ctx.run(eqn.params["jaxpr"], args)
        return loop.arrays(results[:carry_count]), results[carry_count:]

    # A dimension that is 0 all over the bucket leaves nothing to slice, and nothing to do.
    scan = _padded_scan if dims.is_symbolic(length) and ctx.size(length) else _exact_scan
    carry, ys = scan(ctx, eqn, step, length, loop.arrays(init), xs, eqn.outvars[carry_count:])
    return [*loop.values(carry), *ys]


def _slice_of(x: Padded, array: jax.Array) -> Padded:
    """One step's slice of a scanned operand."""
    return x.with_array(array, x.extents[1:], x.fills_from(range(1, x.rank)))


def _exact_scan(
    ctx: Context,
    eqn: JaxprEqn,
    step: Any,
    length: Dim,
    init: Arrays,
    xs: list[Padded],
    outputs: Any,
) -> tuple[Arrays, list[Padded]]:
    """A fixed number of steps: the outputs of a step keep the layout that the body gives them."""
    facts: list[Padded] = []

    def body(carry: Arrays, slices: Arrays) -> tuple[Arrays, Arrays]:
        with ctx.scope():
            carry, ys = step(carry, slices)
            facts[:] = [y.with_array(None) for y in ys]
            return carry, [y.array for y in ys]

    carry, stacked = lax.scan(
        body,
        init,
        [x.array for x in xs],
        length=ctx.size(length),
        reverse=eqn.params["reverse"],
        unroll=eqn.params["unroll"],
    )
    return carry, [_stacked(array, (length,), y) for array, y in zip(stacked, facts, strict=True)]


def _stacked(array: jax.Array, layout: Extent, y: Padded) -> Padded:
    return y.with_array(array, (layout, *y.extents), y.fills_from((None, *range(y.rank))))


def _padded_scan(
    ctx: Context,
    eqn: JaxprEqn,
    step: Any,
    length: Dim,
    init: Arrays,
    xs: list[Padded],
    outputs: Any,
) -> tuple[Arrays, list[Padded]]:
    """``n`` steps of the ``N`` that there is room for; the outputs of the others stay zero."""
    shapes = [tuple(map(dims.from_jax, var.aval.shape)) for var in outputs]
    buffers = [
        lax.full(ctx.sizes(shape), 0, var.aval.dtype)
        for shape, var in zip(shapes, outputs, strict=True)
    ]
    count = ctx.true(length)
    facts: list[dict[int, Fill]] = []

    def body(number: jax.Array, state: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
        carry, buffers = state
        at = count - 1 - number if eqn.params["reverse"] else number
        with ctx.scope():
            slices = [_read(x.array, at) for x in xs]
            carry, ys = step(carry, slices)
            ys = [ctx.compact(y) for y in ys]
            facts[:] = [y.pad_fills for y in ys]
            return carry, [_write(b, y.array, at) for b, y in zip(buffers, ys, strict=True)]

    carry, buffers = lax.fori_loop(np.int32(0), count, body, (init, buffers))
    return carry, [
        Padded.prefix(array, shape, fills=_buffer_fills(array, fills))
        for array, shape, fills in zip(buffers, shapes, facts, strict=True)
    ]


def _read(array: jax.Array, at: jax.Array) -> jax.Array:
    return lax.dynamic_index_in_dim(array, at, keepdims=False, allow_negative_indices=False)


def _write(buffer: jax.Array, row: jax.Array, at: jax.Array) -> jax.Array:
    return lax.dynamic_update_index_in_dim(buffer, row, at, 0, allow_negative_indices=False)


def _buffer_fills(buffer: jax.Array, fills: dict[int, Fill]) -> dict[int, Fill]:
    """Rows never written hold zeros; on other axes, what written rows and zeros have in common."""
    zero = constant_fill(False if buffer.dtype == bool else 0)
    return {0: zero} | {axis + 1: fill.meet(zero) for axis, fill in fills.items()}
