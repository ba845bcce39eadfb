"""Programs that decide by size are right at every size, each from the program of its regime."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.arguments.signature import Leaf
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import parse
from sod2jax.tracing import regimes
from tests.quick import run_plainly


def leaf(spec: str, shape: tuple[int, ...]) -> Leaf:
    aval = jax.core.ShapedArray(shape, np.dtype(np.float32))
    return Leaf("x", aval, tuple(parse(part) for part in spec.split(",")))


def regime(spec: str, shape: tuple[int, ...], *constraints: str) -> regimes.Regime:
    return regimes.base([leaf(spec, shape)], [Comparison.parse(c) for c in constraints])


def question(left: str, op: str, right: str) -> Comparison:
    return Comparison(parse(left), op, parse(right), "here")


@pytest.mark.parametrize(
    ("spec", "shape", "decided", "expected"),
    [
        ("n", (1,), ("n", "==", "1"), ("1",)),
        ("n, m", (4, 4), ("n", "==", "m"), None),
        ("n, m", (4, 8), ("m", "==", "2*n"), ("n", "2*n")),
        ("n", (6,), ("mod(n, 2)", "==", "0"), ("2*n_per_2",)),
        ("n", (7,), ("mod(n, 3)", "==", "1"), ("3*n_per_3 + 1",)),
        ("n", (6,), ("mod(n, -3)", "==", "0"), ("3*n_per_3",)),
        ("n", (7,), ("mod(n, -3)", "==", "-2"), ("3*n_per_3 + 1",)),
        ("n", (1,), ("mod(n, 3)", "==", "1"), ("1",)),
        ("n", (9,), ("mod(n - 1, -2)", "==", "0"), ("2*n_per_2 + 1",)),
        ("n", (8,), ("mod(-n, 8)", "==", "0"), ("8*n_per_8",)),
        ("n", (8,), ("mod(3*n + 1, 5)", "==", "0"), ("5*n_per_5 + 3",)),
        ("n", (6,), ("mod(2*n, 4)", "==", "0"), ("4*n_per_4 + 2",)),
        ("n", (6,), ("2*floordiv(n, 2)", "==", "n"), ("2*n_per_2",)),
        ("n", (7,), ("floordiv(n - 1, 2) + floordiv(n - 2, 2) + 2", "==", "n"), ("2*n_per_2 + 1",)),
        ("n", (6,), ("floordiv(n, 2)", "==", "3"), ("6",)),
        ("n, m", (2, 3), ("n*m", "==", "6"), ("2", "3")),
    ],
)
def test_an_equality_becomes_a_substitution(spec, shape, decided, expected):
    narrowed = regime(spec, shape, "n <= 30").decided(question(*decided))
    narrow = narrowed.leaves[0].shape
    if expected is None:
        assert narrow[0] == narrow[1]
    else:
        assert narrow == tuple(map(parse, expected))
    assert narrowed.reasons


@pytest.mark.parametrize("text", ["max(0, n - 3)", "-max(n - 3, 0)"])
def test_a_maximum_that_is_zero_is_a_bound(text):
    narrowed = regime("n", (2,)).decided(question(text, "==", "0"))
    assert narrowed.region.ranges == (("n", 1, 3),)
    assert narrowed.region.open == {"n"}


def test_expected_bounds_are_limits_where_they_are_needed():
    base = dataclasses.replace(regime("n", (6,)), expected=(Comparison.parse("n <= 64"),))
    assert base.region.ranges == (("n", 1, None),)
    assert base.bounded().region.ranges == (("n", 1, 64),)
    assert base.bounded().region.open == {"n"}
    halved = base.substitute({"n": 2 * parse("k")})
    assert halved.bounded().region.ranges == (("k", 1, 32),)


def test_bounds_of_a_symbol_bind_what_replaces_it():
    narrowed = regime("n", (6,), "n <= 9", "n >= 3").decided(question("mod(n, 2)", "==", "0"))
    assert narrowed.region.ranges == (("n_per_2", 2, 4),)
    assert narrowed.sizes == {"n_per_2": 3}


def test_a_comparison_becomes_a_constraint_and_a_single_size_a_number():
    base = regime("n", (6,), "n <= 9")
    assert base.decided(question("n", ">=", "5")).region.ranges == (("n", 5, 9),)
    assert base.decided(question("n", ">=", "7")).region.ranges == (("n", 1, 6),)
    assert regime("n", (9,), "n <= 9").decided(question("n", ">=", "9")).leaves[0].shape == (9,)


def one_is_special(x):
    return x.reshape(-1) if x.shape[0] != 1 else jnp.zeros(3)


def equal_sizes(x, y):
    return x + y if x.shape[0] == y.shape[0] else x.sum() - y.sum()


def odd_or_even(x):
    return x * 3 if x.shape[0] % 2 == 0 else x[::-1].cumsum()


def truth_of_a_size(x):
    return x * ((x.shape[0] - 2) or 7)


def threshold(x):
    return x[:5] if x.shape[0] > 5 else x * 2


def smaller_of(x, y):
    return x[: min(x.shape[0], y.shape[0])] * 2


def pad_to_fixed(x):
    return jnp.pad(x, (0, 8 - x.shape[0])) if x.shape[0] < 8 else x


def head_of_four(x):
    return x[:4] + jnp.ones(min(4, x.shape[0]))


@pytest.mark.parametrize(
    "fun",
    [one_is_special, odd_or_even, truth_of_a_size, threshold, pad_to_fixed, head_of_four],
)
def test_one_size(fun):
    check(fun, ("n",), [(n,) for n in range(1, 9)])


@pytest.mark.parametrize("fun", [equal_sizes, smaller_of])
def test_two_sizes(fun):
    check(fun, ("n", "m"), list(itertools.product((1, 2, 5), repeat=2)))


def check(fun: Callable, specs: Sequence[str], points: Sequence[tuple[int, ...]]) -> None:
    constraints = [f"{name} <= 8" for name in specs]
    optimized = sod2jax.optimize(
        fun, shapes=specs, constraints=constraints, poison=True, on_unsupported="error"
    )
    calls = [[np.arange(1.0, size + 1, dtype=np.float32) for size in point] for point in points]
    for point, inputs, (want,) in zip(points, calls, run_plainly(fun, calls), strict=True):
        seen = optimized(*inputs)
        assert seen.shape == want.shape, point
        np.testing.assert_allclose(seen, want, rtol=1e-5, err_msg=str(point))
    assert optimized.stats().exact_fallbacks == 0


def test_too_many_regimes_run_exact_with_a_warning():
    def many(x):
        for size in range(1, 12):
            if x.shape[0] == size:
                return x * size
        return x

    optimized = sod2jax.optimize(many, shapes=("n",), constraints=("n <= 64",))
    for size in (64, 5):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(optimized(x), jax.jit(many)(x))

    def by_comparisons(x):
        for size in range(1, 64):
            if x.shape[0] > size:
                x = x + size
        return x

    optimized = sod2jax.optimize(by_comparisons, shapes=("n",), constraints=("n <= 64",))
    x = np.ones(40, np.float32)
    with pytest.warns(sod2jax.errors.ExactFallbackWarning, match="more than 8 ways"):
        np.testing.assert_array_equal(optimized(x), jax.jit(by_comparisons)(x))
    assert optimized.stats().exact_fallbacks == 1


def test_explain_lists_guards_and_regimes():
    optimized = sod2jax.optimize(one_is_special, shapes=("n",), constraints=("n <= 8",))
    optimized(np.ones(4, np.float32))
    optimized(np.ones(1, np.float32))
    text = optimized.explain()
    assert "guard: n != 1 at" in text
    assert "only where n == 1 (decided at" in text
    assert "test_regimes.py" in text


def blocks_of_four(x):
    assert x.shape[0] % 4 == 0, "the size must be a multiple of 4"
    return x.reshape(-1, 4).sum(1)


def test_an_assertion_on_a_size_makes_a_regime():
    optimized = sod2jax.optimize(blocks_of_four, shapes=("n",), constraints=("n <= 32",))
    for n in (4, 8, 24, 32):
        x = np.arange(1.0, n + 1, dtype=np.float32)
        np.testing.assert_allclose(optimized(x), jax.jit(blocks_of_four)(x), rtol=1e-6)
    assert optimized.stats().exact_fallbacks == 0


def test_sizes_that_fail_the_assertion_get_the_users_error():
    optimized = sod2jax.optimize(blocks_of_four, shapes=("n",), constraints=("n <= 32",))
    with pytest.raises(AssertionError, match="multiple of 4"):  # and nothing besides
        optimized(np.ones(6, np.float32))
    assert optimized.stats().exact_fallbacks == 0


def test_what_was_assumed_is_forgotten_with_the_decisions_that_say_so():
    base = regime("n", (6,), "n <= 9").decided(question("n", ">=", "5"))
    assumed = base.decided(question("2*k", ">=", "n"), {"k": 4})
    assert assumed.assumptions and len(assumed.reasons) == 2
    assert assumed.forgetting() == base


def test_ends_that_decisions_set_are_open():
    base = regime("n, m", (6, 6), "m <= 9")
    narrowed = base.decided(question("100", ">=", "n"))
    assert narrowed.region.ranges == (("m", 1, 9), ("n", 1, 100))
    assert narrowed.region.open == {"n"}
    assert base.decided(question("8", ">=", "m")).region.open == frozenset()


@pytest.mark.parametrize(
    "asked",
    [
        ("n", ">=", "m"),
        ("min(n, 7)", ">=", "floordiv(m, 2)"),
        ("n*m", ">=", "mod(n, 5)*30"),
        ("mod(n*n, 7)", ">=", "mod(m*m, 5)"),
    ],
)
def test_what_is_decided_is_proved(asked):
    asked = question(*asked)
    for shape in [(6, 6), (2, 9), (4, 1), (70, 3)]:
        base = regime("n, m", shape)
        narrowed = base.decided(asked)
        assert narrowed.region.proves(asked if asked.holds(base.sizes) else asked.negated)
        assert narrowed.decided(asked).key == narrowed.key


def test_a_question_is_traced_no_second_time_where_its_answer_does_not_help():
    def fun(x):
        assert x.shape[0] >= 0 and max(x.shape[0], 7) >= 0
        raise ValueError("never")

    f = sod2jax.optimize(fun, shapes=("n",))
    with pytest.raises(ValueError, match="never"):
        f(np.ones(3, np.float32))
    assert f.stats().traces <= 4


def test_a_symbol_with_one_size_left_is_that_size():
    halved = regime("n", (12,), "n <= 12").decided(question("floordiv(n, 2)", ">=", "6"))
    assert halved.leaves[0].shape == (12,)
    substituted = regime("n", (12,), "n <= 12").decided(question("mod(n, 8)", "==", "4"))
    assert substituted.leaves[0].shape == (12,)


def test_symbols_that_two_comparisons_make_equal_are_one():
    ordered = regime("n, m", (5, 5), "n <= 9").decided(question("n", ">=", "m"))
    assert len(ordered.symbols) == 2
    assert len(ordered.decided(question("m", ">=", "n")).symbols) == 1


@pytest.mark.parametrize("specs", [(), ("n", "m")], ids=["bare", "specs"])
def test_a_divisor_that_is_zero_at_a_calls_sizes_is_decided_first(specs):
    def fun(x, y):
        return jnp.roll(x[: min(y.shape[0] % 6, x.shape[0])], x.shape[0]), y.shape[0]

    constraints = ("n <= 12", "m <= 12") if specs else ()
    f = sod2jax.optimize(fun, shapes=specs or None, constraints=constraints, audit=False)
    for n, m in ((5, 4), (4, 12), (1, 12), (7, 7), (3, 1)):
        x, y = np.arange(n, dtype=np.float32), np.ones(m, np.float32)
        for got, want in zip(f(x, y), jax.jit(fun)(x, y), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "fun",
    [
        lambda x, y: x + y,
        lambda x, y: jnp.where(x > 0, x, y),
        lambda x, y: jnp.broadcast_arrays(x, y)[1] * x,
        lambda x, y: jax.vmap(lambda a, b: a * b, (None, 0))(x, jnp.stack([y, -y])),
    ],
    ids=["add", "where", "broadcast", "vmap"],
)
@pytest.mark.parametrize("first", [0, 1, 2])
def test_sizes_that_broadcast_do_so_whichever_came_first(fun, first):
    optimized = sod2jax.optimize(fun, shapes=("n", "m"), on_unsupported="error")
    calls = [(4, 4), (4, 1), (1, 5), (6, 6), (7, 1), (1, 1)]
    for n, m in (*calls[first:], *calls[:first]):
        x, y = np.arange(n, dtype=np.float32) - 1, np.ones(m, np.float32)
        np.testing.assert_array_equal(optimized(x, y), jax.jit(fun)(x, y))
    with pytest.raises((TypeError, ValueError), match="ncompatible shapes"):
        sod2jax.optimize(fun, shapes=("n", "m"))(np.ones(3, np.float32), np.ones(2, np.float32))
