"""Where Python's arithmetic of sizes has no real result."""

from __future__ import annotations

import math
import operator

import pytest

from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.tracing.domains import may_fail
from sod2jax.tracing.host_numbers import HostNumber

N = dims.symbol("n")
BOUNDED = Region.of(["n"], [Comparison.parse("n <= 8")])
OPEN = Region.of(["n"], [])


def number(function, *operands):
    return HostNumber(function, operands)


FINE = [
    number(operator.truediv, 1, N),
    number(operator.truediv, N, -4),
    number(operator.floordiv, 1.5, N + 1),
    number(operator.pow, N, 0.5),
    number(operator.pow, N, -1.0),
    number(operator.pow, 0.5, N),
    number(operator.pow, number(operator.sub, N, 3.0), 2),
    number(math.sqrt, N),
    number(math.sqrt, number(operator.mul, N, 0.5)),
    number(math.log, N),
    number(math.log, N, 2),
    number(math.log2, number(operator.add, number(operator.mul, N, 0.5), -0.25)),
    number(math.exp, number(operator.neg, N)),
    number(operator.add, N, 0.5),
]
FAILING = [
    number(operator.truediv, 1, N - 3),
    number(operator.mod, 1.5, N - 3),
    number(operator.pow, N - 3, -1.0),
    number(operator.pow, number(operator.sub, 3.0, N), 0.5),
    number(math.sqrt, 3 - N),
    number(math.log, N - 1),
    number(math.log, number(operator.sub, number(operator.mul, N, 0.5), 0.75)),
    number(math.exp, number(operator.mul, N, 100)),
    number(math.pow, 1e300, N),
]


@pytest.mark.parametrize("region", [BOUNDED, OPEN], ids=str)
def test_arithmetic_that_never_fails(region):
    assert not any(may_fail(number, region) for number in FINE)


@pytest.mark.parametrize("region", [BOUNDED, OPEN], ids=str)
def test_arithmetic_that_fails_at_some_sizes(region):
    assert all(may_fail(number, region) for number in FAILING)


def test_every_size_is_tried_where_they_are_bounded():
    steep = number(math.exp, number(math.sqrt, N))
    assert not may_fail(steep, BOUNDED)
    assert may_fail(steep, OPEN)
