"""The bare decorator: right from the first call, and a wrong guess costs only a trace."""

from __future__ import annotations

import itertools
import warnings

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sod2jax
from sod2jax.arguments.learn import Learner
from sod2jax.arguments.signature import Leaf
from sod2jax.ir.dims import evaluate, parse
from sod2jax.tracing import regimes

KEY = ("tree", "mode")


def leaf(*shape: int, dtype=np.float32) -> Leaf:
    return Leaf("x", jax.core.ShapedArray(shape, np.dtype(dtype)), shape)


def learned(calls: list[tuple[tuple[int, ...], ...]]) -> list[tuple]:
    learner = Learner()
    for shapes in calls:
        learned = learner.specs(KEY, [leaf(*shape) for shape in shapes])
    return [entry.shape for entry in learned]


def test_nothing_is_symbolic_until_it_varies():
    assert learned([((3, 8),)]) == [(3, 8)]
    assert learned([((3, 8),), ((3, 8),)]) == [(3, 8)]
    assert learned([((3, 8),), ((5, 8),)]) == [(parse("n0"), 8)]


def test_axes_equal_in_every_call_share_a_symbol():
    x, y = learned([((3, 8), (3,)), ((5, 8), (5,))])
    assert x[0] == y[0] == parse("n0")


def test_a_call_disproves_sharing():
    x, y = learned([((3,), (3,)), ((5,), (5,)), ((5,), (6,))])
    assert x[0] != y[0]
    assert {x[0], y[0]} == {parse("n0"), parse("n1")}


def test_a_symbol_keeps_its_name_when_others_leave_it():
    a, b, c = learned([((3,), (3,), (3,)), ((5,), (5,), (5,)), ((7,), (7,), (8,))])
    assert a == b == (parse("n0"),)
    assert c == (parse("n1"),)


def test_equal_numbers_may_part():
    a, b = learned([((4, 4), (4,)), ((4, 5), (4,))])
    assert (a[0], b[0]) == (4, 4)
    assert not isinstance(a[1], int)


def guessed(calls):
    """The relations to try after some calls, each written as {symbol: dimension}."""
    learner = Learner()
    for shapes in calls:
        learned = learner.specs(KEY, [leaf(*shape) for shape in shapes])
    return [{k: str(v) for k, v in guess.items()} for guess in learner.guesses(KEY, learned)]


def test_separate_symbols_are_tried_before_relations():
    assert guessed([((3,), (2,)), ((5,), (4,))])[:3] == [
        {},
        {"n0": "n1 + 1"},
        {"n0": "n1 + 1"},
    ]


@pytest.mark.parametrize(
    ("pairs", "relation"),
    [
        ([(4, 4), (7, 7), (5, 6), (9, 9)], "n0"),
        ([(3, 4), (9, 10)], "n0 + 1"),
        ([(3, 6), (5, 10)], "2*n0"),
        ([(3, 7), (5, 11), (4, 9)], "2*n0 + 1"),
        ([(3, 30), (4, 40), (9, 90)], "10*n0"),
    ],
)
def test_relations_are_derived_from_sizes(pairs, relation):
    _, derived, *_ = guessed([((a,), (b,)) for a, b in pairs])
    assert derived == {"n1": relation}


def test_what_few_sizes_bear_out_is_no_relation():
    assert guessed([((3,), (7,)), ((5,), (11,))])[1] == {}
    assert guessed([((3,), (9,)), ((5,), (4,)), ((8,), (1,)), ((2,), (8,))])[1] == {}


def test_a_call_that_broadcasts_is_guessed_from_that_call_alone():
    calls = [((4, 8), (4,)), ((5, 8), (5,)), ((9, 8), (1,))]
    assert guessed(calls)[2] == {"n2": "1"}
    assert guessed([*calls, ((8, 8), (8,))])[2] == {"n0": "8", "n2": "8"}


