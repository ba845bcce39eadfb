"""Constants are equal bit by bit; what is computed from sizes, but for rounding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.tracing.audit.numbering import Numbering

NEAR = [
    ("float32", 1000001.0, 1000003.0),
    ("bfloat16", 129.0, 130.0),
    ("float16", 1001.0, 1001.5),
    ("float32", 0.0, -0.0),
]


@pytest.mark.parametrize(("dtype", "one", "other"), NEAR)
def test_near_constants_are_not_equal(dtype: str, one: float, other: float):
    numbering = Numbering()
    arrays = [np.asarray(value).astype(jnp.dtype(dtype)) for value in (one, other, one)]
    numbers = [numbering.constant(array).number for array in arrays]
    assert numbers[0] == numbers[2] != numbers[1]


def test_what_is_computed_from_sizes_is_equal_but_for_rounding():
    numbering = Numbering()
    one = np.float32(1.0)
    of_sizes = numbering.constant(np.nextafter(one, np.float32(2)), of_sizes=True)
    assert numbering.constant(one).number == of_sizes.number
    assert numbering.constant(np.float32(1.00001)).number != of_sizes.number
    assert numbering.constant(np.float32(1.00001), of_sizes=True).number != of_sizes.number


@pytest.mark.parametrize(("dtype", "usual", "at_25"), NEAR)
def test_a_constant_of_one_size_is_that(dtype: str, usual: float, at_25: float):
    def fun(x: jax.Array) -> jax.Array:
        return 1 / (x + jnp.asarray({25: at_25}.get(x.shape[0], usual), dtype))

    function = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 40",))
    for size in (12, 7, 25):
        x = jnp.asarray(np.full(size, -0.0), dtype)
        np.testing.assert_array_equal(function(x), jax.jit(fun)(x))


def test_numbers_made_of_sizes_are_no_difference():
    def fun(x: jax.Array) -> jax.Array:
        n = x.shape[0]
        table = np.sin(np.arange(n) / n).astype(np.float32)
        return (x * n**-0.5 + np.log(n + 1) / np.sqrt(3 * n)) * table

    function = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (40,)}, on_unsupported="error")
    for size in (1, 12, 7, 25, 39):
        function(np.ones(size, np.float32))
    (program,) = function.planner.specialisations
    assert not program.trust.doubts
