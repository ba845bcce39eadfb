"""Linear systems: pad equations say that pad unknowns are zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.blocks import aligned, results, with_diagonal, zeroed
from sod2jax.rewrite.padded import Padded, is_padded


@register_pad_rule("triangular_solve")
def _triangular_solve(ctx: Context, eqn: JaxprEqn, matrix: Padded, rhs: Padded) -> list[Padded]:
    """Solves with diag(A, I) and zeros in the pad rows of the right side."""
    matrix, rhs = aligned(ctx, [matrix, rhs], (2, 2))
    out = ctx.bind(with_diagonal(ctx, matrix, 1).array, zeroed(ctx, rhs).array)
    return results(ctx, out, matrix.extents[:-2])


@register_pad_rule("tridiagonal_solve")
def _tridiagonal_solve(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Pad rows say x = 0; the upper entry of the last true row, unread without padding, is 0."""
    lower, main, upper, rhs = aligned(ctx, operands, (1, 1, 1, 2))
    main = ctx.mask(main, main.padded_axes, 1, "the solver would read them", strict=True)
    upper = zeroed(ctx, upper)
    array = _without_last(ctx, upper)
    out = ctx.bind(zeroed(ctx, lower).array, main.array, array, zeroed(ctx, rhs).array)
    return results(ctx, out, rhs.extents[:-2])


def _without_last(ctx: Context, upper: Padded) -> Any:
    if not is_padded(upper.extents[-1]):
        return upper.array
    last = ctx.true(upper.shape[-1]) - 1
    shape = upper.array.shape
    row = lax.broadcasted_iota(np.int32, shape, len(shape) - 1)
    return lax.select(
        lax.eq(row, lax.broadcast(last, shape)), lax.full_like(upper.array, 0), upper.array
    )


@register_pad_rule("lu_pivots_to_permutation")
def _lu_pivots_to_permutation(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """A pad pivot swaps its row with itself."""
    (pivots,) = aligned(ctx, [operand], (1,))
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
