"""Sizes are compared with all numbers as integers are, and the answer is of the same class."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest import mock

import jax
import numpy as np
import pytest

import sod2jax

NUMBERS: dict[str, Any] = {
    "float": 5.5,
    "whole": 5.0,
    "numpy_float": np.float32(5.5),
    "numpy_whole": np.float32(5),
    "numpy_integer": np.int8(5),
    "numpy_bool": np.True_,
    "infinity": float("inf"),
    "lowest": -np.inf,
    "nan": float("nan"),
    "negative": -0.5,
    "fraction": Fraction(11, 2),
    "decimal": Decimal("5.5"),
    "complex": 5 + 0j,
}
OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge")


def compared(name: str, number: Any) -> Callable[[jax.Array], jax.Array]:
    """Another number for each answer, and for each class of answers, both ways round."""
    compare = getattr(operator, name)

    def fun(x: jax.Array) -> jax.Array:
        n = x.shape[0]
        answers = [compare(n, number)]
        if not isinstance(number, Decimal | complex):  # those want the number of a size
            answers.append(compare(number, n))
        for answer in answers:
            x = x * (2 if answer else 3) * (5 if isinstance(answer, bool) else 7)
        return x

    return fun


CASES = [
    (name, kind)
    for name, kind in itertools.product(OPERATORS, NUMBERS)
    if kind != "complex" or name in ("eq", "ne")
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_answers_are_those_of_integers(name, kind):
    fun = compared(name, NUMBERS[kind])
    # 5 and 6 are on both sides of each number, and no audit is to tell.
    f = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 9",), audit=False)
    for size in (6, 5, 1):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(f(x), jax.jit(fun)(x))


class Equal:
    """Says itself what it is equal to."""

    def __init__(self, number: int):
        self.number = number

    def __eq__(self, other: object) -> bool:
        return self.number == other

    def __ne__(self, other: object) -> bool:
        return self.number != other


class EqualInt(int):
    """An integer that says so."""

    def __eq__(self, other: object) -> bool:
        return other == int(self) + 1

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__


OWN: dict[str, Callable[[Any], Any]] = {
    "equal": lambda n: n == Equal(5),
    "unequal": lambda n: n != Equal(5),
    "reflected": lambda n: Equal(5) == n,
    "element": lambda n: n in (Equal(5),),
    "any": lambda n: n == mock.ANY,
    "integer": lambda n: n == EqualInt(4),
    "unequal integer": lambda n: n != EqualInt(4),
    "text": lambda n: n == "5",
    "none": lambda n: n == None,  # noqa: E711
    "tuple": lambda n: n == (5,),
}


@pytest.mark.parametrize("name", OWN)
def test_what_says_itself_what_it_is_equal_to_is_asked(name):
    def fun(x: jax.Array) -> jax.Array:
        return x * 2 if OWN[name](x.shape[0]) else x * 3

    f = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 9",), audit=False)
    for size in (6, 5, 1):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(f(x), jax.jit(fun)(x))
    assert "trust: proved" in f.explain()


def test_sizes_that_numpy_computed_are_compared_as_numpy_does():
    def fun(x):
        return x * 2 if isinstance(np.prod(x.shape) == 6, np.bool_) else x

    f = sod2jax.optimize(fun, shapes=("n, 2",), on_unsupported="error", audit=False)
    for size in (5, 3, 1):
        np.testing.assert_array_equal(f(np.ones((size, 2), np.float32)), np.full((size, 2), 2))
