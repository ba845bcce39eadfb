"""A symbolic trace is a guess until something concrete confirms it."""

from __future__ import annotations

import builtins
import contextlib
import re
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import AuditWarning
from sod2jax.planning import trust
from sod2jax.tracing import guards

SIZES = (5, 1, 8, 3, 7, 2)


def ones(*shape):
    return np.ones(shape, np.float32)


def checked(fun, sizes=SIZES, **options):
    """Runs at several sizes, poisoned; gives the optimized function."""
    options = {"shapes": ("n",), "buckets": {"n": (8,)}, "poison": True, **options}
    f = sod2jax.optimize(fun, **options)
    for size in sizes:
        x = np.arange(1, size + 1, dtype=np.float32)
        np.testing.assert_allclose(f(x), jax.jit(fun)(x), rtol=1e-6)
    return f


def _peek(x):
    """The size as tracing holds it, told by nothing that a hook sees."""
    size = x.shape[0]
    return size if builtins.type(size) is int else None


def by_kind(x):
    """Takes a symbol for something that is no size."""
    size = _peek(x)
    return x * 7 if size is None else x * size


def at_three(x):
    return x * 7 if _peek(x) == 3 else x


def test_what_no_hook_sees_is_found_and_warned_of_once():
    with pytest.warns(
        AuditWarning, match=r"by_kind does not .*x of shape \(5,\), it has 'mul' at .*test_trust"
    ):
        f = checked(by_kind, (5,))
    with warnings.catch_warnings(action="error"):
        for size in SIZES:
            np.testing.assert_array_equal(f(ones(size)), size * ones(size))
    stats = f.stats()
    assert stats.exact_fallbacks == 0
    assert stats.compiles == 2  # one of the guess, one of the program generalised instead
    assert "trust: checked" in f.explain()


@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
def test_a_single_size_that_differs_is_none_of_the_others_business():
    with pytest.warns(AuditWarning, match="at_three"):
        f = checked(at_three, (3, 4, 3, 8, 1))
    stats = f.stats()
    assert stats.exact_fallbacks + sum(stats.hits.values()) == 5
    assert stats.exact_fallbacks == sum(stats.reasons.values()) <= 2


def test_small_sizes_that_differ_have_programs_of_their_own():
    def fun(x):
        return x * 7 if f"{x.shape[0]}" in ("1", "2") else x * x.shape[0]

    f = checked(fun, (8, 1, 5, 2, 1))
    stats = f.stats()
    assert (stats.exact_fallbacks, stats.compiles) == (0, 3)
    assert stats.checks <= 8  # not generalised from many traces


@pytest.mark.filterwarnings("ignore::sod2jax.errors.AuditWarning")
def test_equal_results_of_one_element_do_not_end_the_audit(monkeypatch):
    monkeypatch.setattr(trust, "_SHARE", 1e9)
    f = checked(
        lambda x: jax.nn.softmax(x if _peek(x) is None else x * 3), (1, 8), buckets={"n": (1, 8)}
    )
    assert "trust: checked" in f.explain()


def test_a_function_that_fails_where_its_program_does_not_fails():
    def fails(x):
        if _peek(x) is not None:
            raise KeyError("a number")
        return x

    f = sod2jax.optimize(fails, shapes=("n",), buckets={"n": (8,)})
    with pytest.warns(Warning) as caught, pytest.raises(KeyError):
        f(ones(5))
    assert [w.category for w in caught] == [AuditWarning]
    assert "with x of shape (5,), the function fails (KeyError: 'a number')" in str(
        caught[0].message
    )


@pytest.mark.filterwarnings("ignore::sod2jax.errors.AuditWarning")
def test_without_the_audit_nobody_looks():
    f = sod2jax.optimize(by_kind, shapes=("n",), buckets={"n": (8,)}, audit=False)
    assert f(ones(5))[0] == 7
    assert f.stats().checks == 0
    assert "not audited" in f.explain()


def test_programs_in_other_words_are_compared_by_their_results():
    def searched(x):
        return jnp.searchsorted(jnp.sort(x), x, method="compare_all") + jnp.flip(jnp.cumsum(x))

    with warnings.catch_warnings(action="error"):
        f = checked(searched)
    (program,) = f.planner.specialisations
    assert program.trust.audited
    assert not program.trust.doubts


def test_most_programs_need_no_results():
    f = checked(lambda x: jnp.tanh(x[::-1]) * x.shape[0] + jnp.pad(x[1:], (0, 1)))
    (program,) = f.planner.specialisations
    assert {"n": 5} in program.trust.audited
    assert "audited at n=5" in f.explain()
    assert f.stats().checks == len(program.trust.audited) <= 6


def test_a_doubt_of_the_trace_needs_no_audit():
    def fun(x):
        recorder = guards.active()
        if recorder is not None:
            recorder.doubt("a test says so")
        return x * 2 if x.shape[0] % 2 else x * 3

    f = checked(fun)
    assert "trust: checked: each new size is traced and compared before it runs" in f.explain()
    assert "a test says so" in f.explain()
    assert f.stats().checks >= len(SIZES)
    assert f.stats().exact_fallbacks == 0
    before = f.stats().checks
    for size in SIZES:
        f(ones(size))
    assert f.stats().checks == before