@pytest.mark.parametrize(
    ("sizes", "by_powers", "by_any"),
    [
        ((12, 20), "4*n0_part", "4*n0_part"),
        ((96, 56), "8*n0_part", "8*n0_part"),
        ((25, 15), "2*n0_part + 1", "5*n0_part"),
        ((17, 33, 9), "8*n0_part + 1", "8*n0_part + 1"),
        ((36, 48), "4*n0_part", "12*n0_part"),
        ((96, 56, 24, 28), "4*n0_part", "4*n0_part"),
        ((7, 8, 16), "8*n0_part", "8*n0_part"),
        ((8, 16, 32, 7), None, None),  # the latest is no multiple of 8
        ((12, 7, 10, 1), None, None),
    ],
)
def test_divisors_are_derived_from_sizes(sizes, by_powers, by_any):
    _, _, _, *divided = guessed([((size,),) for size in sizes])
    assert divided == [{"n0": text} if text else {} for text in (by_powers, by_any)]


def test_a_divisor_is_of_the_sizes_that_no_relation_gives():
    calls = [((4,), (5,), (6,)), ((8,), (9,), (10,)), ((16,), (17,), (22,))]
    assert guessed(calls)[3] == {"n0": "4*n0_part", "n1": "n0 + 1", "n2": "2*n2_part"}


def bounds_after(sizes):
    learner = Learner()
    for size in sizes:
        learned = learner.specs(KEY, [leaf(size)])
        bounds = learner.bounds(KEY, learned)
    return [str(bound) for bound in bounds]


def test_bounds_are_some_times_the_largest_size_and_widen():
    assert bounds_after([5]) == []
    assert bounds_after([5, 7]) == bounds_after([5, 7, 64]) == ["64 >= n0"]
    assert bounds_after([5, 100]) == bounds_after([5, 7, 100]) == ["512 >= n0"]
    assert bounds_after([5, 100, 7]) == ["512 >= n0"]
    assert bounds_after([5, 7, 100, 9]) == ["64 >= n0"]  # the program for these is there


