"""Functions of ``jax.scipy``, and distributions of ``jax.random``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jax.scipy.spatial.transform import Rotation

from tests.harnesses.base import Arg, Harness, table

special, stats = jsp.special, jsp.stats


def _uniform(low: float, high: float) -> Callable[[np.random.Generator, tuple[int, ...]], Any]:
    return lambda rng, shape: rng.uniform(low, high, shape)


def _offset(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape) + 3 * np.eye(*shape[-2:])


N = Arg("n")
M3 = Arg("n, 3")
BS = Arg("b, s")
UNIT = Arg("n", np.float32, _uniform(0.05, 0.95))
POSITIVE = Arg("n", np.float32, _uniform(0.3, 3.0))
COUNTS = Arg("n", np.int32)
TIES = Arg("n", np.float32, lambda rng, shape: rng.integers(-2, 3, shape))
REGULAR = Arg("n, n", np.float32, _offset)
IMAGE = Arg("n, 5")
KERNEL = np.array([1.0, -2.0, 0.5], np.float32)
GRID = np.array([[0.2, 1.4, 9.0], [0.0, -0.7, 2.5]], np.float32)


def _summed(**functions: Callable[..., Any]) -> Callable[..., Any]:
    """All of them, and their sums over the true lanes."""
    return lambda *xs: {name: (y := fun(*xs), y.sum()) for name, fun in functions.items()}


SPECIAL = [
    *table("special", N, {
        "errors": _summed(erf=special.erf, erfc=special.erfc, ndtr=special.ndtr,
                          log_ndtr=special.log_ndtr, expit=special.expit),
        "bessel": _summed(i0=special.i0, i0e=special.i0e, i1=special.i1, i1e=special.i1e),
        "sums": lambda x: (special.logsumexp(x), special.softmax(x), special.log_softmax(x)),
        "logsumexp_signed": lambda x: special.logsumexp(x, b=jnp.sin(x), return_sign=True),
        "gamma": _summed(gamma=special.gamma, gammaln=special.gammaln, sign=special.gammasgn),
        "bessel_jn": lambda x: special.bessel_jn(jnp.abs(x) + 1, v=2),
        "expi": lambda x: special.expi(x + 4),
        "sph_harm": lambda x: special.sph_harm_y(
            jnp.array([2]), jnp.array([1]), jnp.abs(x), x, n_max=2),
    }),
    *table("special", UNIT, {
        "inverses": _summed(erfinv=special.erfinv, ndtri=special.ndtri, logit=special.logit),
        "entropies": _summed(entr=special.entr, spence=special.spence),
        "dilogarithm": lambda x: special.spence(3 * x),
    }),
    *table("special", (UNIT, POSITIVE), {
        "xlogy": _summed(xlogy=special.xlogy, xlog1py=special.xlog1py, rel_entr=special.rel_entr,
                         kl_div=special.kl_div),
        "betas": _summed(beta=special.beta, betaln=special.betaln),
        "betainc": _summed(betainc=lambda x, y: special.betainc(y, 2.0, x)),
        "gammainc": _summed(gammainc=lambda x, y: special.gammainc(y, x),
                            gammaincc=lambda x, y: special.gammaincc(y, x)),
        "digamma": _summed(digamma=lambda x, y: special.digamma(y),
                           zeta=lambda x, y: special.zeta(y + 1, 2.0),
                           polygamma=lambda x, y: special.polygamma(1, y)),
        "multigammaln": lambda x, y: special.multigammaln(y + 2, 3),
        "factorial": lambda x, y: special.factorial(y),
        "poch": lambda x, y: special.poch(y, x),
        "hyp1f1": lambda x, y: special.hyp1f1(y, 2.0, x),
        "exp1": lambda x, y: special.exp1(y),
        "expn": lambda x, y: special.expn(2, y),
    }),
]  # fmt: skip

_CONTINUOUS = (
    "cauchy expon gennorm laplace logistic norm gumbel_l gumbel_r wrapcauchy truncnorm t beta "
    "gamma chi2 pareto uniform vonmises"
).split()
_SHAPES = {
    "gennorm": (1.5,),
    "wrapcauchy": (0.3,),
    "truncnorm": (-1.0, 2.0),
    "t": (3.0,),
    "beta": (2.0, 3.0),
    "gamma": (2.0,),
    "chi2": (3.0,),
    "pareto": (0.04,),
    "vonmises": (1.5,),
}
_DISCRETE = {"bernoulli": (0.3,), "geom": (0.4,), "poisson": (2.5,), "nbinom": (3, 0.4),
             "binom": (9, 0.4), "betabinom": (9, 2.0, 3.0)}  # fmt: skip


def _methods(name: str, shapes: tuple[Any, ...], methods: str) -> Callable[[jax.Array], Any]:
    """Methods of a distribution that has them, and the likelihood of a sample."""
    family = getattr(stats, name)
    offered = [getattr(family, method) for method in methods.split() if hasattr(family, method)]
    return lambda x: [(y := fun(x, *shapes), y.sum()) for fun in offered]


STATS = [
    *table("stats", UNIT, {
        name: _methods(name, _SHAPES.get(name, ()), "logpdf cdf sf ppf") for name in _CONTINUOUS
    }),
    *table("stats", COUNTS, {
        name: _methods(name, shapes, "logpmf cdf") for name, shapes in _DISCRETE.items()
    }),
    *table("stats", TIES, {
        "mode": lambda x: stats.mode(x),
        **{f"rankdata_{method}": lambda x, method=method: stats.rankdata(x, method)
           for method in ("average", "min", "max", "dense", "ordinal")},
        "sem": lambda x: stats.sem(x, ddof=0),
    }),
    *table("stats", M3, {
        "multivariate_normal": jax.vmap(lambda row: stats.multivariate_normal.logpdf(
            row, jnp.zeros(3), 2 * jnp.eye(3))),
        "dirichlet": lambda x: stats.dirichlet.logpdf(jax.nn.softmax(x).T, jnp.array([1.0, 2, 3])),
        "multinomial": lambda x: stats.multinomial.logpmf(
            (10 * jnp.abs(x)).astype(int), 3, jnp.array([[0.2, 0.3, 0.5]])),
        "norm_fit": lambda x: stats.norm.logpdf(x, x.mean(), x.std() + 1).sum(),
        "mode_rows": lambda x: stats.mode(jnp.round(x), axis=1, keepdims=True),
        "rankdata_rows": lambda x: stats.rankdata(x, axis=1),
    }),
    *table("stats", N, {
        "kde": lambda x: stats.gaussian_kde(x, 0.5).evaluate(KERNEL),
        "kde_scott": lambda x: stats.gaussian_kde(x).logpdf(KERNEL),
    }, constraints=("n >= 3",)),
]  # fmt: skip

SIGNALS = [
    *table("signal", N, {
        "correlate": lambda x: [jsp.signal.correlate(x, KERNEL, m) for m in ("full", "same")],
        "convolve_fft": lambda x: jsp.signal.convolve(x, KERNEL, "same", method="fft"),
        "detrend_constant": lambda x: jsp.signal.detrend(x, type="constant"),
    }),
    *table("signal", IMAGE, {
        "convolve2d": lambda x: [jsp.signal.convolve2d(x, x[:1], mode=m) for m in ("full", "same")],
        "correlate2d": lambda x: jsp.signal.correlate2d(x, jnp.ones((1, 3)), mode="full"),
        "map_coordinates": lambda x: [
            jsp.ndimage.map_coordinates(x, [*GRID], order, mode=mode, cval=3.0)
            for order in (0, 1) for mode in ("constant", "nearest")],
        **{f"map_coordinates_{mode}": lambda x, mode=mode: jsp.ndimage.map_coordinates(
               x, [*GRID], 1, mode=mode) for mode in ("wrap", "mirror", "reflect")},
        "trapezoid": lambda x: (jsp.integrate.trapezoid(x), jsp.integrate.trapezoid(x, axis=0)),
    }),
    *table("signal", N, {
        "stft": lambda x: jsp.signal.stft(x, nperseg=4, noverlap=2),
        "welch": lambda x: jsp.signal.welch(x, nperseg=4),
        "csd": lambda x: jsp.signal.csd(x, x[::-1], nperseg=4),
        "istft": lambda x: jsp.signal.istft(jsp.signal.stft(x, nperseg=4)[2], nperseg=4),
    }, bucket={"n": 14}, constraints=("n >= 5",)),
    # A least-squares fit by singular vectors.
    Harness("signal_detrend", jsp.signal.detrend, (N,), rtol=1e-4),
]  # fmt: skip

_GRID_AXES = (np.arange(3.0, dtype=np.float32), np.arange(4.0, dtype=np.float32))
_TABLE = np.sin(np.arange(12, dtype=np.float32)).reshape(3, 4)


def _interpolated(method: str) -> Callable[[jax.Array], jax.Array]:
    return lambda x: jsp.interpolate.RegularGridInterpolator(
        _GRID_AXES, _TABLE, method=method, bounds_error=False
    )(jnp.abs(x[:, :2]))


def _table_of_size(x: jax.Array) -> jax.Array:
    """A table of values of symbolic size, and points beyond its ends."""
    axes = (jnp.arange(x.shape[0]) * 1.0, jnp.arange(3.0))
    return jsp.interpolate.RegularGridInterpolator(axes, x, bounds_error=False)(GRID.T[:, :2])


def _rotations(x: jax.Array) -> Any:
    rotation = Rotation.from_rotvec(x)
    return rotation.apply(jnp.ones_like(x)), rotation.as_matrix(), rotation.magnitude()


MATRICES = [
    *table("scipy", REGULAR, {
        "cho_solve": lambda x: jsp.linalg.cho_solve(
            jsp.linalg.cho_factor(x @ x.T + jnp.eye(x.shape[0])), x[:, 0]),
        "solve_triangular": lambda x: (
            jsp.linalg.solve_triangular(jnp.tril(x), x[:, 0], lower=True),
            jsp.linalg.solve_triangular(jnp.triu(x), x[:, 0], trans=1, unit_diagonal=False)),
        "block_diag": lambda x: jsp.linalg.block_diag(x, jnp.ones((2, 3)), x[:1]),
        "solve": lambda x: jsp.linalg.solve(x @ x.T + jnp.eye(x.shape[0]), x[0], assume_a="pos"),
        "lu_solve": lambda x: jsp.linalg.lu_solve(jsp.linalg.lu_factor(x), x[:, 0]),
        "lu": lambda x: jsp.linalg.lu(x),
        "det_inv": lambda x: (jsp.linalg.det(x / 3), jsp.linalg.inv(x)),
        "expm": lambda x: jsp.linalg.expm(x / (4 * x.shape[0])),
        "eigh_values": lambda x: jsp.linalg.eigh(x + x.T, eigvals_only=True),
        "svd_values": lambda x: jsp.linalg.svd(x, compute_uv=False),
    }, rtol=1e-4),
    *table("scipy", N, {
        "toeplitz": lambda x: (jsp.linalg.toeplitz(x), jsp.linalg.toeplitz(KERNEL, x)),
        "hankel": lambda x: jsp.linalg.hankel(x),
    }),
    *table("scipy", M3, {
        "vq": lambda x: jsp.cluster.vq.vq(x, _TABLE[:, :3]),
        "interpolate_linear": _interpolated("linear"),
        "interpolate_nearest": _interpolated("nearest"),
        "interpolate_own_table": _table_of_size,
        "rotations": _rotations,
        "dctn": lambda x: jsp.fft.dctn(x, axes=(1,)),
    }),
]  # fmt: skip

_DISTRIBUTIONS: dict[str, Callable[[jax.Array, jax.Array], Any]] = {
    "beta": lambda k, x: jax.random.beta(k, jnp.exp(x), 2.0),
    "dirichlet": lambda k, x: jax.random.dirichlet(k, jnp.ones(3), x.shape),
    "poisson": lambda k, x: jax.random.poisson(k, jnp.exp(x)),
    "binomial": lambda k, x: jax.random.binomial(k, 5.0, jax.nn.sigmoid(x)),
    "geometric": lambda k, x: jax.random.geometric(k, 0.4, x.shape),
    "cauchy": lambda k, x: jax.random.cauchy(k, x.shape),
    "logistic": lambda k, x: jax.random.logistic(k, x.shape),
    "pareto": lambda k, x: jax.random.pareto(k, 2.0, x.shape),
    "rayleigh": lambda k, x: jax.random.rayleigh(k, jnp.exp(x)),
    "weibull": lambda k, x: jax.random.weibull_min(k, 1.0, 2.0, x.shape),
    "triangular": lambda k, x: jax.random.triangular(k, x, x + 1, x + 2),
    "wald": lambda k, x: jax.random.wald(k, jnp.exp(x)),
    "lognormal": lambda k, x: jax.random.lognormal(k, 0.5, x.shape),
    "maxwell": lambda k, x: jax.random.maxwell(k, x.shape),
    "double_sided_maxwell": lambda k, x: jax.random.double_sided_maxwell(k, 0.0, 1.0, x.shape),
    "rademacher": lambda k, x: jax.random.rademacher(k, x.shape),
    "loggamma": lambda k, x: jax.random.loggamma(k, jnp.exp(x)),
    "t": lambda k, x: jax.random.t(k, 3.0, x.shape),
    "chisquare": lambda k, x: jax.random.chisquare(k, 3.0, shape=x.shape),
    "f": lambda k, x: jax.random.f(k, 3.0, 5.0, x.shape),
    "generalized_normal": lambda k, x: jax.random.generalized_normal(k, 1.5, x.shape),
    "ball": lambda k, x: jax.random.ball(k, 3, shape=x.shape),
    "multivariate_normal": lambda k, x: jax.random.multivariate_normal(
        k, jnp.zeros(2), jnp.array([[2.0, 0.5], [0.5, 1.0]]), x.shape),
    "orthogonal": lambda k, x: jax.random.orthogonal(k, 2, x.shape),
    "multinomial": lambda k, x: jax.random.multinomial(k, 5.0, jax.nn.softmax(x)),
    "categorical": lambda k, x: jax.random.categorical(k, x, shape=(3,)),
    "categorical_without_replacement": lambda k, x: jax.random.categorical(
        k, x, shape=(1,), replace=False),
    "choice_weighted": lambda k, x: jax.random.choice(k, 3, x.shape, p=jnp.array([0.2, 0.3, 0.5])),
}  # fmt: skip
_KEY = Arg((2,), np.uint32)
RANDOM = table(
    "distribution",
    (_KEY, N),
    _DISTRIBUTIONS,
    bucket={"n": 5},
)

HARNESSES = [*SPECIAL, *STATS, *SIGNALS, *MATRICES, *RANDOM]