def test_a_function_that_fails_at_other_sizes_is_none_the_worse():
    def fun(x):
        with contextlib.suppress(TypeError):
            if operator_index(x.shape[0]) > 6:
                raise ValueError("too long")
        return x + 1

    def operator_index(size):
        return size if builtins.type(size) is int else 0

    f = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (8,)})
    assert f(ones(5)).shape == (5,)
    (program,) = f.planner.specialisations
    assert {"n": 8} not in program.trust.audited


def test_ahead_of_time():
    f = sod2jax.optimize(by_kind, shapes=("n",), buckets={"n": (4, 8)})
    with pytest.warns(AuditWarning, match="by_kind"):
        f.compile(ones(5))
    with warnings.catch_warnings(action="error"):
        np.testing.assert_array_equal(f(ones(3)), 3 * ones(3))


def test_rows_of_different_sizes():
    f = sod2jax.ragged_vmap(by_kind, shapes=("n",))
    for x, y in zip(map(ones, SIZES), f(list(map(ones, SIZES))), strict=True):
        np.testing.assert_array_equal(y, len(x) * x)


def test_the_first_call_of_a_bare_function_is_concrete():
    f = sod2jax.optimize(by_kind)
    with pytest.warns(AuditWarning):
        for size in SIZES:
            np.testing.assert_array_equal(f(ones(size)), size * ones(size))


def test_one_cause_is_told_once_and_takes_no_more_traces():
    f = sod2jax.optimize(by_kind)
    with pytest.warns(AuditWarning) as caught:
        for size in (5, 8, 13, 16, 1, 30, 7, 100):
            np.testing.assert_array_equal(f(ones(size)), size * ones(size))
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "with x of shape (8,)" in text
    assert "n0" not in text
    assert "'type(n) is int'" in text
    assert f.stats().traces <= 4  # by relations of sizes it would be no other
    assert re.search(r"\(so at \d+ of the sizes tried\)", f.explain())


def test_causes_that_differ_are_told_each():
    def fun(x, y):
        if _peek(x) is None:
            x = x * 7
        return x + 1 if _peek(y) is None or y.shape[0] < 4 else x + 2

    f = sod2jax.optimize(fun, shapes=("n", "m"), buckets={"n": (8,), "m": (8,)})
    with pytest.warns(AuditWarning) as caught:
        for sizes in ((5, 3), (5, 6), (7, 2), (1, 1)):
            x, y = map(ones, sizes)
            np.testing.assert_array_equal(f(x, y), jax.jit(fun)(x, y))
    assert len({str(w.message) for w in caught}) == len(caught) <= 2


def test_other_threads_never_see_the_wrong_result():
    f = sod2jax.optimize(by_kind, shapes=("n",), buckets={"n": (8,)})
    results = []

    def call():
        results.append(float(f(ones(5))[0]))

    with warnings.catch_warnings(action="ignore"):
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [5.0] * 4


def test_what_was_traced_already_is_audited_at_no_cost():
    traced = []

    def fun(x):
        traced.append(x.shape)
        return jnp.tanh(x) * 2

    f = sod2jax.optimize(fun)
    for size in (5, 7, 6):
        f(ones(size))
    program = f.planner.specialisations[-1]
    assert [dict(sizes) for sizes in program.trust.audited[:2]] == [{"n0": 7}, {"n0": 5}]
    assert traced.count((5,)) == 1
    assert f.stats().checks == len(program.trust.audited) - 1


def test_programs_of_another_form_that_call_python_are_compared_without_that():
    """The symbolic bisection takes as many steps as the largest table needs."""
    called = []

    def double(x):
        called.append(len(x))
        return 2 * x

    def fun(x):
        doubled = jax.pure_callback(double, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
        return jnp.searchsorted(x, doubled), doubled

    f = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 40",), on_unsupported="error")
    for size in (5, 40, 1):
        x = np.arange(1, size + 1, dtype=np.float32)
        for got, wanted in zip(f(x), jax.jit(fun)(x), strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert called == [5, 5, 40, 40, 1, 1]
    assert "audited at n=5" in f.explain()
    assert not f.stats().exact_fallbacks


def test_a_program_made_for_another_call_is_audited_at_its_own(monkeypatch):
    """The call that it was traced for broke a guard of it, and ran in another program."""
    monkeypatch.setattr(trust, "_SHARE", 0)

    def fun(x: jax.Array) -> jax.Array:
        n = x.shape[0]
        if n % 2 == 1:
            return x * 2
        return x * (3 if builtins.type(n) is int else 4)

    function = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (8,)})
    function(np.ones(3, np.float32))
    x = np.ones(6, np.float32)
    with pytest.warns(AuditWarning, match="shape .6,"):
        np.testing.assert_array_equal(function(x), jax.jit(fun)(x))
