"""Factorisations: the true block of a block-diagonal matrix is factored as if it stood alone."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import Padded
from sod2jax.rewrite.rules.blocks import (
    aligned,
    core_is_padded,
    results,
    with_diagonal,
    zeroed,
)

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
def _cholesky(cx: Context, eqn: Any, operand: Padded) -> list[Padded]:
    """The factor of diag(A, I) is diag(L, I)."""
    (matrix,) = aligned(cx, [operand], (2,))
    matrix = with_diagonal(cx, matrix, 1)
    return results(cx, cx.bind(matrix.array), matrix.extents[:-2])


@register_pad_rule("cholesky_update")
def _cholesky_update(cx: Context, eqn: Any, factor: Padded, vector: Padded) -> list[Padded]:
    """A rotation that adds 0 to a 1 of the diagonal is the identity."""
    factor, vector = aligned(cx, [factor, vector], (2, 1))
    out = cx.bind(with_diagonal(cx, factor, 1).array, zeroed(cx, vector).array)
    return results(cx, out, factor.extents[:-2])


@register_pad_rule("symmetric_product")
def _symmetric_product(cx: Context, eqn: Any, matrix: Padded, addend: Padded) -> list[Padded]:
    """Columns of zeros add nothing to A A^T; rows in pad lanes stay there."""
    matrix, addend = aligned(cx, [matrix, addend], (2, 2))
    out = cx.bind(zeroed(cx, matrix).array, addend.array)
    return results(cx, out, matrix.extents[:-2])


@register_pad_rule("lu", "geqrf", "qr")
def _eliminate(cx: Context, eqn: Any, operand: Padded) -> list[Padded]:
    """Rows of zeros are no pivot and lengthen no column; columns of zeros need no step.

    An identity beside the true block would be wrong: where it is tall, a 1 can be the pivot of a
    column of zeros.
    """
    (matrix,) = aligned(cx, [operand], (2,))
    return results(cx, cx.bind(zeroed(cx, matrix).array), matrix.extents[:-2])


@register_pad_rule("householder_product")
def _householder_product(cx: Context, eqn: Any, operand: Padded, taus: Padded) -> list[Padded]:
    """A reflection with factor 0 is the identity."""
    matrix, taus = aligned(cx, [operand, taus], (2, 1))
    out = cx.bind(zeroed(cx, matrix).array, zeroed(cx, taus).array)
    return results(cx, out, matrix.extents[:-2])


@register_pad_rule("eigh")
def _eigh(cx: Context, eqn: Any, operand: Padded) -> list[Padded]:
    """The pad block is diagonal and exceeds every eigenvalue of the true block, so it comes last.

    The sign of an eigenvector is the solver's choice, which a pad block can change: only values are
    exact.
    """
    (matrix,) = aligned(cx, [operand], (2,))
    if not core_is_padded(matrix, 2):
        out = cx.bind(with_diagonal(cx, matrix, 1).array)
        return results(cx, out, matrix.extents[:-2])
    _refuse_subset(cx, eqn)
    bounds = _beyond_spectrum(zeroed(cx, matrix).array, eqn.params["lower"])
    out = cx.bind(with_diagonal(cx, matrix, bounds).array)
    return results(cx, out, matrix.extents[:-2], {0: cx.refuse(_SIGNS)})


def _refuse_subset(cx: Context, eqn: Any) -> None:
    if eqn.params["subset_by_index"] is not None:
        raise cx.refuse(
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
def _svd(cx: Context, eqn: Any, operand: Padded) -> list[Padded]:
    """Rows and columns of zeros add values of zero, which come last; for vectors, see ``eigh``."""
    (matrix,) = aligned(cx, [operand], (2,))
    inexact: dict[int, Exception] = {}
    if core_is_padded(matrix, 2):
        _refuse_subset(cx, eqn)
        inexact = {1: cx.refuse(_SIGNS), 2: cx.refuse(_SIGNS)}
    return results(cx, cx.bind(zeroed(cx, matrix).array), matrix.extents[:-2], inexact)


@register_pad_rule(*_EXACT_CORE)
def _each_matrix(cx: Context, eqn: Any, *operands: Padded) -> list[Padded]:
    """Matrices of a batch do not see each other."""
    ranks = _EXACT_CORE[eqn.primitive.name]
    values = aligned(cx, operands, ranks)
    if any(core_is_padded(p, rank) for p, rank in zip(values, ranks, strict=True)):
        raise cx.refuse("its result depends on the size of the matrix; give it a fixed size")
    out = cx.bind(*(zeroed(cx, p).array for p in values))
    return results(cx, out, values[0].extents[: values[0].rank - ranks[0]])
