"""Traces that differ in structure: what sizes tell them apart."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.tracing.generalise.splits import splitting

POINTS = [{"n": n} for n in (1, 3, 8, 12, 17, 24, 25, 40, 61, 90, 97, 130)]


@pytest.mark.parametrize(
    ("is_alike", "own", "text"),
    [
        (lambda n: n % 2 == 0, 12, "n % 2 == 0"),
        (lambda n: n % 2 == 0, 17, "n % 2 == 1"),
        (lambda n: n % 3 == 1, 40, "n % 3 == 1"),
        (lambda n: n > 20, 90, "n >= 21"),
        (lambda n: n > 20, 8, "20 >= n"),
        (lambda n: 10 < n < 70, 24, "n >= 11"),
        (lambda n: n in (8, 25, 130), 25, "None"),
    ],
)
def test_finds_the_question(is_alike, own, text):
    side = is_alike(own)
    alike = [p for p in POINTS if is_alike(p["n"]) == side]
    others = [p for p in POINTS if is_alike(p["n"]) != side]
    found = splitting({"n": own}, alike, others, lambda sizes: is_alike(sizes["n"]) == side)
    assert str(found) == text


def parity(x):
    y = x * float(int(x.shape[0]))
    return y[::2] if int(x.shape[0]) % 2 == 0 else y[1::2] + 1


def threshold(x):
    size = int(x.shape[0])
    return x * float(size) if size > 9 else x.cumsum() + float(size)


@pytest.mark.parametrize("fun", [parity, threshold])
def test_each_structure_has_a_program(fun):
    optimized = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 40",), poison=True)
    for size in (40, 5, 13, 29, 20, 6):
        x = np.random.default_rng(size).normal(size=size).astype(np.float32)
        np.testing.assert_allclose(optimized(x), jax.jit(fun)(x), rtol=1e-5, atol=1e-5)
    assert optimized.stats().exact_fallbacks == 0
    assert len(optimized.planner.specialisations) == 2


def test_an_error_of_the_function_is_told_as_it_is():
    def fun(x):
        return x.foo() + jnp.ones(int(x.shape[0]))

    optimized = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (16,)})
    strict = sod2jax.optimize(fun, shapes=("n",), on_unsupported="error")
    for function in (optimized, strict):
        with pytest.raises(AttributeError, match="foo"):
            function(np.ones(5, np.float32))
