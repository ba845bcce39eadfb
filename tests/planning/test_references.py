"""References and arrays that are too wide for the settings: exact runs, with a reason."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import ExactFallbackWarning, PlacementError


def vector(n: int) -> np.ndarray:
    return np.arange(1, n + 1, dtype=np.float32)


def test_references_that_a_function_closes_over_are_written_to():
    total = jax.new_ref(jnp.zeros(()))

    def add(x):
        total[...] = total[...] + x.sum()
        return x * 2

    f = sod2jax.optimize(add, shapes=("n",), constraints=("n <= 8",))
    with pytest.warns(ExactFallbackWarning, match=r"closes over a reference \(jax.Ref\)"):
        np.testing.assert_array_equal(f(vector(3)), 2 * vector(3))
    f(vector(5))
    assert float(total[...]) == 6 + 15
    assert "closes over a reference" in f.explain()


def test_references_among_the_arguments_are_written_to():
    def add(total, x):
        total[...] = total[...] + x
        return x.sum()

    f = sod2jax.optimize(add)
    with pytest.warns(ExactFallbackWarning, match=r"'total' of add is a reference"):
        for n in (3, 5, 4):
            total = jax.new_ref(jnp.zeros(n))
            assert float(f(total, vector(n))) == vector(n).sum()
            np.testing.assert_array_equal(total[...], vector(n))
    strict = sod2jax.optimize(add, on_unsupported="error")
    with pytest.raises(PlacementError):
        strict(jax.new_ref(jnp.zeros(3)), vector(3))


def test_arrays_of_64_bits_where_these_are_off():
    with jax.enable_x64(True):
        wide = jnp.arange(4, dtype=jnp.float64)

    def scaled(x, w):
        return x * w.astype(jnp.float32)[None]

    f = sod2jax.optimize(scaled, shapes=("n, 4", None))
    x = np.ones((3, 4), np.float32)
    with pytest.warns(ExactFallbackWarning, match=r"'w' of scaled is float64\[4\]"):
        seen = f(x, wide)
    np.testing.assert_array_equal(seen, jax.jit(scaled)(x, wide))
