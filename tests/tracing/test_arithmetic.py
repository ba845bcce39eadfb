"""Numbers of sizes that become arrays of a dtype, or leave in the static part of a result."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax

SIZES = (6, 1, 64, 100, 125, 200, 256)

PROGRAMS = {
    "int32": lambda x: jnp.int32(x.shape[0] * 0.29),
    "root": lambda x: jnp.int32(x.shape[0] ** (1 / 3)),
    "array": lambda x: jnp.array(x.shape[0] * 0.29, dtype=jnp.int32),
    "asarray": lambda x: jnp.asarray(x.shape[0] * 0.29, jnp.int16),
    "full": lambda x: jnp.full((2,), x.shape[0] * 0.29, jnp.int32),
    "lax full": lambda x: lax.full((2,), x.shape[0] * 0.29, jnp.int32),
    "full_like": lambda x: jnp.full_like(x, x.shape[0] * 0.29, dtype=jnp.int32),
    "position": lambda x: jnp.sort(x)[jnp.int32(0.29 * x.shape[0])],
    "float": lambda x: jnp.float32(x.shape[0] * 0.29),
    "half": lambda x: jnp.full((2,), x.shape[0] * 0.29, jnp.bfloat16),
}


@pytest.mark.parametrize("fun", PROGRAMS.values(), ids=PROGRAMS)
def test_digits_are_cut_once(fun):
    for options in ({"shapes": ("n",), "buckets": {"n": (256,)}, "poison": True}, {}):
        optimized = sod2jax.optimize(fun, **options)
        for size in SIZES:
            x = np.linspace(0, 1, size, dtype=np.float32)
            seen, want = optimized(x), jax.jit(fun)(x)
            assert (seen.dtype, seen.shape) == (want.dtype, want.shape)
            np.testing.assert_array_equal(seen, want)
        assert optimized.stats().exact_fallbacks == 0


# NumPy's arrays and sizes: 64 bits until JAX makes them shorter.
OF_ARRAYS = {
    "times": lambda x: x.sum() + (np.arange(70000) * (x.shape[0] * 10000) % 7)[-3:],
    "power": lambda x: x[0] + np.arange(9) ** x.shape[0] % 1000,
    "divided": lambda x: x[0] + np.arange(1, 9) / x.shape[0] * 3.3 % 1.0,
    "quotient": lambda x: x[0] + x.shape[0] // np.arange(1, 9),
    "remainder": lambda x: x[0] + -np.arange(1, 9) % x.shape[0],
    "short": lambda x: jnp.asarray(np.arange(5, dtype=np.uint8) + x.shape[0]),
    "half": lambda x: jnp.asarray(np.arange(5, dtype=np.float16) * x.shape[0]),
    "booleans": lambda x: jnp.asarray(np.array([True, False]) * x.shape[0]),
    "complex": lambda x: jnp.asarray(np.exp(-2j * np.pi * np.arange(4) / x.shape[0])),
    "compared": lambda x: x[0] * (np.arange(8) == x.shape[0]),
    "reduced": lambda x: x[0] * np.add.reduce(np.arange(8) + x.shape[0]),
    "of one": lambda x: x[0] * (np.ones(max(1, x.shape[0] % 9)) * x.shape[0]).sum(),
}


@pytest.mark.parametrize("fun", OF_ARRAYS.values(), ids=OF_ARRAYS)
def test_arrays_of_numpy_have_its_dtypes(fun):
    optimized = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (12,)}, audit=False)
    for size in (5, 1, 12, 7):
        x = np.linspace(1, 2, size, dtype=np.float32)
        seen, want = optimized(x), jax.jit(fun)(x)
        assert (seen.aval, seen.weak_type) == (want.aval, want.weak_type)
        np.testing.assert_allclose(seen, want, rtol=1e-6)
    assert optimized.stats().exact_fallbacks == 0


@pytest.mark.parametrize("count", [lambda n: n, lambda n: max(1, n % 9)])
def test_an_array_of_numpy_takes_no_traced_index(count):
    def fun(x):
        table = np.ones(count(x.shape[0]), np.float32) * x.shape[0]
        return table[x.astype(int) % 2]

    for size in (3, 1):
        with pytest.raises(jax.errors.TracerArrayConversionError):
            sod2jax.optimize(fun, shapes=("n",))(np.ones(size, np.float32))


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Scaled:
    x: jax.Array
    by: object = dataclasses.field(metadata={"static": True})


@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
@pytest.mark.parametrize(
    "by", [lambda n: n * 0.5, lambda n: (n // 2, n * 0.5), lambda n: {"half": n / 2}]
)
def test_numbers_in_the_static_part_of_a_result_are_known(by):
    optimized = sod2jax.optimize(lambda x: Scaled(x * 2, by(x.shape[0])), shapes=("n",))
    for size in (7, 3, 8):
        assert optimized(np.ones(size, np.float32)).by == by(size)
