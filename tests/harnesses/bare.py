"""Common one-line functions of JAX, as users write them, each to be optimized without specs.

They feed `tests/test_bare.py` and the page `docs/bare.md`. The names of a group's entries are those
of the functions that they are about.
"""

# ruff: noqa: E501
from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jax import lax, nn, ops, random
from jax.scipy.spatial.transform import Rotation

import sod2jax
from tests.harnesses.base import Arg, assert_same
from tests.quick import run_plainly

Values = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

# Sizes of the calls, in their order: odd, even, primes, powers of two, and 1. A bare function has
# one program for its first call and one for sizes that vary; sizes to 16, to 32 and 1 need
# executables of their own.
_ONE = (12, 7, 16, 1, 31, 2, 3, 8, 32, 25)
_TWO = ((5, 12), (3, 7), (8, 16), (4, 31), (6, 2), (2, 3), (13, 8), (16, 32), (7, 25), (1, 9))
_THREE = tuple((1 + k % 3, *sizes) for k, sizes in enumerate(_TWO))
_FEWEST = 7  # of the sizes must suit a function
SIZES = {1: tuple((size,) for size in _ONE), 2: _TWO, 3: _THREE}


@dataclasses.dataclass(frozen=True)
class Bare:
    """One function, used without specs.

    Attributes:
      name: the function of JAX that it is about, and how it is used where there are several ways.
      fun: the function, as users write it.
      args: its arguments; their symbols take ten sizes.
      exact: why it runs with exact shapes; None if it runs padded.
      traces: how many programs it may need.
      executables: how many executables it may need.
      rtol: relative to the largest magnitude of each output array.
      atol: added to it.
    """

    name: str
    fun: Callable[..., Any]
    args: tuple[Arg, ...]
    exact: str | None = None
    traces: int = 3
    executables: int = 4
    rtol: float = 1e-5
    atol: float = 0.0

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of its arguments, sorted."""
        texts = [arg.spec for arg in self.args if isinstance(arg.spec, str)]
        return tuple(sorted({char for text in texts for char in text if char.isalpha()}))

    def sizes(self) -> Iterator[dict[str, int]]:
        """Of each call."""
        for point in SIZES[len(self.symbols)]:
            yield dict(zip(self.symbols, point, strict=True))


def check(entry: Bare) -> None:
    """Runs an entry at all its sizes; asserts that it is exact, and made of few programs."""
    optimized = sod2jax.optimize(entry.fun, poison=True)
    with jax.numpy_rank_promotion("allow"), warnings.catch_warnings():
        if entry.exact is not None:
            warnings.simplefilter("ignore", sod2jax.errors.ExactFallbackWarning)
        calls = list(_valid_calls(entry))
        plain = run_plainly(entry.fun, calls)
        for call, want in zip(calls, plain, strict=True):
            shapes = ", ".join(str(array.shape) for array in call)
            seen = jax.tree.leaves(optimized(*call))
            assert_same(seen, want, entry.rtol, f"{entry.name} at {shapes}", entry.atol)
    stats = optimized.stats()
    assert len(calls) >= _FEWEST
    assert (stats.exact_fallbacks > 0) == (entry.exact is not None), "runs with exact shapes"
    assert stats.traces <= entry.traces, f"{stats.traces} traces"
    assert stats.compiles <= entry.executables, f"{stats.compiles} executables"


def _valid_calls(entry: Bare) -> Iterator[list[np.ndarray]]:
    """Arguments at those of the sizes that the function can be called with."""
    for seed, sizes in enumerate(entry.sizes()):
        rng = np.random.default_rng(seed)
        call = [arg.values(rng, sizes) for arg in entry.args]
        try:
            jax.eval_shape(entry.fun, *call)
        except (TypeError, ValueError, IndexError):
            continue
        yield call


def rows(
    module: str,
    args: Arg | tuple[Arg, ...],
    functions: Mapping[str, Callable[..., Any]],
    **options: Any,
) -> list[Bare]:
    """Entries of functions of the same arguments."""
    args = args if isinstance(args, tuple) else (args,)
    return [Bare(f"{module}.{name}", fun, args, **options) for name, fun in functions.items()]


def _positive(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.random(shape) + 0.1


def _with_nan(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.normal(size=shape)
    values.flat[::5] = np.nan
    return values


def _dominant(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape) + 3 * shape[-1] * np.eye(*shape)


def _definite(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    half = rng.normal(size=shape)
    return half @ half.T + shape[0] * np.eye(shape[0])


X = Arg("n")
Y = Arg("m")
POSITIVE = Arg("n", make=_positive)
UNIT = Arg("n", make=lambda rng, shape: 0.05 + 0.9 * rng.random(shape))
NAN = Arg("n", make=_with_nan)
SORTED = Arg("n", make=lambda rng, shape: np.sort(rng.normal(size=shape)))
I = Arg("n", np.int32)  # noqa: E741
ID = Arg("n", np.int32, lambda rng, shape: rng.integers(0, 5, shape))
B = Arg("n", bool)
C = Arg("n", np.complex64)
M = Arg("m, n")
MN = Arg("m, n", make=_with_nan)
BM = Arg("m, n", bool)
R = Arg("n, 4")
EVEN = Arg("2*n")
EIGHT = Arg("8*n")
ODD = Arg("2*n + 1")
S = Arg("n, n", make=_dominant)
SPD = Arg("n, n", make=_definite)
V = Arg("n")
T = Arg("l, m, n")
IMAGE = Arg("n, n, 3")
SIGNAL = Arg("2, n, 3")
K = Arg((5,))
W = Arg((4, 6))
KEY = random.key(0)

# One entry a line: its name, and the function.
# fmt: off
NUMPY = [
    *rows("jnp", X, {
        "sum": lambda x: jnp.sum(x),
        "mean": lambda x: x.mean(),
        "std": lambda x: x.std(),
        "var, ddof": lambda x: jnp.var(x, ddof=1),
        "prod": lambda x: jnp.prod(x),
        "max": lambda x: x.max(),
        "min": lambda x: x.min(),
        "ptp": lambda x: jnp.ptp(x),
        "argmax": lambda x: jnp.argmax(x),
        "argmin": lambda x: jnp.argmin(x),
        "median": lambda x: jnp.median(x),
        "quantile": lambda x: jnp.quantile(x, 0.3),
        "percentile": lambda x: jnp.percentile(x, jnp.array([25.0, 75.0])),
        "cumsum": lambda x: jnp.cumsum(x),
        "cumprod": lambda x: jnp.cumprod(x),
        "cummax": lambda x: jnp.maximum.accumulate(x),
        "logaddexp.reduce": lambda x: jnp.logaddexp.reduce(x),
        "linalg.norm": lambda x: jnp.linalg.norm(x),
        "linalg.norm, max": lambda x: jnp.linalg.norm(x, jnp.inf),
        "sort": lambda x: jnp.sort(x),
        "sort, descending": lambda x: jnp.sort(x, descending=True),
        "argsort": lambda x: jnp.argsort(-x),
        "partition": lambda x: jnp.partition(x, 0),
        "flip": lambda x: jnp.flip(x),
        "roll": lambda x: jnp.roll(x, 1),
        "roll, half": lambda x: jnp.roll(x, x.shape[0] // 2),
        "diff": lambda x: jnp.diff(x),
        "ediff1d": lambda x: jnp.ediff1d(x),
        "gradient": lambda x: jnp.gradient(x),
        "trapezoid": lambda x: jnp.trapezoid(x),
        "pad": lambda x: jnp.pad(x, 2),
        "pad, edge": lambda x: jnp.pad(x, (1, 2), mode="edge"),
        "pad, reflect": lambda x: jnp.pad(x, 1, mode="reflect"),
        "pad, wrap": lambda x: jnp.pad(x, 2, mode="wrap"),
        "pad, to multiple": lambda x: jnp.pad(x, (0, -x.shape[0] % 8)),
        "append": lambda x: jnp.append(x, 0.0),
        "concatenate": lambda x: jnp.concatenate([x, x[:1]]),
        "stack": lambda x: jnp.stack([x, 2 * x]),
        "hstack": lambda x: jnp.hstack([x, x]),
        "vstack": lambda x: jnp.vstack([x, -x]),
        "column_stack": lambda x: jnp.column_stack([x, x**2]),
        "tile": lambda x: jnp.tile(x, 3),
        "repeat": lambda x: jnp.repeat(x, 2),
        "insert": lambda x: jnp.insert(x, 0, 9.0),
        "delete": lambda x: jnp.delete(x, 0),
        "broadcast_to": lambda x: jnp.broadcast_to(x, (3, x.shape[0])),
        "outer": lambda x: jnp.outer(x, x),
        "dot": lambda x: jnp.dot(x, x),
        "vdot": lambda x: jnp.vdot(x, x),
        "kron": lambda x: jnp.kron(x, jnp.ones(2)),
        "cross": lambda x: jnp.cross(x[:, None] * jnp.ones(3), jnp.array([1.0, 2.0, 3.0])),
        "convolve": lambda x: jnp.convolve(x, jnp.array([1.0, 2.0, 1.0]), mode="same"),
        "convolve, full": lambda x: jnp.convolve(x, jnp.array([1.0, -1.0])),
        "correlate": lambda x: jnp.correlate(x, jnp.ones(3), mode="full"),
        "interp": lambda x: jnp.interp(x, jnp.array([-1.0, 0.0, 1.0]), jnp.array([0.0, 2.0, 1.0])),
        "polyval": lambda x: jnp.polyval(jnp.array([1.0, 2.0, 3.0]), x),
        "vander": lambda x: jnp.vander(x, 3),
        "digitize": lambda x: jnp.digitize(x, jnp.array([-1.0, 0.0, 1.0])),
        "histogram": lambda x: jnp.histogram(x, bins=5, range=(-2.0, 2.0)),
        "clip": lambda x: jnp.clip(x, -1, 1),
        "where": lambda x: jnp.where(x > 0, x, 0.0),
        "select": lambda x: jnp.select([x < -1, x > 1], [-x, x], 0.0),
        "piecewise": lambda x: jnp.piecewise(x, [x < 0, x >= 0], [lambda x: -x, lambda x: 2 * x]),
        "abs": lambda x: jnp.abs(x),
        "sign": lambda x: jnp.sign(x),
        "exp": lambda x: jnp.exp(x),
        "log1p": lambda x: jnp.log1p(jnp.abs(x)),
        "sqrt": lambda x: jnp.sqrt(jnp.abs(x)),
        "arctan2": lambda x: jnp.arctan2(x, x + 1),
        "hypot": lambda x: jnp.hypot(x, 1.0),
        "floor_divide": lambda x: x // 0.5,
        "mod": lambda x: jnp.mod(x, 1.0),
        "round": lambda x: jnp.round(x, 1),
        "astype": lambda x: x.astype(jnp.int32),
        "frexp": lambda x: jnp.frexp(x),
        "sinc": lambda x: jnp.sinc(x),
        "isclose": lambda x: jnp.isclose(x, 0.0, atol=0.5),
        "allclose": lambda x: jnp.allclose(x, x + 1e-9),
        "array_equal": lambda x: jnp.array_equal(x, x[::-1]),
        "any": lambda x: (x > 1).any(),
        "all": lambda x: (x > -1).all(),
        "count_nonzero": lambda x: jnp.count_nonzero(x > 0),
        "arange": lambda x: x * jnp.arange(x.shape[0]),
        "arange, half": lambda x: x.sum() * jnp.arange(x.shape[0] / 2),
        "arange, centred": lambda x: x * (jnp.arange(-x.shape[0] / 2, x.shape[0] / 2) + 0.5),
        "arange, fine": lambda x: x.sum() * jnp.arange(1, x.shape[0] + 1, 0.5),
        "arange, share": lambda x: x.sum() * jnp.arange(0, 0.3 * x.shape[0]),
        "linspace": lambda x: x * jnp.linspace(0.0, 1.0, x.shape[0]),
        "eye": lambda x: x * jnp.eye(x.shape[0]),
        "diag": lambda x: jnp.diag(x),
        "diagflat": lambda x: jnp.diagflat(x, 1),
        "tri": lambda x: jnp.tri(x.shape[0]) @ x,
        "meshgrid": lambda x: jnp.meshgrid(x, jnp.arange(3.0)),
        "zeros_like": lambda x: jnp.zeros_like(x),
        "full": lambda x: jnp.full((x.shape[0], 2), 7),
        "hanning": lambda x: x * jnp.hanning(x.shape[0]),
        "expand_dims": lambda x: jnp.expand_dims(x, (0, 2)),
        "reshape": lambda x: x.reshape(-1, 1),
        "ravel": lambda x: jnp.ravel(jnp.stack([x, x], 1)),
        "split": lambda x: jnp.split(x, [1]),
        "take": lambda x: jnp.take(x, jnp.array([0, -1])),
        "take, by rank": lambda x: x[jnp.argsort(x)],
        "choose": lambda x: jnp.choose((x > 0).astype(int), [x, -x], mode="clip"),
        "compress, size": lambda x: jnp.compress(x > 0, x, size=3, fill_value=0.0),
        "nonzero, size": lambda x: jnp.nonzero(x > 0, size=4),
        "unique, size": lambda x: jnp.unique(jnp.round(x), size=6),
        "apply_along_axis": lambda x: jnp.apply_along_axis(jnp.cumsum, 0, x),
        "vectorize": lambda x: jnp.vectorize(lambda a: a * a + 1)(x),
        "unwrap": lambda x: jnp.unwrap(3 * x),
        "cov": lambda x: jnp.cov(x),
        "nan_to_num": lambda x: jnp.nan_to_num(1 / jnp.round(x)),
    }),
    *rows("jnp", X, {  # a float counts to its size: generalised, and each new size checked
        "average, plain": lambda x: jnp.average(x),
        "average": lambda x: jnp.average(x, weights=jnp.arange(1.0, x.size + 1)),
    }),
    *rows("slice", X, {
        "first": lambda x: x[0],
        "last": lambda x: x[-1],
        "head": lambda x: x[:2],
        "tail": lambda x: x[2:],
        "last three": lambda x: x[-3:],
        "inner": lambda x: x[1:-1],
        "all but one": lambda x: x[:-1],
        "even": lambda x: x[::2],
        "odd": lambda x: x[1::2],
        "reversed": lambda x: x[::-1],
        "first half": lambda x: x[: x.shape[0] // 2],
        "second half": lambda x: x[x.shape[0] // 2 :],
        "middle": lambda x: x[x.shape[0] // 2],
        "new axes": lambda x: x[:, None] - x[None, :],
        "steps": lambda x: x[1:] - x[:-1],
        "shifted": lambda x: jnp.concatenate([x[1:], x[:1]]),
        "ellipsis": lambda x: x[..., 0],
        "last by size": lambda x: x[x.shape[0] - 1],
    }),
    *rows("at", X, {
        "set": lambda x: x.at[0].set(1.0),
        "set, head": lambda x: x.at[:2].set(0.0),
        "set, last": lambda x: x.at[-1].set(0.0),
        "set, even": lambda x: x.at[::2].set(0.0),
        "add": lambda x: x.at[jnp.array([0, 0])].add(1.0),
        "multiply, inner": lambda x: x.at[1:-1].multiply(2.0),
        "max": lambda x: x.at[0].max(3.0),
        "get, fill": lambda x: x.at[jnp.arange(4)].get(mode="fill", fill_value=-1.0),
    }),
    *rows("jnp", NAN, {
        "nansum": lambda x: jnp.nansum(x),
        "nanmean": lambda x: jnp.nanmean(x),
        "nanmax": lambda x: jnp.nanmax(x),
        "nanstd": lambda x: jnp.nanstd(x),
        "nanmedian": lambda x: jnp.nanmedian(x),
        "nancumsum": lambda x: jnp.nancumsum(x),
        "nanargmax": lambda x: jnp.nanargmax(jnp.where(jnp.isnan(x), -9.0, x)),
        "isnan": lambda x: jnp.isnan(x).mean(),
        "sort, NaN": lambda x: jnp.sort(x),
    }),
    *rows("jnp", I, {
        "sum, integers": lambda i: i.sum(),
        "mean, integers": lambda i: i.mean(),
        "bincount": lambda i: jnp.bincount(i, length=10),
        "isin": lambda i: jnp.isin(i, jnp.array([2, 3])),
        "bitwise_xor": lambda i: jnp.bitwise_xor.reduce(i),
        "left_shift": lambda i: (i << 2) | 1,
        "unravel_index": lambda i: jnp.unravel_index(i, (2, 5)),
        "gcd": lambda i: jnp.gcd(i, 6),
        "take, table": lambda i: jnp.arange(20.0).reshape(10, 2)[i],
        "lexsort": lambda i: jnp.lexsort((i, i % 3)),
        "where, integers": lambda i: jnp.where(i % 2 == 0, i, -1),
        "power": lambda i: i**2,
        "argsort, integers": lambda i: jnp.argsort(i, stable=True),
        "searchsorted": lambda i: jnp.searchsorted(jnp.array([2, 4, 6]), i),
    }),
    *rows("jnp", B, {
        "logical_not": lambda b: ~b,
        "cumsum, bool": lambda b: jnp.cumsum(b),
        "packbits": lambda b: jnp.packbits(b),
        "argmax, bool": lambda b: jnp.argmax(b),
        "where, indices": lambda b: jnp.where(b, jnp.arange(b.size), -1).max(),
    }),
    *rows("jnp", C, {
        "real": lambda z: z.real,
        "angle": lambda z: jnp.angle(z),
        "conj": lambda z: (z * z.conj()).sum(),
        "abs, complex": lambda z: jnp.abs(z),
    }),
    *rows("jnp", SORTED, {
        "searchsorted, table": lambda x: jnp.searchsorted(x, jnp.array([-0.5, 0.5])),
        "searchsorted, by sort": lambda x: jnp.searchsorted(x, x, method="sort"),
        "interp, table": lambda x: jnp.interp(jnp.array([0.1, 0.2]), x, x**2),
    }),
    *rows("jnp", M, {
        "sum, axis": lambda x: x.sum(0),
        "mean, axis": lambda x: x.mean(-1),
        "centred": lambda x: x - x.mean(0),
        "standardized": lambda x: (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1),
        "max, keepdims": lambda x: x.max(1, keepdims=True),
        "argmax, axis": lambda x: x.argmax(-1),
        "transpose": lambda x: x.T,
        "swapaxes": lambda x: jnp.swapaxes(x, 0, 1) + 0,
        "moveaxis": lambda x: jnp.moveaxis(x[None], 0, -1),
        "reshape, flat": lambda x: x.reshape(-1),
        "reshape, given": lambda x: x.reshape(x.shape[0], x.shape[1], 1),
        "gram": lambda x: x.T @ x,
        "matmul": lambda x: x @ x.T,
        "cov, rows": lambda x: jnp.cov(x),
        "corrcoef": lambda x: jnp.corrcoef(x[:, :2]),
        "cumsum, axis": lambda x: jnp.cumsum(x, 1),
        "sort, axis": lambda x: jnp.sort(x, 0),
        "flip, axis": lambda x: jnp.fliplr(x),
        "rot90": lambda x: jnp.rot90(x),
        "roll, axes": lambda x: jnp.roll(x, (1, 1), (0, 1)),
        "tril": lambda x: jnp.tril(x),
        "triu": lambda x: jnp.triu(x, 1),
        "trace": lambda x: jnp.trace(x),
        "diagonal": lambda x: jnp.diagonal(x),
        "einsum": lambda x: jnp.einsum("ij,kj->ik", x, x),
        "tensordot": lambda x: jnp.tensordot(x, x, axes=2),
        "linalg.norm, rows": lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
        "linalg.norm, fro": lambda x: jnp.linalg.norm(x),
        "pairwise": lambda x: jnp.sqrt(((x[:, None] - x[None]) ** 2).sum(-1)),
        "cosine": lambda x: (x @ x.T) / (jnp.linalg.norm(x) ** 2),
        "concatenate, axis": lambda x: jnp.concatenate([x, jnp.ones((x.shape[0], 1))], 1),
        "block": lambda x: jnp.block([[x, x], [x, x]]),
        "repeat, axis": lambda x: jnp.repeat(x, 3, axis=0),
        "tile, axes": lambda x: jnp.tile(x, (2, 1)),
        "take_along_axis": lambda x: jnp.take_along_axis(x, x.argmax(1)[:, None], 1),
        "first column": lambda x: x[:, 0],
        "last row": lambda x: x[-1],
        "corner": lambda x: x[:1, :2],
        "row, set": lambda x: x.at[0].set(0.0),
        "column, add": lambda x: x.at[:, 0].add(1.0),
        "quantile, axis": lambda x: jnp.quantile(x, 0.5, axis=0),
        "apply_over_axes": lambda x: jnp.apply_over_axes(jnp.sum, x, [0, 1]),
        "fill_diagonal": lambda x: jnp.fill_diagonal(x, 0.0, inplace=False),
        "pad, axes": lambda x: jnp.pad(x, ((1, 1), (0, 2))),
        "diff, axis": lambda x: jnp.diff(x, axis=0),
        "unstack": lambda x: jnp.stack([x[..., 0], x[..., -1]]),
        "dstack": lambda x: jnp.dstack([x, x]),
        "squeeze": lambda x: jnp.squeeze(x[None]),
        "divide, by size": lambda x: x.sum() / x.size,
        "sqrt, of size": lambda x: x / jnp.sqrt(x.shape[-1]),
    }),
    *rows("jnp", BM, {
        "any, axis": lambda b: b.any(0),
        "logical_and.reduce": lambda b: jnp.logical_and.reduce(b, axis=1),
    }),
    *rows("jnp", MN, {
        "nanmean, axis": lambda x: jnp.nanmean(x, 0),
        "nanmin, axis": lambda x: jnp.nanmin(x, axis=1),
    }),
    *rows("jnp", (X, V), {
        "add": lambda x, y: x + y,
        "minimum": lambda x, y: jnp.minimum(x, y),
        "dot, two": lambda x, y: x @ y,
        "corrcoef, two": lambda x, y: jnp.corrcoef(x, y),
        "interleave": lambda x, y: jnp.stack([x, y], 1).reshape(-1),
        "mean squared error": lambda x, y: ((x - y) ** 2).mean(),
    }),
    *rows("jnp", (X, Y), {
        "outer, two": lambda x, y: jnp.outer(x, y),
        "concatenate, two": lambda x, y: jnp.concatenate([x, y]),
        "add.outer": lambda x, y: x[:, None] + y,
        "convolve, two": lambda x, y: jnp.convolve(x, y),
        "meshgrid, two": lambda x, y: jnp.meshgrid(x, y),
        "searchsorted, two": lambda x, y: jnp.searchsorted(jnp.sort(x), y),
        "shorter": lambda x, y: x[: min(x.shape[0], y.shape[0])],
        "isin, two": lambda x, y: jnp.isin(jnp.round(x), jnp.round(y)),
    }),
    *rows("jnp", (M, Arg("n, 4")), {
        "matmul, two": lambda x, w: x @ w,
        "einsum, two": lambda x, w: jnp.einsum("mn,nk->km", x, w),
    }),
    *rows("jnp", (M, V), {
        "matvec": lambda x, v: x @ v,
        "add, bias": lambda x, b: x + b,
        "multiply, scale": lambda x, s: x * s - x.mean(0) * s,
    }),
    *rows("jnp", R, {
        "linear": lambda x: x @ jnp.ones((4, 2)) + jnp.ones(2),
        "split, heads": lambda x: x.reshape(x.shape[0], 2, 2),
        "array_split": lambda x: jnp.array_split(x, 2, axis=1),
        "sum of squares": lambda x: jnp.einsum("ni,ni->n", x, x),
    }),
    *rows("jnp", EVEN, {
        "reshape, pairs": lambda x: x.reshape(-1, 2).sum(1),
        "split, two": lambda x: jnp.split(x, 2),
        "reshape, blocks": lambda x: x.reshape(x.shape[0] // 2, 2).mean(0),
        "interleave, halves": lambda x: x.reshape(2, -1).T.reshape(-1),
    }),
    *rows("jnp", EIGHT, {
        "reshape, eights": lambda x: x.reshape(-1, 8).max(1),
    }),
    *rows("jnp", ODD, {
        "reshape, after first": lambda x: x[1:].reshape(-1, 2),
    }),
    *rows("jnp", T, {
        "sum, axes": lambda x: x.sum((0, 2)),
        "transpose, axes": lambda x: x.transpose(2, 0, 1),
        "reshape, merged": lambda x: x.reshape(x.shape[0], -1),
    }),
    *rows("jnp", T, {
        "einsum, batch": lambda x: jnp.einsum("bij,bkj->bik", x, x),
        "softmax, batch": lambda x: nn.softmax(x @ x.swapaxes(1, 2), -1),
    }, executables=9),  # where padding a batch to 16 would be noticed
    *rows("jnp.fft", X, {
        "fft": lambda x: jnp.fft.fft(x),
        "rfft": lambda x: jnp.abs(jnp.fft.rfft(x)),
        "ifft": lambda x: jnp.fft.ifft(jnp.fft.fft(x)).real,
        "fftshift": lambda x: jnp.fft.fftshift(x),
        "ifftshift": lambda x: jnp.fft.ifftshift(x),
        "fftfreq": lambda x: x * jnp.fft.fftfreq(x.shape[0]),
        "irfft": lambda x: jnp.fft.irfft(jnp.fft.rfft(x), x.shape[0]),
        "fft, padded": lambda x: jnp.fft.fft(x, 64),
    }),
    *rows("jnp.linalg", S, {
        "solve": lambda a: jnp.linalg.solve(a, jnp.ones(a.shape[0])),
        "inv": lambda a: jnp.linalg.inv(a),
        "matrix_power": lambda a: jnp.linalg.matrix_power(a / a.shape[0], 3),
        "symmetric": lambda a: (a + a.T) / 2,
        "lu": lambda a: jsp.linalg.lu_solve(jsp.linalg.lu_factor(a), a[0]),
        "solve_triangular": lambda a: jsp.linalg.solve_triangular(a, a[0], lower=True),
        "multi_dot": lambda a: jnp.linalg.multi_dot([a, a, a[0]]),
    }),
    *rows("jnp.linalg", S, {  # one row and two have formulas of their own
        "det": lambda a: jnp.linalg.slogdet(a),
    }, traces=4, executables=5),
    *rows("jnp.linalg", SPD, {
        "cholesky": lambda a: jnp.linalg.cholesky(a),
        "cho_solve": lambda a: jsp.linalg.cho_solve(jsp.linalg.cho_factor(a), a[0]),
        "eigvalsh": lambda a: jnp.linalg.eigvalsh(a),
    }),
    *rows("jnp.linalg", R, {
        "qr, r": lambda x: jnp.abs(jnp.linalg.qr(x.T @ x + 4 * jnp.eye(4))[1]),
        "pinv": lambda x: jnp.linalg.pinv(x),
        "lstsq": lambda x: jnp.linalg.lstsq(x, x[:, 0])[0],
        "svd, gram": lambda x: jnp.linalg.svd(x.T @ x, compute_uv=False),
        "pinv, normal": lambda x: jnp.linalg.solve(x.T @ x + jnp.eye(4), x.T),
    }),
]
NN = [
    *rows("nn", X, {
        "relu": lambda x: nn.relu(x),
        "gelu": lambda x: nn.gelu(x),
        "silu": lambda x: nn.silu(x),
        "sigmoid": lambda x: nn.sigmoid(x),
        "softplus": lambda x: nn.softplus(x),
        "leaky_relu": lambda x: nn.leaky_relu(x, 0.1),
        "elu": lambda x: nn.elu(x),
        "hard_tanh": lambda x: nn.hard_tanh(x),
        "softmax": lambda x: nn.softmax(x),
        "log_softmax": lambda x: nn.log_softmax(x),
        "logsumexp": lambda x: nn.logsumexp(x),
        "standardize": lambda x: nn.standardize(x),
        "log_sigmoid": lambda x: -nn.log_sigmoid(x).mean(),
    }),
    *rows("nn", I, {
        "one_hot": lambda i: nn.one_hot(i, 10),
        "one_hot, mean": lambda i: nn.one_hot(i, 10).mean(0),
    }),
    *rows("nn", M, {
        "softmax, axis": lambda x: nn.softmax(x, 0),
        "softmax, temperature": lambda x: nn.softmax(x / 0.5, -1),
        "glu": lambda x: nn.glu(jnp.concatenate([x, x], -1)),
        "causal": lambda x: nn.softmax(jnp.where(jnp.tri(x.shape[0]), x @ x.T, -jnp.inf)),
        "layer norm": lambda x: (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5),
        "rms norm": lambda x: x * lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-6),
        "batch norm": lambda x: (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5),
        "cross entropy": lambda x: -nn.log_softmax(x)[:, 0].mean(),
        "grad": jax.grad(lambda x: nn.logsumexp(x, -1).sum()),
    }),
    *rows("nn", (M, Arg("m", np.int32, lambda rng, shape: rng.integers(0, 2, shape))), {
        "cross entropy, labels": lambda x, y: -jnp.take_along_axis(nn.log_softmax(x), y[:, None], 1).mean(),
        "cross entropy, one_hot": lambda x, y: -(nn.log_softmax(x) * nn.one_hot(y, x.shape[1])).sum(-1).mean(),
        "accuracy": lambda x, y: (x.argmax(-1) == y).mean(),
    }),
    *rows("nn", (Arg("m, n, 2, 4"), Arg("m, n, 2, 4"), Arg("m, n, 2, 4")), {
        "dot_product_attention": lambda q, k, v: nn.dot_product_attention(q, k, v),
        "dot_product_attention, causal": lambda q, k, v: nn.dot_product_attention(q, k, v, is_causal=True),
        "attention": lambda q, k, v: jnp.einsum("bhij,bjhd->bihd", nn.softmax(jnp.einsum("bihd,bjhd->bhij", q, k) / 2), v),
    }, executables=9),  # where padding a batch to 16 would be noticed
    *rows("nn", R, {
        "dense": lambda x: nn.relu(x @ jnp.ones((4, 8))) @ jnp.ones((8, 1)),
        "rotary": lambda x: x * jnp.cos(jnp.arange(x.shape[0])[:, None] / 10000 ** (jnp.arange(4) / 4)),
        "embedding bag": lambda x: x.mean(0) @ jnp.ones((4, 2)),
        "max pool": lambda x: x.max(0),
        "contrastive": lambda x: -jnp.diag(nn.log_softmax(x @ x.T)).mean(),
        "hinge": lambda x: jnp.maximum(0, 1 - x).mean(-1),
        "mixup": lambda x: 0.3 * x + 0.7 * x[::-1],
        "value_and_grad": jax.value_and_grad(lambda x: (nn.tanh(x) ** 2).mean()),
        "vmap": jax.vmap(lambda v: v / (1 + jnp.linalg.norm(v))),
        "hessian": lambda x: jax.hessian(lambda w: (x @ w).var())(jnp.ones(4)),
    }),
]
LAX = [
    *rows("lax", X, {
        "cumlogsumexp": lambda x: lax.cumlogsumexp(x),
        "cummax, reverse": lambda x: lax.cummax(x, reverse=True),
        "associative_scan": lambda x: lax.associative_scan(jnp.add, x),
        "associative_scan, linear": lambda x: lax.associative_scan(lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), (nn.sigmoid(x), x))[1],
        "scan": lambda x: lax.scan(lambda c, a: (0.9 * c + a, c), 0.0, x),
        "scan, reverse": lambda x: lax.scan(lambda c, a: (0.9 * c + a,) * 2, 0.0, x, reverse=True)[1],
        "fori_loop": lambda x: lax.fori_loop(0, 3, lambda k, y: y * 0.5 + k, x),
        "fori_loop, by size": lambda x: lax.fori_loop(0, x.shape[0], lambda k, s: s + x[k], 0.0),
        "while_loop": lambda x: lax.while_loop(lambda y: jnp.abs(y).sum() > 1, lambda y: y / 2, x),
        "cond": lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
        "map": lambda x: lax.map(lambda a: a**2, x),
        "top_k": lambda x: lax.top_k(x, 1),
        "top_k, half": lambda x: lax.top_k(x, (x.shape[0] + 1) // 2),
        "top_k, quarter": lambda x: lax.top_k(x, max(1, x.shape[0] // 4))[0],
        "dynamic_slice": lambda x: lax.dynamic_slice(x, (1,), (1,)),
        "dynamic_slice_in_dim": lambda x: lax.dynamic_slice_in_dim(x, 0, x.shape[0] // 2 + 1),
        "dynamic_update_slice": lambda x: lax.dynamic_update_slice(x, jnp.zeros(1), (2,)),
        "dynamic_index_in_dim": lambda x: lax.dynamic_index_in_dim(x, 3, keepdims=False),
        "reduce_window": lambda x: lax.reduce_window(x, 0.0, lax.add, (3,), (1,), "SAME"),
        "reduce_window, max": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2,), (2,), "VALID"),
        "reduce": lambda x: lax.reduce(x, 0.0, lax.add, (0,)),
        "rev": lambda x: lax.rev(x, (0,)),
        "pad, lax": lambda x: lax.pad(x, 0.0, [(1, 1, 1)]),
        "sort_key_val": lambda x: lax.sort_key_val(x, jnp.arange(x.shape[0])),
        "select_n": lambda x: lax.select(x > 0, x, jnp.zeros_like(x)),
        "iota": lambda x: lax.iota(jnp.int32, x.shape[0]),
        "erf": lambda x: lax.erf(x),
        "stop_gradient": jax.grad(lambda x: (x * lax.stop_gradient(x.max() - x)).sum()),
        "argmax, lax": lambda x: lax.argmax(x, 0, jnp.int32),
        "clamp": lambda x: lax.clamp(-1.0, x, 1.0),
    }),
    *rows("lax", SIGNAL, {
        "conv": lambda x: lax.conv_general_dilated(x, jnp.ones((3, 3, 2)), (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")),
        "conv, valid": lambda x: lax.conv_general_dilated(x, jnp.ones((2, 3, 2)), (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")),
        "conv, strided": lambda x: lax.conv_general_dilated(x, jnp.ones((3, 3, 2)), (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")),
        "conv, causal": lambda x: lax.conv_general_dilated(x, jnp.ones((3, 3, 2)), (1,), [(2, 0)], dimension_numbers=("NWC", "WIO", "NWC")),
        "conv, dilated": lambda x: lax.conv_general_dilated(x, jnp.ones((2, 3, 2)), (1,), [(2, 0)], rhs_dilation=(2,), dimension_numbers=("NWC", "WIO", "NWC")),
        "average pool": lambda x: x.mean(1),
    }),
    *rows("lax", Arg("1, m, n, 2"), {
        "conv, image": lambda x: lax.conv_general_dilated(x, jnp.ones((3, 3, 2, 4)), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")),
        "conv, transposed": lambda x: lax.conv_transpose(x, jnp.ones((2, 2, 2, 3)), (2, 2), "SAME"),
        "max pool": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"),
    }),
    *rows("lax", (Arg("m, n, 3"), Arg("m, 3, n")), {
        "batch_matmul": lambda x, y: lax.batch_matmul(x, y),
        "dot_general": lambda x, y: lax.dot_general(x, y, (((2,), (1,)), ((0,), (0,)))),
    }),
    *rows("lax", M, {
        "scan, rows": lambda x: lax.scan(lambda c, row: (c + row.sum(), row.max()), 0.0, x),
        "top_k, rows": lambda x: lax.top_k(x, 2),
        "collapse": lambda x: lax.collapse(x, 0, 2),
        "broadcast_in_dim": lambda x: lax.broadcast_in_dim(x, (2, *x.shape), (1, 2)),
        "expand, lax": lambda x: lax.expand_dims(x, (1,)),
    }),
    *rows("random", X, {
        "normal": lambda x: x + random.normal(KEY, x.shape),
        "uniform": lambda x: random.uniform(KEY, (x.shape[0], 2)),
        "bernoulli": lambda x: jnp.where(random.bernoulli(KEY, 0.8, x.shape), x / 0.8, 0),
        "permutation": lambda x: random.permutation(KEY, x),
        "categorical": lambda x: random.categorical(KEY, x),
        "choice": lambda x: random.choice(KEY, x, (3,)),
        "randint": lambda x: random.randint(KEY, x.shape, 0, 10),
        "split": lambda x: random.normal(random.split(KEY)[0], x.shape),
        "gumbel": lambda x: jnp.argmax(x + random.gumbel(KEY, x.shape)),
    }),
    *rows("ops", (R, ID), {
        "segment_sum": lambda x, i: ops.segment_sum(x, i, 5),
        "segment_max": lambda x, i: ops.segment_max(x, i, num_segments=5),
        "scatter, mean": lambda x, i: jnp.zeros((5, 4)).at[i].add(x) / x.shape[0],
    }),
    *rows("image", IMAGE, {
        "resize": lambda x: jax.image.resize(x, (4, 4, 3), "linear"),
        "resize, nearest": lambda x: jax.image.resize(x, (6, 6, 3), "nearest"),
        "resize, doubled": lambda x: jax.image.resize(x, (2 * x.shape[0], 2 * x.shape[1], 3), "nearest"),
        "crop, centre": lambda x: x[x.shape[0] // 2, x.shape[1] // 2],
        "grey": lambda x: x @ jnp.array([0.3, 0.6, 0.1]),
        "flip": lambda x: x[:, ::-1],
    }),
]
SCIPY = [
    *rows("jsp", X, {
        "special.logsumexp": lambda x: jsp.special.logsumexp(x),
        "special.expit": lambda x: jsp.special.expit(x),
        "special.erf": lambda x: jsp.special.erf(x).sum(),
        "special.softmax": lambda x: jsp.special.softmax(x),
        "stats.norm.logpdf": lambda x: jsp.stats.norm.logpdf(x).sum(),
        "stats.norm.cdf": lambda x: jsp.stats.norm.cdf(x, 0.5, 2.0),
        "stats.t.logpdf": lambda x: jsp.stats.t.logpdf(x, 3.0),
        "stats.rankdata": lambda x: jsp.stats.rankdata(x),
        "stats.gaussian_kde": lambda x: jsp.stats.gaussian_kde(jnp.linspace(-1, 1, 5)).evaluate(x),
        "signal.fftconvolve": lambda x: jsp.signal.fftconvolve(x, jnp.ones(3)),
        "signal.detrend": lambda x: jsp.signal.detrend(x, type="constant"),
        "integrate.trapezoid": lambda x: jsp.integrate.trapezoid(x, dx=0.1),
        "linalg.toeplitz": lambda x: jsp.linalg.toeplitz(x),
        "linalg.block_diag": lambda x: jsp.linalg.block_diag(x[None], jnp.ones((1, 2))),
        "ndimage.map_coordinates": lambda x: jsp.ndimage.map_coordinates(x, [jnp.array([0.5, 1.5])], 1),
        "interpolate.RegularGridInterpolator": lambda x: jsp.interpolate.RegularGridInterpolator((jnp.arange(3.0),), jnp.array([0.0, 2.0, 1.0]), bounds_error=False)(x[:, None]),
        "spatial.Rotation": lambda x: Rotation.from_rotvec(x[:, None] * jnp.eye(3)[2]).as_matrix(),
        "sparse.linalg.cg": lambda x: jsp.sparse.linalg.cg(lambda v: 2 * v, x)[0],
    }),
    *rows("jsp", X, {  # the longer operand comes first, which at three may be either
        "signal.convolve": lambda x: jsp.signal.convolve(x, jnp.ones(3), mode="same"),
    }, traces=4, executables=5),
    *rows("jsp", X, {  # its halves depend on whether the size is even
        "fft.dct": lambda x: jsp.fft.dct(x),
    }, traces=5),
    *rows("jsp", POSITIVE, {
        "special.gammaln": lambda x: jsp.special.gammaln(x),
        "special.digamma": lambda x: jsp.special.digamma(x),
        "special.xlogy": lambda x: -jsp.special.xlogy(x, x).sum(),
        "special.entr": lambda x: jsp.special.entr(x / x.sum()).sum(),
        "special.kl_div": lambda x: jsp.special.kl_div(x, x[::-1]).sum(),
        "stats.gamma.logpdf": lambda x: jsp.stats.gamma.logpdf(x, 2.0),
        "stats.expon.pdf": lambda x: jsp.stats.expon.pdf(x),
        "stats.poisson.logpmf": lambda x: jsp.stats.poisson.logpmf(jnp.arange(3), x[:, None]),
    }),
    *rows("jsp", UNIT, {
        "special.logit": lambda x: jsp.special.logit(x),
        "special.ndtri": lambda x: jsp.special.ndtri(x),
        "stats.beta.logpdf": lambda x: jsp.stats.beta.logpdf(x, 2.0, 3.0),
        "special.betainc": lambda x: jsp.special.betainc(2.0, 3.0, x),
        "stats.bernoulli.logpmf": lambda x: jsp.stats.bernoulli.logpmf(1, x),
    }),
    *rows("jsp", M, {
        "special.logsumexp, axis": lambda x: jsp.special.logsumexp(x, axis=0),
        "signal.convolve2d": lambda x: jsp.signal.convolve2d(x, jnp.ones((2, 2)), mode="same"),
        "stats.multivariate_normal": lambda x: jsp.stats.multivariate_normal.logpdf(x[:, :1], jnp.zeros(1), jnp.eye(1)),
        "cluster.vq": lambda x: jsp.cluster.vq.vq(x, x[:1]),
        "stats.mode": lambda x: jsp.stats.mode(jnp.round(x), axis=0),
        "stats.sem": lambda x: jsp.stats.sem(x, axis=0, ddof=0),
    }),
    *rows("jsp", EIGHT, {
        "signal.stft": lambda x: jnp.abs(jsp.signal.stft(x, nperseg=8)[2]),
        "signal.stft, times": lambda x: jsp.signal.stft(x, nperseg=8)[:2],
        "signal.welch": lambda x: jsp.signal.welch(x, nperseg=8)[1],
    }, executables=7),  # of arrays eight times as long
    *rows("jsp", SPD, {
        "linalg.expm": lambda a: jsp.linalg.expm(a / a.shape[0] ** 2),
        "linalg.cholesky": lambda a: jsp.linalg.cholesky(a, lower=True),
        "linalg.solve": lambda a: jsp.linalg.solve(a, a[:, 0], assume_a="pos"),
    }),
]
# fmt: on

GROUPS = {"jax.numpy": NUMPY, "jax.nn": NN, "jax.lax and others": LAX, "jax.scipy": SCIPY}
ENTRIES = {entry.name: entry for entry in itertools.chain(*GROUPS.values())}
assert len(ENTRIES) == sum(map(len, GROUPS.values())), "two entries have one name"
