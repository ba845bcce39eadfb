"""What NumPy computes of sizes has NumPy's dtypes, and is a size where it is part of a shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax

Fun = Callable[[jax.Array], Any]
PROVED: dict[str, Fun] = {
    "sum": lambda x: (x, np.sum(x.shape)),
    "product": lambda x: np.prod(x.shape),
    "mean": lambda x: np.mean(x.shape),
    "running": lambda x: (x, np.cumsum(x.shape)[1]),
    "element": lambda x: np.array(x.shape)[0],
    "method": lambda x: np.asarray(x.shape).prod(),
    "negative": lambda x: -np.prod(x.shape),
    "difference": lambda x: np.prod(x.shape) - np.prod(x.shape),
    "quotient": lambda x: divmod(np.prod(x.shape), 2),
    "power": lambda x: x.astype(jnp.bfloat16) * np.prod(x.shape) ** -0.5,
    "half": lambda x: x.astype(jnp.bfloat16) * (np.prod(x.shape) * 0.5),
    "scalar on the left": lambda x: x.astype(jnp.int8) * (np.int64(2) * x.shape[0]),
    "scalar on the right": lambda x: x.astype(jnp.int8) * (x.shape[0] * np.int64(2)),
    "no scalar": lambda x: x.astype(jnp.int8) * (x.shape[0] * 2),
    "inner": lambda x: jax.jit(lambda y: y.astype(jnp.int8) * np.sum(y.shape))(x),
    "shape": lambda x: x.reshape(np.prod(x.shape)),
    "size of its result": lambda x: x.reshape(np.prod(x.shape), -1).shape[0],
    "shapes": lambda x: jnp.zeros(np.prod(x.shape)) + x.ravel(),
    "filled": lambda x: jnp.full(3, np.prod(x.shape)),
    "slice": lambda x: x[: np.prod(x.shape) // 6],
    "range": lambda x: (jnp.arange(np.prod(x.shape)), np.arange(np.prod(x.shape))),
    "decision": lambda x: x * 2 if np.prod(x.shape) > 12 else x * 3,
    "absolute": lambda x: jnp.zeros(abs(x.shape[0] - 5) + 1) * abs(-x.shape[0]),
    "larger": lambda x: max(np.prod(x.shape), 7),
    "least": lambda x: (x, np.minimum(x.shape[0], 3), np.fmin(9, x.shape[0])),
    "greatest": lambda x: x.astype(jnp.int8) * np.maximum(x.shape[0], 3),
    "added": lambda x: x.astype(jnp.int8) * np.add(x.shape[0], 1),
    "added to a real": lambda x: x.astype(jnp.bfloat16) * np.add(x.shape[0], 0.5),
    "multiplied": lambda x: x.astype(jnp.int8) * np.multiply(x.shape[0], x.shape[1]),
    "squared": lambda x: np.square(x.shape[0]) - np.power(x.shape[0], 2) + np.negative(x.shape[0]),
    "divided": lambda x: (np.floor_divide(x.shape[0], 3), np.remainder(x.shape[0], 3)),
    "a shape of the least": lambda x: jnp.zeros(np.minimum(x.shape[0], 20) + 1) + x.sum(),
    "reduced": lambda x: (x, np.add.reduce(list(x.shape)), isinstance(np.add, np.ufunc)),
}


def assert_same(f: Any, fun: Fun, size: int) -> None:
    x = np.arange(3 * size, dtype=np.float32).reshape(size, 3)
    for got, want in zip(*map(jax.tree.leaves, (f(x), jax.jit(fun)(x))), strict=True):
        assert (got.shape, got.dtype, got.weak_type) == (want.shape, want.dtype, want.weak_type)
        np.testing.assert_allclose(*(np.asarray(y, np.float64) for y in (got, want)), rtol=1e-5)


@pytest.mark.parametrize("name", PROVED)
def test_equals_the_concrete_program(name):
    fun = PROVED[name]
    f = sod2jax.optimize(fun, shapes=("n, 3",), buckets={"n": (13,)}, poison=True)
    for size in (5, 1, 13, 8):
        assert_same(f, fun, size)
    assert f.stats().exact_fallbacks == 0
    assert "trust: checked" not in f.explain()


NUMBERS: dict[str, Fun] = {
    "float": lambda x: x * float(np.prod(x.shape)),
    "int": lambda x: x.reshape(int(np.prod(x.shape))),
    "membership": lambda x: x * 2 if 40 in range(x.shape[0]) else x * 3,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_relations_that_give_no_number_are_not_tried(name):
    f = sod2jax.optimize(NUMBERS[name])
    for size in (5, 8, 16, 24):  # multiples of 8, in which the number is none, either
        assert_same(f, NUMBERS[name], size)
    assert f.stats().traces <= 3
    assert f.stats().exact_fallbacks == 0


def test_a_relation_that_gives_the_number_is_tried():
    def fun(x, y):
        return sum(x * k for k in range(x.shape[0] // y.shape[0])) + 0 * y.sum()

    f = sod2jax.optimize(fun)
    with warnings.catch_warnings(action="error"):
        for size in (2, 5, 7, 4):
            x, y = np.ones(3 * size, np.float32), np.ones(size, np.float32)
            np.testing.assert_array_equal(f(x, y), 3 * x)
    assert len(f.planner.specialisations[-1].regime.symbols) == 1
    assert f.stats().exact_fallbacks == 0
