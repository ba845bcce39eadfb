"""Functions of JAX that want sizes as numbers: scans, searches, shuffles, windows, indices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness

S = Arg("s")
BS = Arg("b, s")
KERNEL: Any = np.array([1.0, -2.0, 3.0], np.float32)
PROBES = np.array([[-9.0, 0.1], [np.nan, 9.0]], np.float32)
ROUNDED = Arg("s", np.float32, lambda rng, shape: np.round(rng.normal(size=shape)))
KEY = jax.random.PRNGKey(3)


def of_row(name: str, fun: Callable[[jax.Array], Any], arg: Arg = S, **kw: Any) -> Harness:
    """A harness for a function of one vector."""
    return Harness(f"numbers_{name}", fun, (arg,), **kw)


def square_sum(fun: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """Gradient of the sum of squares of what a function gives."""
    return jax.grad(lambda x: (fun(x) ** 2).sum())


def affine(a: Any, b: Any) -> Any:
    """Composition of ``y -> m * y + c``, first a and then b."""
    return a[0] * b[0], b[0] * a[1] + b[1]


def matrices(x: jax.Array) -> jax.Array:
    """[s, 2, 2] from x: [s]; they do not commute."""
    return jnp.sin(x[:, None, None] * jnp.arange(1.0, 5.0).reshape(1, 2, 2))


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum("...ij,...jk->...ik", a, b)


def harmonic(a: jax.Array, b: jax.Array) -> jax.Array:
    """Associative, and singular at zeros."""
    return a * b / (a + b)


ASSOCIATIVE = [
    of_row("associative_sum", lambda x: lax.associative_scan(jnp.add, x)),
    of_row("associative_reverse", lambda x: lax.associative_scan(jnp.add, x, reverse=True)),
    of_row("associative_tree", lambda x: lax.associative_scan(affine, (jnp.tanh(x), x))),
    of_row("associative_matrices", lambda x: lax.associative_scan(product, matrices(x))),
    of_row("associative_bool", lambda x: lax.associative_scan(jnp.logical_xor, x > 0)),
    of_row("associative_bounded", lambda x: lax.associative_scan(jnp.maximum, x),
           constraints=("s <= 8",)),
    of_row("associative_twice_the_size",
           lambda x: lax.associative_scan(jnp.add, jnp.concatenate([x, x]))),
    of_row("associative_grad",
           square_sum(lambda x: lax.associative_scan(affine, (jnp.tanh(x), x))[1])),
    of_row("associative_singular_grad",
           square_sum(lambda x: lax.associative_scan(harmonic, jnp.abs(x) + 0.1))),
    Harness("numbers_associative_last_axis",
            lambda x: lax.associative_scan(jnp.multiply, x, axis=-1), (BS,)),
    Harness("numbers_associative_vmap",
            jax.vmap(lambda x: lax.associative_scan(jnp.add, x, reverse=True)), (BS,)),
]  # fmt: skip

LOOPS = [
    of_row("scan_length", lambda x: lax.scan(
        lambda c, _: (c * 0.5 + x.sum(), c), 0.0, None, length=x.shape[0])),
    of_row("scan_length_and_xs", lambda x: lax.scan(
        lambda c, y: (c * 0.5 + y, c), 0.0, x, length=len(x))),
    of_row("scan_half_length", lambda x: lax.scan(
        lambda c, _: (c + 1, c * 2), 0, None, length=x.shape[0] // 2 + 1)),
    of_row("scan_length_grad", square_sum(lambda x: lax.scan(
        lambda c, _: (c * 0.5 + x, None), x, None, length=x.shape[0])[0])),
    of_row("len", lambda x: x[: len(x) // 2 + 1] / len(x)),
]  # fmt: skip

INDICES = [
    of_row("index_middle", lambda x: x[x.shape[0] // 2]),
    of_row("index_negative", lambda x: x[1 - x.shape[0]]),
    of_row("index_beyond", lambda x: x[x.shape[0] + 2]),
    of_row("index_grad", square_sum(lambda x: x[x.shape[0] - 1])),
    of_row("index_set", lambda x: x.at[x.shape[0] // 2].set(3.0)),
    of_row("index_set_beyond", lambda x: x.at[x.shape[0]].set(3.0)),
    of_row("index_add", lambda x: x.at[x.shape[0] - 1].add(x[0])),
    of_row("index_get", lambda x: x.at[x.shape[0]].get(mode="fill", fill_value=7.0)),
    Harness("numbers_index_column", lambda x: x[:, x.shape[1] - 1], (BS,)),
    Harness("numbers_index_row_part", lambda x: x[x.shape[0] // 2, 1:], (BS,)),
    Harness("numbers_index_mixed", lambda x: x[jnp.array([0, 0]), x.shape[1] - 1], (BS,)),
    of_row("take_wrap", lambda x: jnp.take(x, jnp.array([-1, 0, 40, -40]), mode="wrap")),
    of_row("pad_wrap", lambda x: jnp.pad(x, (5, 17), mode="wrap")),
    of_row("pad_wrap_grad", square_sum(lambda x: jnp.pad(x, 3, mode="wrap"))),
    Harness("numbers_pad_wrap_axes", lambda x: jnp.pad(x, ((1, 2), (3, 0)), mode="wrap"), (BS,)),
    of_row("circular_convolution", lambda x: nn.Conv(2, (3,), padding="CIRCULAR").apply(
        {"params": {"kernel": jnp.ones((3, 1, 2)), "bias": jnp.zeros(2)}}, x[None, :, None])),
    of_row("delete", lambda x: jnp.delete(x, x.shape[0] // 2)),
]  # fmt: skip

SEARCHES = [
    of_row(f"searchsorted_{method}_{side}", lambda x, method=method, side=side: jnp.searchsorted(
        jnp.sort(x), PROBES, method=method, side=side))
    for method in ("scan", "scan_unrolled", "sort", "compare_all")
    for side in ("left", "right")
]  # fmt: skip
SEARCHES += [
    of_row("searchsorted_unsorted", lambda x: jnp.searchsorted(x, PROBES)),
    of_row("searchsorted_sorter", lambda x: jnp.searchsorted(x, PROBES, sorter=jnp.argsort(x))),
    of_row("searchsorted_itself", lambda x: jnp.searchsorted(jnp.sort(x), x), ROUNDED),
    of_row("searchsorted_nan", lambda x: jnp.searchsorted(
        jnp.sort(jnp.where(x > 0.5, jnp.nan, x)), PROBES, side="right")),
    Harness("numbers_searchsorted_rows",
            jax.vmap(lambda x: jnp.searchsorted(jnp.sort(x), 0.25)), (BS,)),
    of_row("digitize", lambda x: jnp.digitize(PROBES, -jnp.sort(-x), right=True)),
    of_row("interp", lambda x: jnp.interp(PROBES, jnp.sort(x), x, left=-1.0)),
    of_row("interp_grad", square_sum(
        lambda x: jnp.interp(jnp.array([0.1, 0.5]), jnp.arange(x.shape[0]) * 0.3, x))),
    of_row("histogram", lambda x: jnp.histogram(x, bins=x.shape[0])),
    of_row("unique", lambda x: jnp.unique(x, size=x.shape[0], return_inverse=True), ROUNDED),
    of_row("choice_weighted", lambda x: jax.random.choice(KEY, x, (4,), p=jax.nn.softmax(x))),
]  # fmt: skip

CONVOLUTIONS = [
    of_row(f"{fun.__name__}_{mode}", lambda x, fun=fun, mode=mode: fun(x, KERNEL, mode=mode))
    for fun in (jnp.convolve, jnp.correlate)
    for mode in ("full", "same", "valid")
] + [
    of_row("convolve_itself", lambda x: jnp.convolve(x, x, mode="same")),
    of_row("convolve_grad", square_sum(lambda x: jnp.convolve(x, KERNEL))),
    of_row("correlate_complex", lambda x: jnp.correlate(x + 1j * x[::-1], KERNEL + 1j, "full")),
    of_row("signal_convolve", lambda x: jax.scipy.signal.convolve(x, KERNEL, mode="same")),
    of_row("signal_fftconvolve", lambda x: jax.scipy.signal.fftconvolve(x, x, mode="same")),
    of_row("fft_longer", lambda x: jnp.fft.fft(x, n=x.shape[0] + 1)),
]


def strided(x: jax.Array, kernel: Any, stride: int, padding: Any, **kw: Any) -> jax.Array:
    """Convolution of a row: [s] -> [t]."""
    return lax.conv_general_dilated(x[None, None], kernel[None, None], (stride,), padding, **kw)


CONVOLUTIONS += [
    of_row("strided_grad", square_sum(lambda x: strided(x, KERNEL, 2, "SAME"))),
    of_row("strided_grad_by_3", square_sum(lambda x: strided(x, KERNEL, 3, [(2, 1)]))),
    of_row("strided_grad_dilated", square_sum(
        lambda x: strided(x, KERNEL, 2, [(2, 1)], lhs_dilation=(2,), rhs_dilation=(2,)))),
    of_row("strided_kernel_grad",
           lambda x: square_sum(lambda kernel: strided(x, kernel, 2, "SAME"))(KERNEL)),
    of_row("symbolic_padding", lambda x: strided(x, KERNEL, 2, [(x.shape[0], 1)])),
]  # fmt: skip

SHUFFLES = [
    of_row("permutation", lambda x: jax.random.permutation(KEY, x)),
    of_row("permutation_of_size", lambda x: jax.random.permutation(KEY, x.shape[0])),
    Harness("numbers_permutation_axis", lambda x: jax.random.permutation(KEY, x, axis=1), (BS,)),
    Harness("numbers_permutation_independent",
            lambda x: jax.random.permutation(KEY, x, axis=1, independent=True), (BS,)),
    of_row("choice_all", lambda x: jax.random.choice(KEY, x, x.shape, replace=False)),
    of_row("choice_some", lambda x: jax.random.choice(KEY, x, (3,), replace=False),
           constraints=("s >= 3",)),
]  # fmt: skip

SIZES = [
    *(of_row(name, lambda x, name=name: getattr(jnp, name)(x.shape[0]))
      for name in ("hanning", "hamming", "blackman", "bartlett")),
    of_row("kaiser", lambda x: jnp.kaiser(x.shape[0], 5.0)),
    of_row("logspace", lambda x: jnp.logspace(0, 2, x.shape[0])),
    of_row("geomspace", lambda x: jnp.geomspace(1, 100, x.shape[0])),
    of_row("indices", lambda x: jnp.indices((x.shape[0], 2))),
    Harness("numbers_squeeze", lambda x: x[:, None].squeeze(), (BS,)),
    of_row("power", lambda x: jnp.tanh(x) ** x.shape[0]),
]  # fmt: skip

PRODUCTS = [
    of_row("prod_grad", jax.grad(jnp.prod)),
    of_row("prod_grad_at_zeros", jax.grad(jnp.prod), ROUNDED),
    Harness("numbers_prod_grad_axis", square_sum(lambda x: jnp.prod(x, axis=1)), (BS,)),
    Harness("numbers_prod_grad_axes", jax.grad(jnp.prod), (BS,)),
    of_row("prod_jvp", lambda x: jax.jvp(jnp.prod, (x,), (x[::-1],))),
    of_row("cumprod_grad", square_sum(jnp.cumprod)),
    of_row("cumlogsumexp_grad", square_sum(lambda x: lax.cumlogsumexp(x, reverse=True))),
]

HARNESSES = [
    *ASSOCIATIVE,
    *LOOPS,
    *INDICES,
    *SEARCHES,
    *CONVOLUTIONS,
    *SHUFFLES,
    *SIZES,
    *PRODUCTS,
]
