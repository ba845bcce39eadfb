"""Sizes as numbers: Python's and NumPy's arithmetic inside a symbolic trace."""

from __future__ import annotations

import math
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.tracing import numeric
from sod2jax.tracing.host_numbers import HostNumber

SIZES = (13, 1, 2, 5, 8)


def alibi(x):
    positions = np.arange(x.shape[0])
    return x[None] - np.abs(positions[:, None] - positions[None]) * 0.5


def causal(x):
    seen = np.tril(np.ones((x.shape[0], x.shape[0]), dtype=bool))
    return jnp.where(seen, x[:, None] * x[None, :], -1e9)


def sinusoids(x):
    """Filled in place, as the reference implementations do."""
    angle = np.arange(x.shape[0])[:, None] * np.exp(np.arange(0, 8, 2) * (-math.log(1e4) / 8))
    table = np.zeros((x.shape[0], 8))
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle)
    return x[:, None] + table  # float32 and NumPy's float64


PROGRAMS = {
    "power": lambda x: x * x.shape[0] ** -0.5,
    "negative_power": lambda x: x * x.shape[0] ** -1,
    "math_sqrt": lambda x: x / math.sqrt(x.shape[0]),
    "math_log_base": lambda x: x * math.log(x.shape[0] + 1, 2),
    "math_pow": lambda x: x * math.pow(x.shape[0], 0.25),
    "reciprocal": lambda x: x * (1 / x.shape[0]),
    "half": lambda x: x * (x.shape[0] / 2 + 0.5),
    "numpy_sqrt": lambda x: x / np.sqrt(x.shape[0]),
    "numpy_log_of_quotient": lambda x: x * np.log(7 / x.shape[0]),
    "bfloat16_stays": lambda x: x.astype(jnp.bfloat16) * x.shape[0] ** -0.5,
    "bfloat16_meets_numpy": lambda x: x.astype(jnp.bfloat16) / np.sqrt(x.shape[0]),
    "integers_stay": lambda x: x.astype(np.int32) * np.arange(x.shape[0]),
    "integer_division": lambda x: x[:, None] * (np.arange(x.shape[0])[:, None] // 2 % 3),
    "comparison": lambda x: jnp.where(np.arange(x.shape[0]) < 3, x, 0),
    "full": lambda x: x + np.full(x.shape, 2.5),
    "eye": lambda x: x @ np.eye(x.shape[0], dtype=np.float32),
    "linspace": lambda x: x * np.linspace(0, 1, x.shape[0]),
    "upper_triangle": lambda x: jnp.where(np.triu(np.ones((x.size, x.size)), k=1) > 0, -1.0, x),
    "mean_of_numbers": lambda x: x * np.arange(x.shape[0]).mean(),
    "shape_array": lambda x: jnp.zeros(np.array(x.shape)),
    "result_is_numeric": lambda x: (np.sqrt(x.shape[0]), x.shape[0] ** 0.5, np.arange(x.shape[0])),
    "alibi": alibi,
    "causal": causal,
    "sinusoids": sinusoids,
}


def assert_same(fun, optimized, size, dtype=np.float32):
    x = np.random.default_rng(size).normal(size=size).astype(dtype)
    got, want = jax.tree.leaves(optimized(x)), jax.tree.leaves(jax.jit(fun)(x))
    for a, b in zip(got, want, strict=True):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_the_concrete_program(name):
    fun = PROGRAMS[name]
    optimized = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (13,)}, poison=True)
    for size in SIZES:
        assert_same(fun, optimized, size)
    assert optimized.stats().exact_fallbacks == 0
    assert all(s.analysis.program.varying is None for s in optimized.planner.specialisations)


def test_sixty_four_bits():
    with jax.enable_x64(True):
        for name in ("power", "numpy_sqrt", "sinusoids", "integers_stay"):
            optimized = sod2jax.optimize(PROGRAMS[name], shapes=("n",), buckets={"n": (13,)})
            assert_same(PROGRAMS[name], optimized, 6, np.float64)


def test_precision_is_that_of_numpy():
    def far(x):
        return x * 0 + np.sin(np.arange(x.shape[0]) * 1e5).astype(np.float32)

    optimized = sod2jax.optimize(far, shapes=("n",), buckets={"n": (64,)})
    x = np.ones(50, np.float32)
    np.testing.assert_allclose(optimized(x), jax.jit(far)(x), atol=1e-6)


def test_hooks_are_gone_after_a_trace_and_mind_their_thread():
    before = {name: getattr(math, name) for name in ("sqrt", "log")} | {"arange": np.arange}
    other: list[object] = []

    def fun(x):
        worker = threading.Thread(target=lambda: other.extend([np.arange(3), math.sqrt(4)]))
        worker.start()
        worker.join()
        return x * math.sqrt(x.shape[0])

    optimized = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (13,)})
    optimized.analyse(np.ones(3, np.float32))
    np.testing.assert_array_equal(other[0], [0, 1, 2])
    assert other[1] == 2.0
    assert before == {"sqrt": math.sqrt, "log": math.log, "arange": np.arange}
    dims = jax.export.symbolic_shape("n")
    with pytest.raises(ValueError, match="negative powers"):
        dims[0] ** -1
    with pytest.raises(TypeError):
        math.sqrt(dims[0])


def test_a_numeric_is_no_number_yet():
    value = numeric.Numeric(jnp.float32(2.0), HostNumber.of(float, [2]))
    for convert in (bool, int, float, complex, len, np.asarray):
        with pytest.raises(TypeError, match="while tracing"):
            convert(value)


ATTRIBUTES = {
    "update": lambda x: x * 2 if hasattr(np.zeros(x.shape[0]), "at") else x,
    "devices": lambda x: x * 2 if hasattr(np.sqrt(x.shape[0]), "devices") else x,
    "dtype_of_float": lambda x: x * 2 if hasattr(x.shape[0] * 0.5, "dtype") else x,
    "dtype_of_scalar": lambda x: x * 2 if hasattr(np.sqrt(x.shape[0]), "dtype") else x,
    "shape_by_function": lambda x: x * (1 + np.ndim(x.shape[0] * 0.5)),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_those_of_numpy_and_python(name):
    fun = ATTRIBUTES[name]
    f = sod2jax.optimize(fun, shapes=("n",), on_unsupported="error", audit=False)
    for size in SIZES[:3]:
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(f(x), jax.jit(fun)(x))


def test_attributes_that_a_trace_cannot_give_are_doubts():
    def fun(x):
        return x * 2 if hasattr(np.zeros(x.shape[0]), "fill") else x

    f = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 13",), audit=False)
    for size in SIZES[:3]:
        np.testing.assert_array_equal(f(np.ones(size, np.float32)), np.full(size, 2, np.float32))
    assert "attribute fill" in f.explain()