def run(fun, shapes, **options):
    """Calls a bare function on arrays of these shapes, and compares; returns it."""
    bare, plain = sod2jax.optimize(fun, poison=True, **options), jax.jit(fun)
    for shape in shapes:
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        for a, b in zip(jax.tree.leaves(bare(x)), jax.tree.leaves(plain(x)), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    return bare


@pytest.mark.parametrize(
    ("fun", "sizes"),
    [
        (lambda x: x.reshape(-1, 8).sum(1), [48, 24, 64, 8, 16]),
        (lambda x: x[1:].reshape(-1, 2).sum(1), [25, 15, 31, 3, 9]),
        (lambda x: x.reshape(3, -1).sum(1), [36, 48, 15, 24]),
    ],
)
def test_a_bare_function_learns_what_divides_its_sizes(fun, sizes):
    f = run(fun, [(size,) for size in sizes])
    assert f.stats().exact_fallbacks == 0 and f.stats().traces <= 5
    assert not any(made.trust.is_checked for made in f.planner.specialisations)


def test_a_size_that_breaks_a_learned_divisor_is_planned_by_other_specs():
    def paired(x):
        return x.reshape(-1, 4).sum(1) if x.shape[0] % 4 == 0 else x[:1]

    f = run(paired, [(size,) for size in (8, 16, 24, 7, 32, 9, 40, 18)])
    assert f.stats().exact_fallbacks == 0
    with warnings.catch_warnings(action="ignore"), pytest.raises(TypeError, match="reshape"):
        run(lambda x: x.reshape(-1, 4), [(8,), (16,), (7,)])


def test_a_learned_bound_is_never_an_error():
    def smoothed(x):  # how the halves overlap is not proved without a bound
        n = x.shape[0]
        low, high = n * n // (n + 3), n * n // (n + 2)
        return x[low : high + 1]

    f = sod2jax.optimize(smoothed, on_unsupported="error", poison=True)
    plain = jax.jit(smoothed)
    for size in (9, 5, 60, 2000, 7, 65, 300):
        x = np.arange(float(size), dtype=np.float32)
        np.testing.assert_array_equal(f(x), plain(x))
    assert f.stats().exact_fallbacks == 0
    assert f.stats().traces <= 8


def test_proved_relations_come_first_and_failures_end_the_guesses():
    learner = Learner()
    for a, b in [(3, 2), (5, 4)]:
        learned = learner.specs(KEY, [leaf(a), leaf(b)])
    relation = {"n0": parse("n1 + 1")}
    learner.succeeded(KEY, learned, relation)
    assert next(learner.guesses(KEY, learned)) == relation
    other = learner.specs(KEY, [leaf(9), leaf(9)])
    assert next(learner.guesses(KEY, other)) == {}
    for _ in range(8):
        learner.failed(KEY, other, {"n0": parse("n1")})
    assert list(learner.guesses(KEY, other)) == [{}]


def test_another_dtype_or_mode_knows_what_varies_but_not_the_sizes():
    learner = Learner()
    for n in (3, 5):
        learner.specs(KEY, [leaf(n, 8)])
    for key, dtype, size in [(KEY, np.int32, 8), (("tree", "eval"), np.float32, 16)]:
        (learned,) = learner.specs(key, [leaf(7, size, dtype=dtype)])
        assert learned.shape == (parse("n0"), size)
    (other,) = learner.specs(("other tree", "mode"), [leaf(7, 8)])
    assert other.shape == (7, 8)


@given(st.lists(st.tuples(*[st.integers(1, 4)] * 4), min_size=1, max_size=12))
def test_specs_fit_every_call(calls):
    learner = Learner()
    seen = []
    for a, b, c, d in calls:
        exact = [leaf(a, b), leaf(c), leaf(d)]
        learned = learner.specs(KEY, exact)
        for guess in learner.guesses(KEY, learned):
            regime = regimes.base(learned, ()).substitute(guess)
            sizes = regime.sizes
            for entry, shape in zip(regime.leaves, exact, strict=True):
                assert tuple(evaluate(dim, sizes) for dim in entry.shape) == shape.shape
        seen.append(tuple(entry.key for entry in learned))
    # each program is asked for by a run of calls: no guess comes back once it was disproved
    assert len([k for k, _ in itertools.groupby(seen)]) == len(set(seen)) <= 2 * 4


@sod2jax.optimize
def loss(params, x, y):
    hidden = jax.nn.relu(x @ params["w"])
    return {"loss": ((hidden.sum(-1) - y) ** 2).mean(), "hidden": hidden}


def test_a_bare_function_is_right_from_the_first_call_on():
    params = {"w": np.eye(4, dtype=np.float32)}
    rng = np.random.default_rng(0)
    plain = jax.jit(loss.__wrapped__)
    for n in (5, 7, 7, 1, 20, 33, 6):
        x, y = rng.normal(size=(n, 4)).astype(np.float32), np.ones(n, np.float32)
        seen, want = loss(params, x, y), plain(params, x, y)
        assert seen["hidden"].shape == want["hidden"].shape
        np.testing.assert_allclose(seen["hidden"], want["hidden"], rtol=1e-5)
        np.testing.assert_allclose(seen["loss"], want["loss"], rtol=1e-5)
    stats = loss.stats()
    # one program for the first shape, one for the batch size once it varied
    assert (stats.traces, stats.exact_fallbacks) == (2, 0)
    assert stats.compiles <= 1 + 3
    assert all(isinstance(d, int) for s in loss.planner.specialisations for d in _weights(s))


def _weights(specialisation):
    return specialisation.regime.leaves[0].shape


def test_sizes_equal_by_chance_part_when_a_call_shows_it():
    @sod2jax.optimize
    def ratio(x, y):
        return x.sum() / y.sum() if x.shape == y.shape else x.sum() + y.sum()

    plain = jax.jit(ratio.__wrapped__)
    for n, m in [(3, 3), (4, 4), (4, 5), (6, 6), (2, 9)]:
        x, y = np.arange(1.0, n + 1), np.arange(1.0, m + 1)
        np.testing.assert_allclose(ratio(x, y), plain(x, y), rtol=1e-6)


def test_constraints_without_specs_are_refused():
    with pytest.raises(sod2jax.errors.SpecError, match="constraints without shapes"):
        sod2jax.optimize(lambda x: 2 * x, constraints=("s <= 3",))
