"""Factorisations and linear systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness


def _positive(x: jax.Array) -> jax.Array:
    """A well-conditioned Hermitian positive matrix of the size of the last axis."""
    size = x.shape[-1]
    product = jnp.conj(jnp.swapaxes(x, -1, -2)) @ x / size
    return product + jnp.broadcast_to(2 * jnp.eye(size, dtype=x.dtype), product.shape)


def _square(x: jax.Array) -> jax.Array:
    """A well-conditioned matrix that needs pivots."""
    return jnp.roll(x + 4 * jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape), 1, -2)


SS = Arg("s, s")
COMPLEX = Arg("s, s", np.complex64)
BSS = Arg("b, s, s")
MATRICES = Arg("b, 4, 4")
ST = Arg("s, t")
TALL = {"constraints": ("t <= s",)}
WIDE = {"constraints": ("s <= t",), "bucket": {"s": 5, "t": 7}}


def _geqrf(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """LAPACK's form of a QR decomposition, which ``raw`` mode returns transposed."""
    reflectors, taus = jnp.linalg.qr(x, mode="raw")
    return jnp.swapaxes(reflectors, -1, -2), taus


def _kinds(name: str, fun: Callable[[jax.Array], Any]) -> list[Harness]:
    """One program on a matrix, a complex one, a batch, and a batch of matrices of exact size."""
    return [
        Harness(f"{name}_{kind}", fun, (arg,))
        for kind, arg in (("one", SS), ("complex", COMPLEX), ("batch", BSS), ("exact", MATRICES))
    ]


def _solve_bands(lower: jax.Array, main: jax.Array, upper: jax.Array, b: jax.Array) -> jax.Array:
    return lax.linalg.tridiagonal_solve(lower.at[..., 0].set(0), 4 + jnp.abs(main), upper, b)


CHOLESKY = [
    *_kinds("cholesky", lambda x: jnp.linalg.cholesky(_positive(x))),
    Harness(
        "cholesky_merged",
        lambda x: jnp.linalg.cholesky(_positive(x.reshape(-1, 3, 3))),
        (Arg("b, s, 3, 3"),),
    ),
    Harness(
        "cholesky_gradient", jax.grad(lambda x: jnp.linalg.cholesky(_positive(x)).sum()), (SS,)
    ),
    Harness(
        "cholesky_solve",
        lambda x, y: jsl.cho_solve(jsl.cho_factor(_positive(x)), y),
        (SS, Arg("s, t")),
    ),
    Harness("cholesky_failing", lambda x: jnp.linalg.cholesky(x @ x.T - 9), (SS,)),
]

SOLVE = [
    *(
        Harness(
            f"triangular_solve_{name}",
            lambda x, y, o=options: jsl.solve_triangular(_positive(x), y, **o),
            (SS, ST),
        )
        for name, options in (
            ("lower", {"lower": True}),
            ("upper", {}),
            ("transposed", {"trans": 1}),
            ("unit", {"unit_diagonal": True, "lower": True}),
        )
    ),
    Harness(
        "triangular_solve_right",
        lambda x, y: lax.linalg.triangular_solve(_positive(x), y, left_side=False, lower=True),
        (BSS, Arg("b, t, s")),
    ),
    Harness(
        "triangular_solve_exact",
        lambda x, y: lax.linalg.triangular_solve(_positive(x), y, left_side=True),
        (MATRICES, Arg("b, 4, s")),
    ),
    Harness(
        "triangular_solve_complex",
        lambda x, y: jsl.solve_triangular(_positive(x), y, trans=2),
        (COMPLEX, Arg("s", np.complex64)),
    ),
    Harness("tridiagonal_solve", _solve_bands, (Arg("s"), Arg("s"), Arg("s"), Arg("s, t"))),
    Harness(
        "tridiagonal_solve_batch",
        _solve_bands,
        (Arg("b, s"), Arg("b, s"), Arg("b, s"), Arg("b, s, 2")),
    ),
    Harness(
        "tridiagonal_solve_exact",
        _solve_bands,
        (Arg("b, 5"), Arg("b, 5"), Arg("b, 5"), Arg("b, 5, s")),
    ),
    Harness("solve_vector", lambda x, y: jnp.linalg.solve(_square(x), y), (SS, Arg("s"))),
    Harness("solve_matrix", lambda x, y: jnp.linalg.solve(_square(x), y), (BSS, Arg("b, s, t"))),
    Harness("solve_positive", lambda x, y: jsl.solve(_positive(x), y, assume_a="pos"), (SS, ST)),
    Harness(
        "solve_gradient",
        jax.grad(lambda x, y: (jnp.linalg.solve(_square(x), y) ** 2).sum(), (0, 1)),
        (SS, Arg("s")),
    ),
    Harness("solve_inverse", lambda x: jnp.linalg.inv(_square(x)), (BSS,)),
    Harness(
        "solve_conjugate_gradient",
        lambda x, y: jax.scipy.sparse.linalg.cg(lambda v: _positive(x) @ v, y, maxiter=20)[0],
        (SS, Arg("s")),
        rtol=1e-4,
    ),
]

