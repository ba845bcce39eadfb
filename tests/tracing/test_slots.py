"""Functions that call methods of numbers by name are doubted, as compiled code asks nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import sod2jax


def helper(k: int, n: Any) -> bool:
    return k.__eq__(n) is True


EQUAL, IS_FIVE = int.__eq__, (5).__eq__

BY_NAME: dict[str, Callable[[Any], bool]] = {
    "equal": lambda n: (5).__eq__(n) is True,
    "mapped": lambda n: True in map((5).__eq__, (n,)),
    "helper": lambda n: helper(5, n),
    "of the class": lambda n: int.__eq__(5, n) is True,
    "of the class, mapped": lambda n: list(map(int.__eq__, (5,), (n,))) == [True],
    "by another name": lambda n: EQUAL(5, n) is True,
    "of a number, by another name": lambda n: IS_FIVE(n) is True,
    "sum": lambda n: (5).__add__(n) is not NotImplemented,
}


class Length:
    def __init__(self, n: Any):
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Length) and self.n.__eq__(other.n) is True


def branching(asks: Callable[[Any], bool]) -> Callable[[jax.Array], jax.Array]:
    return lambda x: x * 2 if asks(x.shape[0]) else x * 3


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", BY_NAME)
def test_results_are_those_of_jit(name):
    fun = branching(BY_NAME[name])
    f = sod2jax.optimize(fun, audit=False)
    for size in (6, 7, 5):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(f(x), jax.jit(fun)(x))
    assert "trust: checked" in f.explain()


@pytest.mark.parametrize("asks", [lambda n: n == 5, lambda n: Length(n) == Length(5)])
def test_operators_and_methods_of_that_name_are_no_doubt(asks):
    fun = branching(asks)
    f = sod2jax.optimize(fun, audit=False)
    for size in (6, 7, 5):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(f(x), jax.jit(fun)(x))
    assert "trust: proved" in f.explain()
