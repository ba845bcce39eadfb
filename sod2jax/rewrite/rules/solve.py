"""Linear systems: pad equations say that pad unknowns are zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.blocks import align_batch, results, solved, with_identity, zeroed
from sod2jax.rewrite.padded import Padded, is_padded


@register_pad_rule("triangular_solve")
def _triangular_solve(ctx: Context, eqn: JaxprEqn, matrix: Padded, rhs: Padded) -> list[Padded]:
    """Solves with diag(A, I) and zeros in the pad rows of the right side."""
    return solved(ctx, (matrix, 2, with_identity), (rhs, 2, zeroed))


@register_pad_rule("tridiagonal_solve")
def _tridiagonal_solve(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Pad rows say x = 0; the upper entry of the last true row, unread without padding, is 0."""
    lower, main, upper, rhs = operands
    return solved(
        ctx, (lower, 1, zeroed), (main, 1, _with_ones), (upper, 1, _without_last), (rhs, 2, zeroed)
    )


def _with_ones(ctx: Context, main: Padded) -> Any:
    reason = "the solver would read them"
    return ctx.mask(main, main.padded_axes, 1, reason, strict=True).array


def _without_last(ctx: Context, upper: Padded) -> Any:
    array = zeroed(ctx, upper)
    if not is_padded(upper.extents[-1]):
        return array
    last = ctx.true(upper.shape[-1]) - 1
    row = lax.broadcasted_iota(np.int32, array.shape, array.ndim - 1)
    return lax.select(lax.eq(row, lax.broadcast(last, array.shape)), lax.full_like(array, 0), array)


@register_pad_rule("lu_pivots_to_permutation")
def _lu_pivots_to_permutation(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """A pad pivot swaps its row with itself."""
    (pivots,) = align_batch(ctx, [operand], (1,))
    shape = pivots.array.shape
    same = lax.broadcasted_iota(pivots.array.dtype, shape, len(shape) - 1)
    array = pivots.array
    if pivots.padded_axes:
        array = lax.select(ctx.valid(pivots.extents, pivots.padded_axes), array, same)
    size = ctx.size(ctx.out_shape()[-1])
    return results(ctx, ctx.bind(array, permutation_size=size), pivots.extents[:-1])


@register_pad_rule("custom_linear_solve")
def _custom_linear_solve(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Runs the solver; derivatives were taken before the rewrite."""
    lengths = eqn.params["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    constants = operands[start : start + lengths.solve]
    return ctx.run(eqn.params["jaxprs"].solve, [*constants, *operands[sum(lengths) :]])
