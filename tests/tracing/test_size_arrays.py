"""NumPy's arrays of sizes have the dtype of numbers in the user's code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax

Asks = Callable[[tuple[Any, ...]], bool]
AS_NUMBERS: dict[str, Asks] = {
    "shape": lambda s: np.array(s).dtype == np.int64,
    "size": lambda s: np.array(s[0]).dtype == np.int64,
    "asarray": lambda s: np.issubdtype(np.asarray(s).dtype, np.integer),
    "mixed with numbers": lambda s: np.array([s[0], 4]).dtype.kind == "i",
    "computed": lambda s: (np.array(s) // 2).dtype == np.int64,
    "running": lambda s: np.cumsum(s).dtype == np.int64,
    "integer": lambda s: isinstance(np.prod(s), np.integer),
    "no int": lambda s: not isinstance(np.prod(s), int),
    "element": lambda s: isinstance(np.array(s)[0], np.int64),
    "method": lambda s: isinstance(np.array(s).prod(), np.integer),
    "dtype of a number": lambda s: np.prod(s).dtype == np.int64 and np.prod(s).ndim == 0,
    "item": lambda s: np.prod(s).item() > 0,
}
DOUBTFUL: dict[str, Asks] = {
    "floats": lambda s: np.array([s[0], 1.5]).dtype == np.float64,
    "itemsize": lambda s: np.array(s).itemsize == 8,
    "bytes": lambda s: np.array(s).nbytes == 16,
    "strides": lambda s: np.array(s).strides == (8,),
}


def branching(asks: Asks) -> Callable[[jax.Array], jax.Array]:
    return lambda x: x * 2 if asks(x.shape) else x * 3


def assert_doubles(f: Any) -> None:
    for size in (6, 5, 1):
        x = np.ones((size, 3), np.float32)
        np.testing.assert_array_equal(f(x), 2 * x)


@pytest.mark.parametrize("name", AS_NUMBERS)
def test_arrays_of_sizes_are_of_integers(name):
    f = sod2jax.optimize(branching(AS_NUMBERS[name]), shapes=("n, 3",), audit=False)
    assert_doubles(f)
    assert "trust: proved" in f.explain()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_is_not_known_of_them_is_a_doubt(name):
    f = sod2jax.optimize(branching(DOUBTFUL[name]), shapes=("n, 3",), audit=False)
    assert_doubles(f)
    assert "trust: checked" in f.explain()


def test_what_is_made_of_them_is_as_before():
    def fun(x: jax.Array) -> Any:
        sizes = np.array(x.shape)
        return jnp.zeros(sizes), x.reshape(sizes[::-1]), jnp.full(3, sizes.prod()), sizes.max() + 1

    f = sod2jax.optimize(fun, shapes=("n, 3",), audit=False)
    for size in (6, 5, 4):
        x = np.ones((size, 3), np.float32)
        for got, want in zip(*map(jax.tree.leaves, (f(x), jax.jit(fun)(x))), strict=True):
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            np.testing.assert_array_equal(got, want)
