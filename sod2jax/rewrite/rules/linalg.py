"""Factorisations: the true block of a block-diagonal matrix is factored as if it stood alone."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.blocks import (
    align_batch,
    core_is_padded,
    results,
    solved,
    with_diagonal,
    with_identity,
    zeroed,
)
from sod2jax.rewrite.padded import Padded

_SIGNS = (
    "the signs of its vectors depend on the size of the array; give the matrix a fixed size, or "
    "use values only"
)

# Number of core axes of each operand, where these must not be padded.
_EXACT_CORE = {
    "eig": (2,),
    "geqp3": (2, 1),
    "hessenberg": (2,),
    "ormqr": (2, 1, 2),
    "schur": (2,),
    "tridiagonal": (2,),
}


@register_pad_rule("cholesky")
def _cholesky(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """The factor of diag(A, I) is diag(L, I)."""
    return solved(ctx, (operand, 2, with_identity))


@register_pad_rule("cholesky_update")
def _cholesky_update(ctx: Context, eqn: JaxprEqn, factor: Padded, vector: Padded) -> list[Padded]:
    """A rotation that adds 0 to a 1 of the diagonal is the identity."""
    return solved(ctx, (factor, 2, with_identity), (vector, 1, zeroed))


@register_pad_rule("symmetric_product")
def _symmetric_product(ctx: Context, eqn: JaxprEqn, matrix: Padded, addend: Padded) -> list[Padded]:
    """Columns of zeros add nothing to A A^T; rows in pad lanes stay there."""
    return solved(ctx, (matrix, 2, zeroed), (addend, 2, lambda ctx, value: value.array))


@register_pad_rule("lu", "geqrf", "qr")
def _eliminate(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Rows of zeros are no pivot and lengthen no column; columns of zeros need no step.

    An identity beside the true block would be wrong: where it is tall, a 1 can be the pivot of a
    column of zeros.
    """
    return solved(ctx, (operand, 2, zeroed))


@register_pad_rule("householder_product")
def _householder_product(
    ctx: Context, eqn: JaxprEqn, operand: Padded, taus: Padded
) -> list[Padded]:
    """A reflection with factor 0 is the identity."""
    return solved(ctx, (operand, 2, zeroed), (taus, 1, zeroed))


@register_pad_rule("eigh")
def _eigh(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """The pad block is diagonal and exceeds every eigenvalue of the true block, so it comes last.

    The sign of an eigenvector is the solver's choice, which a pad block can change: only values are
    exact.
    """
    if not core_is_padded(operand, 2):
        return solved(ctx, (operand, 2, with_identity))
    (matrix,) = align_batch(ctx, [operand], (2,))
    _refuse_subset(ctx, eqn)
    bounds = _beyond_spectrum(zeroed(ctx, matrix), eqn.params["lower"])
    out = ctx.bind(with_diagonal(ctx, matrix, bounds))
    return results(ctx, out, matrix.extents[:-2], {0: ctx.refuse(_SIGNS)})


def _refuse_subset(ctx: Context, eqn: JaxprEqn) -> None:
    if eqn.params["subset_by_index"] is not None:
        raise ctx.refuse(
            "a subset of values of a padded matrix is not supported; compute all of them"
        )


def _beyond_spectrum(matrix: Any, lower: bool) -> Any:
    """[..., 1, N], increasing: Gershgorin's bound of all eigenvalues, read from one triangle."""
    triangle = abs(jnp.tril(matrix) if lower else jnp.triu(matrix))
    rows = lax.add(triangle.sum(axis=-1), triangle.sum(axis=-2))
    bound = rows.max(axis=-1)[..., None, None]
    size = matrix.shape[-1]
    steps = 1 + (1 + lax.iota(bound.dtype, size)) / size
    shape = (*bound.shape[:-1], size)
    return jnp.broadcast_to(bound, shape) * lax.broadcast_in_dim(steps, shape, (len(shape) - 1,))


@register_pad_rule("svd")
def _svd(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Rows and columns of zeros add values of zero, which come last; for vectors, see ``eigh``."""
    if not core_is_padded(operand, 2):
        return solved(ctx, (operand, 2, zeroed))
    _refuse_subset(ctx, eqn)
    (matrix,) = align_batch(ctx, [operand], (2,))
    inexact = {1: ctx.refuse(_SIGNS), 2: ctx.refuse(_SIGNS)}
    return results(ctx, ctx.bind(zeroed(ctx, matrix)), matrix.extents[:-2], inexact)


@register_pad_rule(*_EXACT_CORE)
def _each_matrix(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Matrices of a batch do not see each other."""
    ranks = _EXACT_CORE[eqn.primitive.name]
    if any(core_is_padded(p, rank) for p, rank in zip(operands, ranks, strict=True)):
        raise ctx.refuse("its result depends on the size of the matrix; give it a fixed size")
    return solved(ctx, *((p, rank, zeroed) for p, rank in zip(operands, ranks, strict=True)))