LU = [
    *_kinds("lu", lambda x: lax.linalg.lu(_square(x))),
    Harness("lu_rectangular", lambda x: lax.linalg.lu(x), (ST,)),
    Harness("lu_tall", lambda x: lax.linalg.lu(x), (ST,), **TALL),
    Harness("lu_wide", lambda x: lax.linalg.lu(x), (ST,), **WIDE),
    Harness(
        "lu_singular",
        lambda x: lax.linalg.lu(jnp.where(jnp.abs(x) > 1, jnp.sign(x), 0.0).at[:, 0].set(0)),
        (ST,),
    ),
    Harness("lu_solve", lambda x, y: jsl.lu_solve(jsl.lu_factor(_square(x)), y), (SS, Arg("s"))),
    Harness(
        "lu_det", lambda x: (jnp.linalg.det(_square(x)), jnp.linalg.slogdet(_square(x))), (BSS,)
    ),
    Harness("lu_gradient", jax.grad(lambda x: jnp.linalg.slogdet(_square(x))[1]), (SS,)),
    Harness(
        "lu_pivots_to_permutation",
        lambda p, x: lax.linalg.lu_pivots_to_permutation(p % p.shape[1], x.shape[0]),
        (
            Arg("b, t", np.int32),
            Arg("s"),
        ),
        constraints=("t <= s",),
    ),
]

QR = [
    *_kinds("qr", lambda x: jnp.linalg.qr(_square(x))),
    Harness("qr_rectangular", lambda x: jnp.linalg.qr(x), (ST,)),
    Harness("qr_tall_complete", lambda x: jnp.linalg.qr(x, mode="complete"), (ST,), **TALL),
    Harness("qr_wide", lambda x: jnp.linalg.qr(x), (ST,), **WIDE),
    Harness("qr_triangle", lambda x: jnp.linalg.qr(x, mode="r"), (ST,)),
    Harness("qr_pivoting", lambda x: lax.linalg.qr(x, pivoting=True, full_matrices=False), (ST,)),
    Harness("qr_gradient", jax.grad(lambda x: jnp.linalg.qr(_square(x))[1].sum()), (SS,)),
    Harness("geqrf", _geqrf, (ST,)),
    Harness(
        "householder_product",
        lambda x: lax.linalg.householder_product(*_geqrf(x)),
        (ST,),
        **TALL,
    ),
]


def _multiplied(x: jax.Array, y: jax.Array, **options: bool) -> jax.Array:
    return lax.linalg.ormqr(*_geqrf(x), y, **options)


# Products by Q, from either side, without Q.
REFLECTED = [
    Harness("ormqr", lambda x, y: _multiplied(x, y), (Arg("s, t"), Arg("s, b")), **TALL),
    Harness(
        "ormqr_transposed",
        lambda x, y: _multiplied(x, y, transpose=True),
        (Arg("b, s, 3"), Arg("b, s, 2")),
        constraints=("s >= 3",),
    ),
    Harness(
        "ormqr_right",
        lambda x, y: _multiplied(x, y, left=False),
        (Arg("s, 2", np.complex64), Arg("t, s", np.complex64)),
        constraints=("s >= 2",),
    ),
    Harness("ormqr_wide", lambda x, y: _multiplied(x, y), (ST, Arg("s, 3")), **WIDE),
    Harness(
        "ormqr_least_squares",
        lambda x, y: jsl.solve_triangular(
            _geqrf(x)[0][:3], _multiplied(x, y[:, None], transpose=True)[:3]
        ),
        (Arg("s, 3"), Arg("s")),
        constraints=("s >= 3",),
        rtol=1e-4,
    ),
]


