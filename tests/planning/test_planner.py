"""Each call gets a program and a bucket; what has none runs with exact shapes, and says so."""

from __future__ import annotations

import inspect
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import (
    ExactFallbackWarning,
    SpecError,
    TraceError,
    UnsupportedPrimitiveError,
)
from sod2jax.planning.exact import Exact
from tests.attention import W, assert_close, attention, normal, optimized


def test_another_dtype_or_tree_is_another_program():
    f = optimized(lambda x: jax.tree.map(lambda y: y * 2, x), shapes=("s",), buckets={"s": (8,)})
    for size in (3, 5):
        f(normal(size))
        f(np.arange(size))
        f([normal(size)])
    stats = f.stats()
    assert (stats.traces, stats.compiles) == (3, 3)


@pytest.mark.parametrize("where", ["buckets", "constraints"])
def test_symbols_of_what_a_call_leaves_out_bound_nothing_there(where):
    def fun(x, mask=None, *others):
        x = x if mask is None else jnp.where(mask, x, 0)
        return jnp.cumsum(x[::-1]), sum(map(jnp.sum, others))

    options = {
        "buckets": {"buckets": {"s": (8,), "t": (4,)}},
        "constraints": {"constraints": ("t <= s", "s <= 8")},
    }[where]
    shapes = {"x": "s", "mask": "s", "others": ("t", "t")}
    f = optimized(fun, **{"shapes": shapes, "buckets": None, "poison": True} | options)
    for size in (5, 8, 1):
        x, y = normal(size), normal(min(size, 3))
        for args in ((x,), (x, x > 0), (x, None, y, y)):
            for seen, want in zip(f(*args), jax.jit(fun)(*args), strict=True):
                np.testing.assert_allclose(seen, want, rtol=1e-5, atol=1e-5)
    assert f.stats().traces == 3


def test_unbounded_symbols_grow_on_demand():
    f = optimized(lambda x: x.sum(0), shapes=("s, 3",), buckets=None, poison=True)
    for size in (3, 40, 5, 300, 17):
        x = normal(size, 3)
        np.testing.assert_allclose(f(x), x.sum(0), rtol=1e-4)
    assert [b["s"] for b in f.buckets] == [16, 32, 64, 512]
    assert (f.stats().traces, f.stats().compiles) == (1, 4)


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: sum(x[k] for k in range(x.shape[0])),  # has no program, symbolic or generalised
        lambda x: x.sum() if x.shape[0] >= 10 else x.max(),  # each regime has fewer buckets
        lambda x: jnp.linalg.eigvalsh(x[:, None] * x),  # has no exact padded form
    ],
)
def test_too_many_buckets_are_refused_whatever_becomes_of_the_trace(fun):
    f = sod2jax.optimize(fun, shapes=("s",), buckets={"s": (4, 8, 16, 32)}, max_executables=3)
    for _ in range(2):
        with pytest.raises(SpecError, match="asks for 4 executables; max_executables is 3"):
            f(normal(5))


def test_buckets_are_chosen_within_the_limit():
    f = optimized(
        lambda x: x * 2, shapes=("b, s",), buckets=None, constraints=("b <= 4", "s <= 512")
    )
    f.analyse(normal(1, 1))
    assert 1 < len(f.buckets) <= 8
    assert f.buckets[-1] == Bucket.of({"b": 4, "s": 512})


def test_closed_over_arrays_are_shared_by_executables():
    table = jnp.asarray(normal(1000, 4))
    f = optimized(lambda x: x @ table.T, shapes=("s, 4",), buckets={"s": (4, 8)})
    x = normal(3, 4)
    np.testing.assert_allclose(f.compile(x)(x), x @ table.T, rtol=1e-5, atol=1e-5)
    (made,) = f.planner.specialisations
    assert made.analysis.program.constants[0] is table
    for executable in made.executables.ready:
        assert not executable.jaxpr.consts
        assert executable.call.memory_analysis().generated_code_size_in_bytes < table.nbytes


def test_closed_over_arrays_of_inner_functions_are_shared_too():
    table = normal(1000, 4)

    @jax.jit
    def layer(x):
        return x @ table.T

    f = optimized(lambda x: layer(x) @ layer(x).T, shapes=("s, 4",), buckets={"s": (4, 8)})
    x = normal(3, 4)
    np.testing.assert_allclose(f.compile(x)(x), (x @ table.T) @ (x @ table.T).T, rtol=1e-4)
    (made,) = f.planner.specialisations
    (constant,) = made.analysis.program.constants
    assert isinstance(constant, jax.Array)
    assert not any(executable.jaxpr.consts for executable in made.executables.ready)


def unsupported(x):
    doubled = x * 2
    return lax.approx_max_k(doubled, 1)[0]


LINE = f"{__file__}:{inspect.getsourcelines(unsupported)[1] + 2} (unsupported)"


