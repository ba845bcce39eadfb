"""Programs that need sizes as numbers: unified, and checked at every size."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.errors import ExactFallbackWarning
from tests.compile_log import compile_log
from tests.tracing.compare import assert_as_under_jit


def windowed(x):
    return x * np.hanning(len(x))


def scan_with_numbers(x):
    scale = 1.0 / float(x.shape[0])

    def body(carry, row):
        return carry * scale + row, carry

    return lax.scan(body, jnp.zeros(x.shape[1]), x)


def embed(x):
    size = int(x.shape[0])
    table = np.stack([np.sin(np.arange(size) / 10.0**k) for k in range(3)], 1)
    return x[:, None] - table if size in (2, 7) else x[:, None] * table


PROGRAMS = {
    "float_of_size": (lambda x: x / float(x.shape[0]), "n"),
    "numpy_scalar": (lambda x: x / np.float32(x.shape[0]), "n"),
    "window": (windowed, "n"),
    "ceil": (lambda x: x[: int(np.ceil(x.shape[0] / 2))], "n"),
    "scan": (scan_with_numbers, "n, m"),
    "two_symbols": (lambda x: x.reshape(-1) * float(x.shape[0] * x.shape[1]), "n, m"),
    "gradient": (jax.grad(lambda x: (x**2).sum() / float(x.shape[0])), "n"),
    "layer": (lambda x: jax.nn.softmax(x / float(x.shape[1])) @ x.T, "n, m"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_the_concrete_program(name):
    fun, spec = PROGRAMS[name]
    symbols = spec.split(", ")
    buckets = dict.fromkeys(symbols, (24,))
    optimized = sod2jax.optimize(fun, shapes=(spec,), buckets=buckets, poison=True)
    shapes = [(size, 26 - size)[: len(symbols)] for size in (24, 5, 11, 23)]
    assert_as_under_jit(fun, optimized, shapes, atol=1e-6)
    stats = optimized.stats()
    assert (stats.exact_fallbacks, stats.compiles) == (0, 1)
    assert "checked, not proved" in optimized.explain()


def test_sizes_on_another_course_run_with_exact_shapes():
    optimized = sod2jax.optimize(embed, shapes=("n",), buckets={"n": (16,)})
    for size in (9, 16):
        x = np.ones(size, np.float32)
        np.testing.assert_allclose(optimized(x), jax.jit(embed)(x), rtol=1e-6)
    assert optimized.stats().exact_fallbacks == 0
    x = np.ones(7, np.float32)
    with pytest.warns(ExactFallbackWarning, match="another course"):
        np.testing.assert_allclose(optimized(x), jax.jit(embed)(x), rtol=1e-6)
    assert optimized.stats().exact_fallbacks == 1
    assert "1 run with exact shapes" in optimized.explain()


def test_small_sizes_on_another_course_have_programs_of_their_own():
    optimized = sod2jax.optimize(embed, shapes=("n",), constraints=("n <= 16",))
    for size in (9, 2, 1, 2, 16):
        x = np.ones(size, np.float32)
        np.testing.assert_allclose(optimized(x), jax.jit(embed)(x), rtol=1e-6)
    assert optimized.stats().exact_fallbacks == 0
    assert len(optimized.planner.specialisations) == 2


def test_constants_of_each_size_are_those_of_its_own_trace():
    """No formula is guessed for constants: any table will do."""

    def fun(x):
        return x + np.random.default_rng(len(x)).normal(size=len(x)).astype(np.float32)

    optimized = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (32,)}, poison=True)
    for size in (1, 7, 19, 32):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(optimized(x), jax.jit(fun)(x))
    assert optimized.stats().exact_fallbacks == 0


def test_compile_checks_every_size_ahead_of_time():
    optimized = sod2jax.optimize(windowed, shapes=("n",), constraints=("n <= 20",))
    optimized.compile(np.ones(4, np.float32))
    with compile_log() as log:
        for size in (3, 9, 20):
            optimized(np.ones(size, np.float32))
    assert log == []


def test_a_new_size_is_traced_once_and_not_compiled():
    traced = []

    def counted(x):
        result = windowed(x)  # fails where the size is no number
        traced.append(x.shape[0])
        return result

    optimized = sod2jax.optimize(counted, shapes=("n",), buckets={"n": (40,)})
    optimized(np.ones(40, np.float32))
    assert optimized.stats().checks == 0, "the size of the call was among the samples"
    new = [size for size in range(20, 40) if size not in traced][:2]
    before = optimized.stats()
    with compile_log() as log:
        for size in (new[0], *new, *filter(lambda size: size > 4, traced)):
            optimized(np.ones(size, np.float32))
    after = optimized.stats()
    assert after.checks - before.checks == 2
    assert after.compiles == before.compiles
    assert "compile" not in log


def test_structure_that_depends_on_size_is_refused_with_the_first_reason():
    def unrolled(x):
        total = 0.0
        for k in range(x.shape[0]):
            total = total * 0.5 + x[k]
        return total

    optimized = sod2jax.optimize(unrolled, shapes=("n",), buckets={"n": (16,)})
    x = np.ones(5, np.float32)
    with pytest.warns(ExactFallbackWarning, match=r"(?s)as an integer.*another program") as caught:
        np.testing.assert_allclose(optimized(x), jax.jit(unrolled)(x), rtol=1e-6)
    assert len(caught) == 1
    strict = sod2jax.optimize(unrolled, shapes=("n",), buckets={"n": (16,)}, on_unsupported="error")
    with pytest.raises(sod2jax.errors.TraceError):
        strict(x)


def test_closed_over_weights_stay_shared():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32))

    def fun(x):
        return (x @ weights) / float(x.shape[0])

    optimized = sod2jax.optimize(fun, shapes=("n, 6",), buckets={"n": (16,)})
    x = np.ones((9, 6), np.float32)
    np.testing.assert_allclose(optimized(x), jax.jit(fun)(x), rtol=1e-6)
    (specialisation,) = optimized.planner.specialisations
    assert [c.shape for c in specialisation.analysis.program.constants] == [(6, 6)]


def _added(x, y):
    return x + y


def _numbered(x, y):
    if x.shape[0] > 20:
        raise ValueError("too long")
    return x * float(x.shape[0]) + y.sum()


@pytest.mark.parametrize("fun", [_added, _numbered])
@pytest.mark.parametrize("options", [{}, {"shapes": ("n", "m")}], ids=["bare", "specs"])
def test_a_call_that_fails_says_no_more_than_its_error(fun, options):
    optimized = sod2jax.optimize(fun, **options)
    fails = {_added: (5, 6), _numbered: (30, 30)}[fun]
    with warnings.catch_warnings(action="error"):
        for sizes in ((3, 3), (5, 5), fails, (7, 7)):
            x, y = (np.ones(size, np.float32) for size in sizes)
            if sizes == fails:
                with pytest.raises((TypeError, ValueError), match=r"incompatible|too long"):
                    optimized(x, y)
            else:
                np.testing.assert_array_equal(optimized(x, y), fun(x, y))
    assert optimized.stats().exact_fallbacks == 0


@pytest.mark.filterwarnings("error")
def test_a_size_is_not_asked_to_fit_what_no_array_holds():
    def fun(x):
        return jnp.argsort(x), jax.lax.top_k(x, max(1, int(0.1 * x.shape[0])))[0]

    f = sod2jax.optimize(fun, audit=False)
    for size in (5, 8, 1, 12):
        x = np.cos(np.arange(size, dtype=np.float32))
        for got, want in zip(f(x), jax.jit(fun)(x), strict=True):
            np.testing.assert_array_equal(got, want)
    assert f.stats().traces <= 4
