"""Integers that Python computes from sizes by floating point: dimensions where that is proved."""

from __future__ import annotations

import math
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sod2jax
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.tracing.host import dimension
from sod2jax.tracing.host_numbers import HostNumber
from tests.tracing.compare import assert_as_under_jit

N = dims.symbol("n")
LARGEST = 300
BOUNDED = Region.of(["n"], [Comparison.parse(f"n <= {LARGEST}")])
UNBOUNDED = Region.of(["n"], [])

WITHOUT_BOUND = {
    "capacity": lambda n: math.ceil(1.25 * n / 4),
    "third": lambda n: math.ceil(n / 3),
    "floor_of_product": lambda n: math.floor(n * 0.75 - 0.5),
    "trunc": lambda n: math.trunc(n / 7),
    "negative": lambda n: -math.floor(-n / 4),
    "shift": lambda n: (n >> 1) + (n << 1),
    "low_bits": lambda n: n & 3,
}
WITH_BOUND = {
    **WITHOUT_BOUND,
    "tenth": lambda n: math.ceil(0.1 * n),
    "not_a_quotient": lambda n: math.floor(0.29 * n),
    "round": lambda n: round(0.3 * n),
    "round_half_to_even": lambda n: round(n / 2),
    "round_quarters": lambda n: round(n / 4),
    "isqrt": lambda n: math.isqrt(n),
    "root": lambda n: math.ceil(n**0.5),
    "bit_length": lambda n: n.bit_length(),
    "power_of_two": lambda n: 2 ** math.ceil(math.log2(n)),
    "power_of_two_by_bits": lambda n: 1 << (n - 1).bit_length(),
    "of_numpy": lambda n: math.ceil(np.log(n) * 3),
}


def shape_of(function, constraints):
    """The dimension that a function gives in a program, for one symbol n."""
    optimized = sod2jax.optimize(
        lambda x: jnp.zeros(function(x.shape[0])), shapes=("n",), constraints=constraints
    )
    optimized(np.ones(7, np.float32))
    (specialisation,) = optimized.planner.specialisations
    program = specialisation.analysis.program
    assert program.varying is None
    return program.out_shapes[0][0]


@pytest.mark.parametrize("name", WITH_BOUND)
def test_every_size_of_a_bounded_region(name):
    dim = shape_of(WITH_BOUND[name], (f"n <= {LARGEST}",))
    for size in range(1, LARGEST + 1):
        assert dims.evaluate(dim, {"n": size}) == WITH_BOUND[name](size)


@pytest.mark.parametrize("name", WITHOUT_BOUND)
def test_sizes_without_a_bound(name):
    dim = shape_of(WITHOUT_BOUND[name], ())
    for size in (*range(1, 200), 10**6 + 1, 2**31 - 1):
        assert dims.evaluate(dim, {"n": size}) == WITHOUT_BOUND[name](size)


@given(
    st.sampled_from([math.floor, math.ceil, math.trunc, round]),
    st.sampled_from([operator.mul, operator.truediv]),
    st.floats(-20, 20).filter(lambda x: abs(x) > 1e-3) | st.integers(1, 99),
    st.floats(-9, 9),
    st.sampled_from([BOUNDED, UNBOUNDED]),
    st.integers(1, 2**31 - 1),
)
def test_a_dimension_is_the_number_or_there_is_none(rounding, by, factor, offset, region, large):
    scaled = HostNumber(by, (N, factor))
    number = HostNumber(rounding, (HostNumber(operator.add, (scaled, offset)),))
    dim = dimension(number, region)
    sizes = range(1, LARGEST + 1) if region is BOUNDED else (1, 2, 3, 64, large)
    for size in () if dim is None else sizes:
        assert dims.evaluate(dim, {"n": size}) == rounding(by(size, factor) + offset)


def test_two_sizes_and_none():
    region = Region.of(["m", "n"], [Comparison.parse("n <= 40"), Comparison.parse("m <= 30")])
    product = HostNumber(operator.mul, (HostNumber(operator.mul, (0.1, N)), dims.symbol("m")))
    dim = dimension(HostNumber(math.ceil, (HostNumber(operator.mul, (product, 5)),)), region)
    if dim is not None:  # the grid says whether rounding is ever seen
        for n, m in ((1, 1), (40, 30), (7, 13)):
            assert dims.evaluate(dim, {"n": n, "m": m}) == math.ceil(0.1 * n * m * 5)
    assert dimension(HostNumber(math.isqrt, (N,)), UNBOUNDED) is None
    assert dimension(HostNumber(math.isqrt, (N - 5,)), BOUNDED) is None  # fails below 5
    assert (
        dimension(HostNumber(math.floor, (HostNumber(operator.mul, (0.1, N)),)), UNBOUNDED) is None
    )


def capacity(x):
    """Tokens to experts of limited capacity, as mixtures of experts do."""
    slots = math.ceil(1.25 * x.shape[0] / 4)
    expert = jnp.arange(x.shape[0]) % 4
    place = jnp.cumsum(jax.nn.one_hot(expert, 4, dtype=jnp.int32), axis=0)[
        jnp.arange(x.shape[0]), expert
    ]
    table = jnp.zeros((4, slots)).at[expert, place - 1].set(x, mode="drop")
    return table.sum(0)


PROGRAMS = {
    "capacity": capacity,
    "padded_to_a_power_of_two": lambda x: jnp.pad(
        x, (0, (1 << (x.shape[0] - 1).bit_length()) - x.shape[0])
    ).cumsum(),
    "split": lambda x: (x[: math.floor(0.8 * x.shape[0])] * 2, x[math.floor(0.8 * x.shape[0]) :]),
    "branch": lambda x: x * 2 if 0.5 * x.shape[0] > 100 else x + 1,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_the_concrete_program(name):
    fun = PROGRAMS[name]
    optimized = sod2jax.optimize(
        fun, shapes=("n",), buckets={"n": (16, 40)}, poison=True, on_unsupported="error"
    )
    assert_as_under_jit(fun, optimized, (40, 1, 5, 13, 29, 16), atol=1e-6)
    assert optimized.stats().compiles == 2
    assert "checked" not in optimized.explain()
