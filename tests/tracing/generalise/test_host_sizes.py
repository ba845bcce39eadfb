"""Sizes that only the host computes: symbols of the program, bounded by those of the call."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.ir import dims
from sod2jax.tracing.generalise.host_sizes import HostSize, upper_bounds
from tests.tracing.compare import assert_as_under_jit

CURVES = {
    "tenth": (lambda n: int(0.1 * n) + 1, 1.2),
    "root": (lambda n: int(n**0.5), 2.0),
    "power_of_two": (lambda n: 2 ** math.ceil(math.log2(n)), 2.1),
    "bits": (lambda n: n.bit_length(), 2.5),
    "rest": (lambda n: n - int(0.3 * n), 1.1),
}


@pytest.mark.parametrize("name", CURVES)
def test_bounds_hold_between_the_samples_and_are_not_wide(name):
    function, wide = CURVES[name]
    points = [{"n": n} for n in (1, 7, 12, 25, 50, 96, 97, 180, 340, 512)]
    limits = upper_bounds("h", [function(p["n"]) for p in points], points)
    for n in range(1, 513):
        assert all(limit.holds({"n": n, "h": function(n)}) for limit in limits)
    tightest = min(dims.evaluate(limit.left, {"n": 512}) for limit in limits)
    assert tightest <= wide * function(512) + 3


def test_a_product_bounds_what_follows_it():
    points = [{"m": m, "n": n} for m, n in ((3, 5), (8, 9), (20, 4), (31, 17), (5, 60))]
    limits = upper_bounds("h", [int(0.3 * p["m"] * p["n"]) + 1 for p in points], points)
    assert all(limit.holds({"m": 40, "n": 50, "h": 601}) for limit in limits)
    assert min(dims.evaluate(limit.left, {"m": 40, "n": 50}) for limit in limits) < 700


def test_a_symbol_is_one_at_least():
    size = HostSize("h", 1, 3, "its line")
    assert size.read((9, -2)) == 1
    assert dims.evaluate(size.dim, {"h": 1}) == -2


def root(x):
    rows = int(x.shape[0] ** 0.5)
    return jnp.outer(jnp.arange(rows) * x[0], jnp.arange(1.0, rows + 1)).reshape(-1)


PROGRAMS = {
    "tenth": lambda x: lax.top_k(x, int(0.29 * x.shape[0]) + 1)[0],
    "split": lambda x: (x[: int(0.3 * x.shape[0])].cumsum(), x[int(0.3 * x.shape[0]) :] * 2),
    "root": root,
    "logarithm": lambda x: jnp.zeros((int(math.log2(x.shape[0])) + 1, 2)) + x.sum(),
    "gradient": jax.grad(lambda x: (x[: int(0.37 * x.shape[0])] ** 2).sum()),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_the_concrete_program(name):
    fun = PROGRAMS[name]
    optimized = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (16, 40)}, poison=True)
    assert_as_under_jit(fun, optimized, (40, 5, 13, 29, 16, 38), atol=1e-5)
    stats = optimized.stats()
    assert (stats.exact_fallbacks, stats.compiles) == (0, 2)
    assert "checked" in optimized.explain()


def test_bare():
    def fun(x):
        return jnp.zeros((math.isqrt(x.shape[0]), 2)) + x.sum()

    optimized = sod2jax.optimize(fun, poison=True)
    for size in (40, 5, 13, 29, 1, 90):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(optimized(x), jax.jit(fun)(x))
    assert optimized.stats().exact_fallbacks == 0


def test_a_size_over_its_bound_runs_with_exact_shapes():
    def fun(x):
        rows = int(0.37 * x.shape[0]) if x.shape[0] != 23 else 400
        return jnp.zeros(rows) + x.sum()

    optimized = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (40,)}, poison=True)
    for size in (40, 11):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(optimized(x), jax.jit(fun)(x))
    assert optimized.stats().exact_fallbacks == 0
    x = np.ones(23, np.float32)
    optimized(x)
    assert optimized(x).shape == (400,)