def _of_values(fun: Callable[[jax.Array], jax.Array], *, joined: bool = False) -> Any:
    """V f(w) V^H, of a Hermitian matrix."""

    def whole(x: jax.Array) -> jax.Array:
        values, vectors = jnp.linalg.eigh(x + jnp.conj(jnp.swapaxes(x, -1, -2)))
        adjoint = jnp.conj(jnp.swapaxes(vectors, -1, -2))
        if joined:
            return jnp.einsum("ik,k,kj->ij", vectors, fun(values), adjoint)
        return (vectors * fun(values)[..., None, :]) @ adjoint

    return whole


def _rebuilt(x: jax.Array, shrink: float = 0.0) -> jax.Array:
    """From its singular values, made smaller."""
    u, values, v = jnp.linalg.svd(x, full_matrices=False)
    return u @ jnp.diag(jnp.maximum(values - shrink, 0)) @ v


def _product(x: jax.Array) -> jax.Array:
    u, _, v = jnp.linalg.svd(x, full_matrices=False)
    return u @ v


def _whitened(x: jax.Array) -> jax.Array:
    u, values, _ = jnp.linalg.svd(x - x.mean(0, keepdims=True), full_matrices=False)
    return (u / jnp.sqrt(values**2 + 0.1)[None]) @ u.T @ x


def _least_squares(x: jax.Array, y: jax.Array) -> jax.Array:
    u, values, v = jsl.svd(x, full_matrices=False)
    mask = values > 1e-6 * values[0]
    inverse = jnp.where(mask, 1 / jnp.where(mask, values, 1), 0)
    return v.T @ (inverse * (u.T @ y))


