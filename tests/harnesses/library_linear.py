"""Functions of ``jax.numpy`` on matrices, polynomials and spectra."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests.harnesses.base import Arg, Harness, table


def _offset(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape) + 3 * np.eye(*shape[-2:])


N = Arg("n")
M3 = Arg("n, 3")
BST = Arg("b, s, 3")
SQUARE = Arg("n, n", np.float32, lambda rng, shape: 0.3 * rng.normal(size=shape))
REGULAR = Arg("n, n", np.float32, _offset)
COMPLEX = Arg("n", np.complex64)
POINTS = np.array([-1.0, 0.0, 0.5], np.float32)
MATRIX = np.arange(6, dtype=np.float32).reshape(3, 2)
VECTOR_ORDERS = (0, 1, 2, 3, 0.5, np.inf, -np.inf, -1)


def _positive(x: jax.Array) -> jax.Array:
    return x @ x.T / x.shape[0] + 2 * jnp.eye(x.shape[0])


CONTRACTIONS = [
    *table("linear", M3, {
        "einsum_ellipsis": lambda x: jnp.einsum("...i,ij->...j", x, MATRIX),
        "einsum_implicit": lambda x: jnp.einsum("ij,kj", x, x),
        "einsum_outer": lambda x: jnp.einsum("ij,kl->ikjl", x, x),
        "einsum_sum": lambda x: (jnp.einsum("ij->", x), jnp.einsum("ij->j", x)),
        "einsum_three": lambda x: jnp.einsum("ij,jk,lk->il", x, jnp.eye(3), x, optimize="optimal"),
        "einsum_trace": lambda x: (jnp.einsum("ii", x @ x.T), jnp.einsum("ii->i", x @ x.T)),
        "einsum_lists": lambda x: jnp.einsum(x, [0, 1], x, [0, 2], [1, 2]),
        "tensordot": lambda x: (jnp.tensordot(x, x, 2), jnp.tensordot(x, MATRIX, 1)),
        "tensordot_axes": lambda x: (jnp.tensordot(x, x, ((0,), (0,))), jnp.tensordot(x, x, 0)),
        "kron": lambda x: (jnp.kron(x, MATRIX), jnp.kron(MATRIX, x)),
        "kron_itself": lambda x: jnp.kron(x[:, 0], x[:, 1]),
        "cross": lambda x: jnp.cross(x, jnp.sin(x)),
        "inner": lambda x: (jnp.inner(x, x), jnp.vdot(x, x), jnp.dot(x, MATRIX)),
        "outer": lambda x: (jnp.outer(x, POINTS), jnp.linalg.outer(x[:, 0], x[:, 1])),
        "vecdot": lambda x: (jnp.vecdot(x, x), jnp.vecdot(x, x, axis=0)),
        "matvec": lambda x: (jnp.matvec(x, POINTS), jnp.vecmat(POINTS, MATRIX)),
        "multi_dot": lambda x: jnp.linalg.multi_dot([x, x.T, x, MATRIX]),
        "einsum_int": lambda x: jnp.einsum("ij,kj->ik", x.astype(int), x.astype(int)),
        "matmul_bfloat16": lambda x: jnp.matmul(
            x.T.astype(jnp.bfloat16), x.astype(jnp.bfloat16), preferred_element_type=np.float32),
    }),
    *table("linear", BST, {
        "einsum_batch": lambda x: jnp.einsum("bsd,btd->bst", x, x),
        "einsum_heads": lambda x: jnp.einsum("...sd,...td->...st", x, x).sum(-1),
        "einsum_reduce_batch": lambda x: jnp.einsum("bsd,bse->de", x, x),
        "einsum_diagonal": lambda x: jnp.einsum("bsd,bsd->bs", x, x),
        "tensordot_batch": lambda x: jnp.tensordot(x, x, axes=[[0, 1], [0, 1]]),
        "einsum_path": lambda x: jnp.einsum("bsd,bse,bte->td", x, x, x),
    }),
]  # fmt: skip

MATRICES = [
    *table("linear", SQUARE, {
        "matrix_power": lambda x: (jnp.linalg.matrix_power(x, 3), jnp.linalg.matrix_power(x, 0)),
        "triangles": lambda x: (jnp.tril(x), jnp.triu(x, 1), jnp.tril(x, 2), jnp.trace(x, -1)),
        "tril_indices": lambda x: x[jnp.tril_indices(3)],
        "norms": lambda x: [jnp.linalg.norm(x, o) for o in ("fro", 1, -1, np.inf, -np.inf)],
        "norm_axes": lambda x: (jnp.linalg.norm(x, axis=0), jnp.linalg.norm(x, np.inf, axis=1)),
        "matrix_norm": lambda x: (jnp.linalg.matrix_norm(x, keepdims=True), jnp.linalg.trace(x)),
        "symmetric": lambda x: (x + x.T) / 2 - jnp.diag(jnp.diag(x)),
        "diagonal": lambda x: (jnp.linalg.diagonal(x, offset=1), jnp.diag(x, -1)),
    }),
    *table("linear", REGULAR, {
        "solve": lambda x: (jnp.linalg.solve(x, x.sum(1)), jnp.linalg.solve(x, x.T)),
        "inv": jnp.linalg.inv,
        "det": lambda x: (jnp.linalg.det(x / 3), jnp.linalg.slogdet(x)),
        "inverse_power": lambda x: jnp.linalg.matrix_power(x, -2),
        "cholesky": lambda x: (jnp.linalg.cholesky(_positive(x)),
                               jnp.linalg.cholesky(_positive(x), upper=True)),
        "eigvalsh": lambda x: jnp.linalg.eigvalsh(_positive(x)),
        "svdvals": lambda x: (jnp.linalg.svdvals(x), jnp.linalg.norm(x, 2), jnp.linalg.cond(x)),
        "norm_nuclear": lambda x: (jnp.linalg.norm(x, "nuc"), jnp.linalg.norm(x, -2)),
        "tensorsolve": lambda x: jnp.linalg.tensorsolve(x, x[:, 0]),
        "tensorinv": lambda x: jnp.linalg.tensorinv(x, ind=1),
        "matrix_rank": lambda x: jnp.linalg.matrix_rank(x),
        "solve_grad": jax.grad(lambda x: jnp.linalg.solve(x, jnp.ones(x.shape[0])).sum()),
        "logdet_grad": jax.grad(lambda x: jnp.linalg.slogdet(_positive(x))[1]),
    }, rtol=1e-4),
    *table("linear", N, {
        "vector_norms": lambda x: [jnp.linalg.norm(x, order) for order in VECTOR_ORDERS],
        "vector_norm": lambda x: jnp.linalg.vector_norm(x, ord=3, keepdims=True),
        "vander": lambda x: (jnp.vander(x, 3), jnp.vander(x, 3, increasing=True)),
        "vander_square": lambda x: jnp.vander(jnp.tanh(x)),
        "diagflat": lambda x: (jnp.diagflat(x, 1), jnp.diag(x, -1)),
        "convolve": lambda x: (jnp.convolve(x, POINTS), jnp.correlate(POINTS, x, "full")),
    }),
    Harness("linear_qr_r", lambda x: jnp.abs(jnp.linalg.qr(x, mode="r")), (M3,),
            constraints=("n >= 3",)),
    # By singular vectors.
    Harness("linear_pinv", jnp.linalg.pinv, (M3,), rtol=1e-4),
    Harness("linear_lstsq", lambda x: jnp.linalg.lstsq(x, x[:, :2]), (M3,), rtol=1e-4, atol=1e-5),
]  # fmt: skip

# Until jax 0.12, which has no products of vectors in the plane, and unrolls a polynomial.
BEFORE_012 = [
    *table("linear", M3, {"cross_plane": lambda x: jnp.cross(x[:, :2], x[:, 1:])}),
    *table("linear", N, {"polyval_at_points": lambda x: jnp.polyval(jnp.tanh(x), POINTS)}),
]  # fmt: skip

POLYNOMIALS = [
    *table("linear", N, {
        "polyval": lambda x: jnp.polyval(POINTS, x),
        "polyval_unrolled": lambda x: jnp.polyval(POINTS, x, unroll=4),
        "polyadd": lambda x: (jnp.polyadd(x, POINTS), jnp.polysub(POINTS, x)),
        "polymul": lambda x: (jnp.polymul(x, POINTS), jnp.polymul(x, x)),
        "polyder": lambda x: jnp.polyder(x),
        "polyint": lambda x: jnp.polyint(x, 2, k=np.array([1.0, 2.0])),
        "poly_of_static": lambda x: jnp.poly(POINTS) * jnp.sum(x),
    }),
    Harness("linear_polyder_twice", lambda x: jnp.polyder(x, 2), (N,), constraints=("n >= 3",)),
]  # fmt: skip

SPECTRA = [
    *table("linear", COMPLEX, {
        "fft_norms": lambda x: [jnp.fft.fft(x, norm=m) for m in ("ortho", "forward", "backward")],
        "fft_cropped": lambda x: (jnp.fft.fft(x, n=4), jnp.fft.ifft(x, n=3)),
        "hfft": lambda x: jnp.fft.hfft(x, n=6),
        "irfft": lambda x: jnp.fft.irfft(x, n=6),
        "fftshift": lambda x: (jnp.fft.fftshift(x), jnp.fft.ifftshift(x)),
        "angle": lambda x: (jnp.angle(x), jnp.abs(x), x.real, x.imag, jnp.conj(x)),
        "complex_statistics": lambda x: (jnp.var(x), jnp.mean(x), jnp.prod(x), jnp.sum(jnp.abs(x))),
        "complex_sort": lambda x: (jnp.sort(x), jnp.argmax(jnp.abs(x)), jnp.sort_complex(x.real)),
        "complex_norm": lambda x: (jnp.linalg.norm(x), jnp.vdot(x, x), jnp.cumsum(x)),
    }),
    *table("linear", N, {
        "rfft": lambda x: (jnp.fft.rfft(x), jnp.fft.rfft(x, norm="ortho")),
        "ihfft": lambda x: jnp.fft.ihfft(x),
        "fftfreq": lambda x: (jnp.fft.fftfreq(x.shape[0], 0.1), jnp.fft.rfftfreq(x.shape[0])),
        "periodogram": lambda x: jnp.abs(jnp.fft.rfft(x - x.mean())) ** 2 / x.shape[0],
    }),
    *table("linear", Arg("n, 4"), {
        "fftn": lambda x: (jnp.fft.fftn(x), jnp.fft.ifftn(x, axes=(0,))),
        "rfftn": lambda x: jnp.fft.rfftn(x),
        "irfft2": lambda x: jnp.fft.irfft2(x[:, :3] + 0j),
    }),
]  # fmt: skip

if jax.__version_info__ < (0, 12):
    POLYNOMIALS += BEFORE_012
HARNESSES = [*CONTRACTIONS, *MATRICES, *POLYNOMIALS, *SPECTRA]
