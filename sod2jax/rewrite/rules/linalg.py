"""Factorisations: the true block of a block-diagonal matrix is factored as if it stood alone."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.primitives import EIGH_ANY_BASIS, SVD_ANY_BASIS
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
    "the signs of its vectors, and their basis where values repeat, depend on the size of the "
    "array, and what the program makes of them is not proved to be the same for every choice; give "
    "the matrix a fixed size, use values only, or products such as V f(w) V^T"
)

# Number of core axes of each operand, where these must not be padded.
_EXACT_CORE = {
    "eig": (2,),
    "geqp3": (2, 1),
    "hessenberg": (2,),
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


@register_pad_rule("ormqr")
def _ormqr(
    ctx: Context, eqn: JaxprEqn, reflectors: Padded, taus: Padded, operand: Padded
) -> list[Padded]:
    """Reflectors with zeros in pad rows leave pad rows alone; one with factor 0 is the identity."""
    return solved(ctx, (reflectors, 2, zeroed), (taus, 1, zeroed), (operand, 2, zeroed))


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
    return _steps(bound, size)


def _steps(bound: Any, size: int) -> Any:
    """[..., 1, N] above a bound [..., 1, 1], increasing, and far from it and from 0."""
    bound = jnp.where(bound == 0, jnp.ones_like(bound), bound)
    steps = 2 + lax.iota(bound.dtype, size) / size
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


@register_pad_rule(EIGH_ANY_BASIS.name, always=True)
def _eigh_any_basis(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """As ``eigh``. Vectors of the true block have zeros in pad lanes: no value repeats across."""
    (matrix,) = align_batch(ctx, [operand], (2,))
    bounds = _beyond_spectrum(zeroed(ctx, matrix), eqn.params["lower"])
    outs = lax.linalg.eigh_p.bind(with_diagonal(ctx, matrix, bounds), **eqn.params)
    return results(ctx, outs, matrix.extents[:-2])


@register_pad_rule(SVD_ANY_BASIS.name, always=True)
def _svd_any_basis(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """A = Q C P^H, with C square of the number of values; C's pad block exceeds its norm.

    Q and P have zeros in pad rows. So vectors of the value 0 do not mix with those of pad lanes,
    as they would if zeros stood beside A.
    """
    (matrix,) = align_batch(ctx, [operand], (2,))
    batch, count = matrix.extents[:-2], ctx.out_shape()[-1]
    array, left, right = zeroed(ctx, matrix), None, None
    if matrix.shape[-2] != count:
        left, array = _orthogonal(ctx, array, count)
    if matrix.shape[-1] != count:
        right, array = _orthogonal(ctx, _adjoint(array), count)
        array = _adjoint(array)
    core = Padded(array, (*batch, (count,), (count,)))
    core = with_diagonal(ctx, core, _steps(_norm(zeroed(ctx, core)), ctx.size(count)))
    values, u, v = lax.linalg.svd_p.bind(core, **eqn.params)
    u, v = _true_last(ctx, u, count, -1), _true_last(ctx, v, count, -2)
    u = u if left is None else jnp.matmul(left, u, precision="highest")
    v = v if right is None else jnp.matmul(v, _adjoint(right), precision="highest")
    return results(ctx, (_true_last(ctx, values, count, -1), u, v), batch)


def _adjoint(array: Any) -> Any:
    return jnp.conj(jnp.swapaxes(array, -1, -2))


def _orthogonal(ctx: Context, array: Any, count: Dim) -> tuple[Any, Any]:
    """Q [..., N, K] with zeros in pad columns and R [..., K, M] of zeros beside a true block."""
    q, r = lax.linalg.qr(array, full_matrices=False)
    size = ctx.size(count)
    q, r = q[..., :size], r[..., :size, :]
    if dims.is_symbolic(count):
        q = jnp.where(jnp.broadcast_to(ctx.lanes((count,)), q.shape), q, jnp.zeros_like(q))
    return q, r


def _norm(array: Any) -> Any:
    """[..., 1, 1]: that of Frobenius, which no value exceeds."""
    largest = abs(array).max(axis=(-2, -1), keepdims=True)
    scale = jnp.where(largest == 0, jnp.ones_like(largest), largest)
    parts = abs(array) / jnp.broadcast_to(scale, array.shape)
    return largest * jnp.sqrt((parts * parts).sum(axis=(-2, -1), keepdims=True))


def _true_last(ctx: Context, array: Any, count: Dim, axis: int) -> Any:
    """Lanes in descending order: those of the pad block come first, and go to the end."""
    if not dims.is_symbolic(count):
        return array
    return jnp.roll(array, ctx.true(count) - ctx.size(count), axis)


@register_pad_rule(*_EXACT_CORE)
def _each_matrix(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Matrices of a batch do not see each other."""
    ranks = _EXACT_CORE[eqn.primitive.name]
    if any(core_is_padded(p, rank) for p, rank in zip(operands, ranks, strict=True)):
        raise ctx.refuse("its result depends on the size of the matrix; give it a fixed size")
    return solved(ctx, *((p, rank, zeroed) for p, rank in zip(operands, ranks, strict=True)))