def _deficient(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Of rank 1, so that all other values are 0."""
    return rng.normal(size=(*shape[:-1], 1)) * rng.normal(size=shape[-1:])


def _repeating(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """With one eigenvalue for all but two vectors."""
    del rng
    return np.eye(*shape) + np.ones(shape)


DEFICIENT = Arg("s, t", np.float32, _deficient)
REPEATING = Arg("s, s", np.float32, _repeating)

# Vectors in products that are the same for every choice of them.
BASES = [
    Harness("svd_pseudo_inverse", jnp.linalg.pinv, (ST,), rtol=1e-4),
    Harness("svd_pseudo_inverse_batch", jnp.linalg.pinv, (Arg("b, s, t"),), rtol=1e-4),
    Harness("svd_pseudo_inverse_complex", jnp.linalg.pinv, (Arg("s, t", np.complex64),), rtol=1e-4),
    Harness("svd_pseudo_inverse_deficient", jnp.linalg.pinv, (DEFICIENT,), rtol=1e-4),
    Harness("svd_pseudo_inverse_of_zero", lambda x: jnp.linalg.pinv(x * 0), (ST,)),
    Harness(
        "svd_pseudo_inverse_gradient",
        jax.grad(lambda x: (jnp.linalg.pinv(x) ** 2).sum()),
        (Arg("s, 2"),),
        constraints=("s >= 2",),
        rtol=1e-3,
    ),
    Harness(
        "svd_lstsq", lambda x, y: jnp.linalg.lstsq(x, y), (ST, Arg("s, 2")), rtol=1e-4, atol=1e-5
    ),
    Harness("svd_lstsq_deficient", lambda x: jnp.linalg.lstsq(x, x[:, 0])[::2], (DEFICIENT,)),
    Harness(
        "svd_lstsq_gradient",
        jax.grad(lambda x, y: (jnp.linalg.lstsq(x, y)[0] ** 2).sum(), 1),
        (Arg("s, 2"), Arg("s")),
        constraints=("s >= 2",),
        rtol=1e-4,
    ),
    Harness("svd_least_squares", _least_squares, (ST, Arg("s")), rtol=1e-4, atol=1e-5),
    Harness(
        "svd_polyfit",
        lambda x, y: jnp.polyfit(x, y, 2),
        (Arg("s"), Arg("s")),
        constraints=("s >= 3",),
        rtol=1e-3,
    ),
    Harness("svd_rebuilt", _rebuilt, (ST,)),
    Harness("svd_shrunk", lambda x: _rebuilt(x, 0.5), (DEFICIENT,), atol=1e-5),
    Harness("svd_whitened_wide", _whitened, (ST,), **WIDE, rtol=1e-4, atol=1e-5),
    Harness("eigh_exponential", _of_values(jnp.exp), (SS,)),
    Harness("eigh_complex", _of_values(lambda w: 1 / (1 + w**2)), (COMPLEX,)),
    Harness("eigh_batch", _of_values(jnp.abs), (BSS,)),
    Harness("eigh_joined", _of_values(jnp.tanh, joined=True), (SS,), atol=1e-6),
    Harness("eigh_repeated", _of_values(jnp.exp), (REPEATING,)),
    Harness("eigh_of_zero", lambda x: _of_values(jnp.exp)(x * 0), (SS,)),
    # What depends on the choice: of a vector that is seen, where values repeat or are 0.
    Harness("eigh_by_index", _of_values(lambda w: jnp.arange(w.shape[0])), (SS,), exact="eigh"),
    Harness("svd_polar", _product, (ST,), exact="svd"),
    Harness("svd_whitened_tall", _whitened, (ST,), **TALL, exact="svd"),
    Harness("svd_first", lambda x: jnp.linalg.svd(x, False)[0][:, 0] ** 2, (ST,), exact="svd"),
]


SPECTRUM = [
    *_kinds("eigh_values", lambda x: jnp.linalg.eigvalsh(_positive(x))),
    Harness(
        "eigh_values_upper",
        lambda x: jnp.linalg.eigvalsh(x, UPLO="U", symmetrize_input=False),
        (SS,),
    ),
    Harness("eigh_values_of_zero", lambda x: jnp.linalg.eigvalsh(x * 0), (SS,)),
    Harness("eigh_exact", lambda x: jnp.linalg.eigh(_positive(x)), (MATRICES,)),
    Harness("eigh_vectors", lambda x: jnp.linalg.eigh(_positive(x)), (SS,), exact="eigh"),
    Harness("svd_values", lambda x: jnp.linalg.svd(x, compute_uv=False), (ST,)),
    Harness("svd_values_batch", lambda x: jnp.linalg.svd(x, compute_uv=False), (Arg("b, s, t"),)),
    Harness(
        "svd_norms",
        lambda x: (jnp.linalg.norm(x, 2), jnp.linalg.norm(x, "nuc"), jnp.linalg.cond(x + 1)),
        (Arg("s, s"),),
    ),
    Harness("svd_exact", lambda x: jnp.linalg.svd(x), (MATRICES,)),
    Harness("svd_vectors", lambda x: jnp.linalg.svd(x, full_matrices=False), (ST,), exact="svd"),
    Harness("eig_exact", lambda x: jnp.linalg.eig(x), (MATRICES,)),
    Harness("eig_padded", lambda x: jnp.linalg.eig(x), (SS,), exact="eig"),
    Harness("schur_exact", lambda x: jax.vmap(jsl.schur)(x), (MATRICES,)),
    Harness("hessenberg_exact", lambda x: jax.vmap(jsl.hessenberg)(x), (MATRICES,)),
]


def _updated(x: jax.Array, y: jax.Array) -> jax.Array:
    return lax.linalg.cholesky_update(jnp.linalg.cholesky(_positive(x)).T, y)


def _gram(x: jax.Array, **options: Any) -> jax.Array:
    addend = _positive(jnp.swapaxes(x, -1, -2))
    return lax.linalg.symmetric_product(x, addend, symmetrize_output=True, **options)


RANK = [
    Harness("cholesky_update", _updated, (SS, Arg("s"))),
    Harness("cholesky_update_of_zero", lambda x: _updated(x, x[0] * 0), (SS,)),
    Harness("cholesky_update_loop", lambda x: _updated(_updated(x, x[0]), x[-1]), (SS,)),
    Harness("symmetric_product", _gram, (ST,)),
    Harness("symmetric_product_scaled", lambda x: _gram(x, alpha=0.5, beta=2.0), (ST,)),
    Harness("symmetric_product_batch", lambda x: _gram(x, beta=1.0), (Arg("b, s, t"),)),
]

HARNESSES = [*RANK, *CHOLESKY, *SOLVE, *LU, *QR, *REFLECTED, *SPECTRUM, *BASES]
