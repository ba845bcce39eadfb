"""Reductions over windows: what cannot be exact."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.errors import UnsupportedPrimitiveError


def test_a_reducer_without_known_identity_is_refused_where_lanes_must_be_filled() -> None:
    @sod2jax.optimize(shapes=("s",), constraints=("s <= 8",), on_unsupported="error")
    def f(x: jax.Array) -> jax.Array:
        return lax.reduce_window(x, 0.0, lambda a, b: a + 2 * b, (3,), (1,), "SAME")

    with pytest.raises(UnsupportedPrimitiveError, match="no identity that is known"):
        f(np.ones(5, np.float32))


def test_a_kernel_of_symbolic_size_meets_no_lane_outside_its_windows() -> None:
    @sod2jax.optimize(
        shapes=("s", "t"), constraints=("t <= 4", "s <= 16", "s >= 8"), on_unsupported="error"
    )
    def f(x: jax.Array, k: jax.Array) -> jax.Array:
        return lax.conv(x[None, None], k[None, None], (1,), "VALID")[0, 0]

    x = np.zeros(9, np.float32)
    x[8] = np.inf
    result = np.asarray(f(x, np.ones(2, np.float32)))
    assert np.isfinite(result[:7]).all()
    assert result[7] == np.inf


def test_windows_by_doubling_equal_windows_one_by_one() -> None:
    @sod2jax.optimize(shapes=("s", "t"), constraints=("s <= 16", "t <= 7"), on_unsupported="error")
    def f(x: jax.Array, y: jax.Array) -> jax.Array:
        return lax.reduce_window(x, -jnp.inf, lax.max, y.shape, (1,), "SAME")

    x = np.random.default_rng(0).normal(size=13).astype(np.float32)
    for size in range(1, 8):
        low = (size - 1) // 2
        padded = np.pad(x, (low, size - 1 - low), constant_values=-np.inf)
        expected = np.lib.stride_tricks.sliding_window_view(padded, size).max(1)
        np.testing.assert_array_equal(f(x, np.ones(size, np.float32)), expected)
