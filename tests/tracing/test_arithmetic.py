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
