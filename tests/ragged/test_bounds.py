"""Padded arrays say how large a size can be: programs that need an upper bound get that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax

NEED_BOUNDS: dict[str, Callable[[jax.Array], Any]] = {
    "share": lambda x: x[: math.ceil(0.3 * x.shape[0])].sum(),
    "rounded": lambda x: x[: 1 + round(0.7 * x.shape[0]) // 2] ** 2,
    "root": lambda x: jnp.cumsum(x[: math.isqrt(x.shape[0])]),
    "power_of_two": lambda x: jnp.pad(x, (0, (1 << (x.shape[0] - 1).bit_length()) - x.shape[0])),
}


def _padded(length: int, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    data = np.full((len(sizes), length), np.nan, np.float32)
    for row, size in zip(data, sizes, strict=True):
        row[:size] = np.arange(1, size + 1)
    return data, np.array(sizes, np.int32)


def _check(fun: Callable[..., Any], results: Any, data: np.ndarray, sizes: np.ndarray) -> None:
    results = results.data if isinstance(results, sod2jax.Ragged) else results
    for row, size, result in zip(data, sizes, np.asarray(results), strict=True):
        wanted = np.asarray(jax.jit(fun)(row[:size]))
        np.testing.assert_allclose(result[tuple(map(slice, wanted.shape))], wanted, rtol=1e-5)


@pytest.mark.parametrize("name", NEED_BOUNDS)
def test_the_length_of_a_padded_array_bounds_its_sizes(name: str) -> None:
    fun = NEED_BOUNDS[name]
    rows = sod2jax.ragged_vmap(fun, shapes=("n",), on_unsupported="error")
    for length, sizes in ((16, (1, 16, 9)), (24, (23, 2, 17))):
        data, true = _padded(length, sizes)
        _check(fun, rows((data, true)), data, true)
        _check(fun, jax.jit(lambda a, s: rows((a, s)))(data, true), data, true)


def test_bounds_of_two_sizes() -> None:
    def share(x: jax.Array) -> jax.Array:
        return x.reshape(-1)[: math.ceil(0.3 * x.shape[0] * x.shape[1])].sum()

    rows = sod2jax.ragged_vmap(share, shapes=("n, m",), on_unsupported="error")
    data = np.arange(2 * 6 * 5, dtype=np.float32).reshape(2, 6, 5)
    n, m = np.array([6, 3], np.int32), np.array([2, 5], np.int32)
    results = jax.jit(lambda a, n, m: rows(sod2jax.Ragged(a, {"n": n, "m": m})))(data, n, m)
    wanted = [share(x[:i, :j]) for x, i, j in zip(data, n, m, strict=True)]
    np.testing.assert_allclose(results, wanted)


def test_gradients_with_traced_sizes() -> None:
    def loss(x: jax.Array) -> jax.Array:
        return (x[: math.ceil(0.3 * x.shape[0])] ** 2).mean()

    rows = sod2jax.ragged_vmap(loss, shapes=("n",))
    data, true = _padded(16, (1, 16, 9))
    grads = jax.jit(jax.grad(lambda a, s: rows((a, s)).sum()))(data, true)
    for row, size, grad in zip(data, true, grads, strict=True):
        np.testing.assert_allclose(grad[:size], jax.grad(loss)(row[:size]), rtol=1e-5)
        assert not np.any(grad[size:])


def test_what_needs_no_bound_has_one_program_for_all_lengths() -> None:
    traced: list[int] = []

    def mean(x: jax.Array) -> jax.Array:
        traced.append(1)
        return x.mean()

    rows = sod2jax.ragged_vmap(mean, shapes=("n",))
    counts = []
    for length in (8, 12, 20):
        rows(_padded(length, (1, length)))
        counts.append(len(traced))
    assert counts[0] == counts[2]