def test_unsupported_primitive_raises_if_asked_to():
    f = sod2jax.optimize(unsupported, shapes=("s",), on_unsupported="error")
    for _ in range(2):
        with pytest.raises(UnsupportedPrimitiveError) as caught:
            f(normal(3))
        assert caught.value.primitive == "approx_top_k"
        assert caught.value.source == LINE
        assert caught.value.remedy in str(caught.value)
    with pytest.raises(UnsupportedPrimitiveError):
        f.compile(normal(3))


def test_unsupported_primitive_runs_exactly_with_one_warning():
    f = sod2jax.optimize(unsupported, shapes=("s",), constraints=("s <= 8",))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for size in (3, 4, 3):
            x = normal(size)
            np.testing.assert_allclose(f(x), 2 * x.max(keepdims=True), rtol=1e-5)
    (warning,) = [w for w in caught if w.category is ExactFallbackWarning]
    message = str(warning.message)
    assert message.startswith(
        "unsupported runs through exact-shape executables, one compile per shape: "
        f"primitive 'approx_top_k' at {LINE} cannot run on padded arrays: "
    )
    assert not message.endswith(": ")
    assert warning.filename == __file__
    stats = f.stats()
    assert (stats.calls, stats.exact_fallbacks, stats.compiles) == (3, 3, 0)
    assert f.bucket_for(normal(5)) is None
    assert f.buckets == ()
    assert f.compile(normal(5)) is f
    with pytest.raises(TraceError, match="unsupported runs with exact shapes: primitive 'approx_t"):
        f.analyse(normal(5))


def by_length(x):
    return jnp.stack([x[k] * k for k in range(x.shape[0])])


def test_what_cannot_be_traced_runs_exactly_with_one_warning():
    f = sod2jax.optimize(by_length, shapes=("s",))
    line = re.escape(f"{__file__}:{inspect.getsourcelines(by_length)[1] + 1} (by_length)")
    with pytest.warns(ExactFallbackWarning, match=f"TypeError at {line}") as caught:
        np.testing.assert_allclose(f(normal(3)), by_length(normal(3)))
        np.testing.assert_allclose(f(normal(4)), by_length(normal(4)))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert f.stats().exact_fallbacks == 2
    strict = sod2jax.optimize(by_length, shapes=("s",), on_unsupported="error")
    with pytest.raises(
        TraceError, match="give the axis a fixed size where the function needs a number"
    ):
        strict(normal(3))


def test_an_error_of_the_function_itself_is_raised_as_it_is():
    f = sod2jax.optimize(lambda x: x + np.zeros(3, np.float32), shapes=("s",))
    assert f(normal(3)).shape == (3,)
    with pytest.raises(TypeError, match="incompatible shapes"):
        f(normal(4))


def test_empty_arrays_run_exactly():
    f = optimized(lambda x, y: (x * 2, y.sum(0)), shapes=("s, 3", "s, _"), buckets={"s": (8,)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        double, total = f(normal(0, 3), normal(0, 2))
    assert double.shape == (0, 3)
    assert total.tolist() == [0, 0]
    assert f.stats().exact_fallbacks == 1
    assert f.bucket_for(normal(0, 3), normal(0, 2)) is None
    assert f(normal(2, 3), normal(2, 2))[0].shape == (2, 3)
    assert f.stats().exact_fallbacks == 1


def test_plans_are_remembered():
    f = optimized()
    call = f.planner.read((normal(2, 3, 4), W), {})
    choice = f.planner.choose(call)
    assert choice is not None
    assert f.planner.choose(f.planner.read((normal(2, 3, 4, seed=5), W), {})) is choice
    assert f.planner.choose(f.planner.read((normal(2, 4, 4), W), {})) is not choice
    assert f.stats().traces == 1
    assert f.planner.specialisations == [choice.specialisation]
    assert f.planner.alternatives(call) == [choice]


def test_programs_given_up_run_exactly_from_then_on():
    f = optimized(on_unsupported="exact")
    call = f.planner.read((normal(2, 3, 4), W), {})
    choice = f.planner.choose(call)
    error = UnsupportedPrimitiveError("dot_general", "line 3", "no reason")
    with pytest.warns(ExactFallbackWarning, match="no reason"):
        f.planner.give_up(choice.specialisation, error)
    assert f.planner.choose(call) == Exact(error)
    assert f.planner.specialisations == []
    assert_close(f(normal(2, 3, 4), W), jax.jit(attention)(normal(2, 3, 4), W))
    assert f.stats().exact_fallbacks == 1


def test_many_decisions_lead_to_a_program_for_the_sizes_around_a_call():
    def fun(x):
        squares = sum(len(x) >= k * k for k in range(1, 30))
        return jnp.zeros(squares) + x.sum()

    f = sod2jax.optimize(fun, shapes=("n",))
    with warnings.catch_warnings(action="error"):
        for size in (200, 500, 7, 8, 1):
            x = normal(size)
            np.testing.assert_allclose(f(x), jax.jit(fun)(x), rtol=1e-5)
    assert len(f.planner.specialisations) == 4
    assert f.stats().exact_fallbacks == 0
