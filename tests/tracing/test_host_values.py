"""Numbers that Python computes from sizes reach programs as Python has them, to the last bit."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import sod2jax
import sod2jax.numpy as snp
from sod2jax.errors import ExactFallbackWarning
from sod2jax.tracing.host_numbers import HostNumber

SIZES = (49, 1, 5, 8, 13, 57, 64)
BOUNDED: dict[str, Any] = {"shapes": ("n",), "buckets": {"n": (13, 64)}, "poison": True}


def assert_bits(got: Any, want: Any) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
        np.testing.assert_array_equal(a, b)


def vector(size: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(size).normal(size=size).astype(dtype)


def check(fun: Callable[..., Any], sizes=SIZES, dtype: Any = np.float32, **options: Any) -> Any:
    """Compares at some sizes; all must run padded, unchecked."""
    optimized = sod2jax.optimize(fun, **{**BOUNDED, **options})
    for size in sizes:
        x = vector(size, dtype)
        assert_bits(optimized(x), jax.jit(fun)(x))
    assert optimized.stats().exact_fallbacks == 0
    assert "checked" not in optimized.explain()
    return optimized


def table(x):
    """An array that is filled in place."""
    made = np.zeros((x.shape[0], 4))
    made[:, 0] = np.arange(x.shape[0]) / x.shape[0]
    made[:, 1::2] = np.sin(made[:, :1])
    return x[:, None] * made


def log_scan(x):
    n = x.shape[0]

    def step(total, y):
        return total + y, y * (n * 0.1 - n / 10) * 2.0**60 + y * (n / 10 % 0.1)

    return lax.scan(step, jnp.float32(0), x)[1]


@jax.custom_vjp
def scaled(x):
    return x * (x.shape[0] / 10 % 0.1)


scaled.defvjp(lambda x: (scaled(x), x), lambda x, g: (g * (x.shape[0] / 10 % 0.1),))


@jax.jit
def inner(x):
    return x * (x.shape[0] / 10 % 0.1)


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "floor": lambda x: x * np.floor(x.shape[0] / 49 * 49),
    "equal": lambda x: x * (x.shape[0] / 49 * 49 == x.shape[0]),
    "remainder": lambda x: x * (x.shape[0] / 10 % 0.1),
    "rounded": lambda x: x * round(x.shape[0] * 0.1, 3),
    "cancelled": lambda x: x * ((x.shape[0] * 0.1 - x.shape[0] / 10) * 2.0**56),
    "divmod": lambda x: (x * divmod(x.shape[0] * 0.1, 0.3)[0], x * divmod(1.7, x.shape[0])[1]),
    "roots": lambda x: (x * math.sqrt(x.shape[0]), x * x.shape[0] ** -0.3, x * np.cbrt(x.size)),
    "functions": lambda x: x * (math.fmod(x.shape[0] * 0.7, 0.3) * math.hypot(x.size, 0.1)),
    "results": lambda x: (x.shape[0] * 0.1, np.sqrt(x.shape[0]), x.shape[0] / 3 > 2),
    "array": lambda x: x * (np.arange(x.shape[0]) * 0.1 % 0.3),
    "array_of_floors": lambda x: x * np.floor(np.arange(x.shape[0]) / 49 * 49),
    "sum_of_array": lambda x: x * np.sum(np.arange(x.shape[0]) * 0.1),
    "linspace": lambda x: x * np.linspace(0, 0.3, x.shape[0]),
    "array_with_a_number": lambda x: x * np.full(x.shape, x.shape[0] / 10),
    "array_times_a_number": lambda x: x[:, None] * (np.arange(3)[None] * (x.shape[0] / 10)),
    "methods": lambda x: x * (np.arange(x.shape[0]) / 7).clip(0, x.shape[0] / 10).cumsum(),
    "ndim": lambda x: x * np.ndim(x.shape[0] * 0.5) + np.shape(np.ones(x.shape) * 0.5)[0],
    "table": table,
    "scan": log_scan,
    "gradient": lambda x: jax.grad(lambda y: (y * (x.shape[0] / 10 % 0.1)).sum())(x),
    "vmap": lambda x: jax.vmap(lambda y: y * (x.shape[0] / 10 % 0.1))(x),
    "cond": lambda x: lax.cond(x[0] > 0, lambda: x * (x.shape[0] / 10 % 0.1), lambda: -x),
    "while": lambda x: lax.while_loop(lambda c: c[0] < x.shape[0] * 0.1, step_of(x), (0.0, x)),
    "custom_vjp": lambda x: jax.grad(lambda y: scaled(y).sum())(x),
    "checkpoint": lambda x: jax.grad(lambda y: jax.checkpoint(scaled)(y).sum())(x),
    "jit": lambda x: (inner(x), inner(2 * x), inner(x[: x.shape[0] // 2 + 1])),
    "compile_time": lambda x: x * compile_time(x),
    "half": lambda x: x.astype(np.float16) * (1 + 2**-11 + x.shape[0] * 2.0**-40),
    "filled": lambda x: jnp.full(x.shape, x.shape[0] / 49 * 49, np.int32),
    "brain": lambda x: x.astype(jnp.bfloat16) * (x.shape[0] / 49 * 49 + 2**-9),
}


def step_of(x):
    return lambda carry: (carry[0] + 1, carry[1] * (x.shape[0] / 10 % 0.1))


def compile_time(x):
    with jax.ensure_compile_time_eval():
        return np.arange(x.shape[0]) * 0.1 % 0.3


@pytest.mark.optimised
@pytest.mark.parametrize("name", PROGRAMS)
def test_numbers_are_those_of_python(name):
    check(PROGRAMS[name])


@pytest.mark.optimised
def test_numbers_are_those_of_python_where_nothing_is_known_of_sizes():
    for name in ("floor", "cancelled", "array", "table", "scan"):
        check(PROGRAMS[name], buckets=None)
    fun = PROGRAMS["remainder"]
    bare = sod2jax.optimize(fun)
    for size in SIZES:
        assert_bits(bare(vector(size)), jax.jit(fun)(vector(size)))
    assert bare.stats().exact_fallbacks == 0


@pytest.mark.optimised
def test_numbers_are_those_of_python_in_64_bits():
    with jax.enable_x64(True):
        for name in ("floor", "cancelled", "array", "table", "rounded"):
            check(PROGRAMS[name], dtype=np.float64)


BINARY = (operator.add, operator.sub, operator.mul, operator.truediv, operator.mod, np.floor_divide)
UNARY = (operator.neg, abs, np.floor, np.sqrt, lambda v: round(v, 2), lambda v: v * v - 1)
LEAVES = st.sampled_from(("n", "m", 0.1, 3, 1 / 3, 7, 1e-3, np.float32(0.7)))
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.integers(0, len(BINARY) - 1), inner, inner),
        st.tuples(st.integers(0, len(UNARY) - 1), inner),
    ),
    max_leaves=6,
)


def value(expression: Any, sizes: dict[str, Any]) -> Any:
    if not isinstance(expression, tuple):
        return sizes.get(expression, expression) if isinstance(expression, str) else expression
    kind, *parts = expression
    operands = [value(part, sizes) for part in parts]
    return (BINARY if len(parts) == 2 else UNARY)[kind](*operands)


@pytest.mark.optimised
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=25, deadline=None)
@given(EXPRESSIONS)
def test_any_number_is_that_of_python(expression):
    def fun(x):
        return x * value(expression, {"n": x.shape[0], "m": x.shape[1]})

    optimized = sod2jax.optimize(fun, shapes=("n, m",), buckets={"n": (9,), "m": (9,)}, audit=False)
    for shape in ((3, 7), (7, 3), (9, 9), (1, 6)):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        outcomes = []
        for run in (optimized, jax.jit(fun)):
            try:
                outcomes.append(run(x))
            except Exception as error:
                outcomes.append(type(error))
        if isinstance(outcomes[1], type):
            assert isinstance(outcomes[0], type), outcomes
        else:
            assert_bits(*outcomes)


def test_a_number_is_computed_once():
    def fun(x):
        y = x * (x.shape[0] / 10), x.shape[0] / 10
        return y, x.shape[0] * 1 / 10, x.shape[0] * 1.0, x.shape[0] * 1 * 1.0, x.shape[0] / 11

    optimized = check(fun)
    (program,) = (s.analysis.program for s in optimized.planner.specialisations)
    assert len(program.numbers) == 3


@pytest.mark.parametrize("size", [7, 5])
def test_where_arithmetic_fails_python_raises(size):
    optimized = sod2jax.optimize(lambda x: x * (1 / (x.shape[0] - 7)), **BOUNDED)
    optimized(vector(8))
    if size == 5:
        assert_bits(optimized(vector(5)), jax.jit(lambda x: x * -0.5)(vector(5)))
        return
    with pytest.raises(ZeroDivisionError):
        optimized(vector(size))


def test_numbers_too_large_raise_as_under_jit():
    optimized = sod2jax.optimize(lambda x: x * 2.0 ** (100 * x.shape[0]), shapes=("n",))
    assert_bits(optimized(vector(1)), jax.jit(lambda x: x * 2.0**100)(vector(1)))
    with pytest.warns(ExactFallbackWarning), pytest.raises(OverflowError):
        optimized(vector(11))


def test_a_number_of_another_kind_runs_with_exact_shapes():
    fun = lambda x: jnp.abs(x * (x.shape[0] - 7) ** 0.5)  # noqa: E731
    optimized = sod2jax.optimize(fun, **BOUNDED)
    assert_bits(optimized(vector(8)), jax.jit(fun)(vector(8)))
    with pytest.warns(ExactFallbackWarning):
        np.testing.assert_allclose(optimized(vector(5)), jax.jit(fun)(vector(5)), rtol=1e-6)


def selected(x):
    v = snp.compress(x > 0, x)
    k = v.shape[0]
    return v * (k / 10 % 0.1), (x.shape[0] / 49 * 49 - k * 0.1) * 2.0**40, v * np.arange(k) * 0.3


@pytest.mark.optimised
@pytest.mark.parametrize("cut", ["auto", "always", "never"])
def test_numbers_of_sizes_that_depend_on_values(cut):
    optimized = sod2jax.optimize(selected, **BOUNDED, cut=cut)
    for size in SIZES:
        x = vector(size)
        v = x[x > 0]
        k = len(v)
        got = optimized(x)
        assert_bits(got[0], jax.jit(lambda v, k=k: v * (k / 10 % 0.1))(v))
        assert got[1] == np.float32((size / 49 * 49 - k * 0.1) * 2.0**40)
        np.testing.assert_allclose(got[2], v * np.arange(k) * 0.3, rtol=1e-6)
    assert optimized.stats().exact_fallbacks == 0
    assert "the host computes a number of it" in optimized.explain()


def one(x):
    return x * (x.shape[0] / 10 % 0.1) * np.floor(np.arange(x.shape[0]) / 49 * 49)


@pytest.mark.optimised
def test_rows_of_ragged_batches_have_numbers_of_their_own():
    f = sod2jax.ragged_vmap(one, shapes=("n",))
    rows = [vector(size) for size in SIZES]
    for got, x in zip(f(rows), rows, strict=True):
        assert_bits(got, jax.jit(one)(x))
    sizes = np.array(SIZES)
    padded = np.full((len(rows), 64), np.nan, np.float32)
    for row, x in zip(padded, rows, strict=True):
        row[: len(x)] = x
    traced = jax.jit(lambda *x: f(x).data)(padded, sizes)  # the sizes are no constants here
    for got, x in zip(traced, rows, strict=True):
        np.testing.assert_array_equal(got[: len(x)], jax.jit(one)(x))
    gradient = jax.jit(jax.grad(lambda *x: f(x).data.sum()))(padded, sizes)
    for got, x in zip(gradient, rows, strict=True):
        want = jax.jit(jax.grad(lambda x: one(x).sum()))(x)
        np.testing.assert_allclose(got[: len(x)], want, rtol=1e-6)


def test_numbers_are_told_apart_by_type():
    n = HostNumber(float, (3,))
    numbers = [HostNumber(operator.mul, (n, x)) for x in (1, 1.0, True, np.float32(1), 0.0, -0.0)]
    assert len(set(numbers)) == len(numbers)
    again = HostNumber(operator.mul, (HostNumber(float, (3,)), 1))
    assert numbers[0] == again
