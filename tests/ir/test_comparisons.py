"""Comparisons mean what they say, negated ones the opposite, and regions prove them soundly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.errors import SpecError
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Assumptions, Comparison, violated
from sod2jax.ir.region import Region
from tests import expressions
from tests.expressions import NAMES

OPERATORS = {">=": lambda a, b: a >= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b}
POINTS = [dict(zip(NAMES, p, strict=True)) for p in itertools.product((1, 2, 5), repeat=len(NAMES))]
COMPARISONS = st.builds(
    lambda left, op, right: Comparison(dims.parse(left), op, dims.parse(right)),
    expressions.texts(),
    st.sampled_from(list(OPERATORS)),
    expressions.texts(),
)
RANGES = st.tuples(st.integers(1, 4), st.integers(0, 2)).map(lambda r: (r[0], r[0] + r[1]))
BOXES = st.fixed_dictionaries({name: RANGES for name in NAMES})


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("a < 5", {1, 2}),
        ("5 > a", {1, 2}),
        ("a > 1", {2, 5}),
        ("1 < a <= 5", {2, 5}),
        ("1 <= a < 5", {1, 2}),
        ("5 >= a > 1", {2, 5}),
        ("1 == a", {1}),
        ("a % 5 == 0", {5}),
        ("mod(a, 5) == 0", {5}),
        ("1 <= a <= 2 <= b", {1, 2}),
    ],
)
def test_texts_mean_what_python_means_by_them(text, allowed):
    chain = Comparison.parse_chain(text)
    for a in (1, 2, 5):
        assert all(c.holds({"a": a, "b": 3}) for c in chain) == (a in allowed)


def test_a_chain_is_not_one_comparison():
    with pytest.raises(SpecError, match="is 2 comparisons"):
        Comparison.parse("1 <= a <= 2")


@given(COMPARISONS)
def test_it_holds_where_its_sides_compare_so_and_its_negation_elsewhere(comparison):
    for sizes in POINTS:
        left, right = (dims.evaluate(d, sizes) for d in (comparison.left, comparison.right))
        assert comparison.holds(sizes) == OPERATORS[comparison.op](left, right)
        assert comparison.negated.holds(sizes) == (not comparison.holds(sizes))
        assert comparison.negated.negated.holds(sizes) == comparison.holds(sizes)


@given(COMPARISONS, BOXES)
def test_a_region_proves_only_what_all_its_sizes_bear_out(comparison, box):
    region = Region(tuple((name, lo, hi) for name, (lo, hi) in sorted(box.items())))
    points = region.points(1000)
    every = all(comparison.holds(sizes) for sizes in points)
    assert region.proves(comparison) <= every
    assert not (region.proves(comparison) and region.proves(comparison.negated))


@pytest.mark.parametrize(
    ("text", "proved"),
    [("a >= 1", True), ("a >= 2", False), ("2*a >= a + 1", True), ("a == a", True)],
)
def test_a_region_without_an_upper_bound_proves(text, proved):
    assert Region.of(["a"], []).proves(Comparison.parse(text)) == proved


def test_an_inequality_is_proved_by_bounds_apart():
    region = Region.of(["a", "b"], [Comparison.parse("a <= 4"), Comparison.parse("b >= 5")])
    assert region.proves(Comparison(dims.parse("a"), "!=", dims.parse("b")))
    assert not region.proves(Comparison(dims.parse("a"), "!=", 4))


def test_it_holds_elementwise():
    held = Comparison.parse("a >= b").holds({"a": np.array([1, 2, 3]), "b": 2})
    assert held.tolist() == [False, True, True]


def test_where_it_was_asked_and_how_it_was_written_do_not_tell_two_apart():
    one, other = Comparison.parse("a <= 8"), Comparison(8, ">=", dims.parse("a"), "file.py:3 (f)")
    assert one == other and hash(one) == hash(other)
    assert str(one) == "a <= 8" and str(other) == "8 >= a at file.py:3 (f)"
    assert repr(one) == "Comparison(a <= 8)"


@pytest.mark.parametrize(
    "text", ["a = 3", "a != 3", "a", "1 <= a <= 3", "a <", "< a", "a <= 3 = b", ""]
)
def test_what_is_no_comparison_is_refused(text):
    with pytest.raises(SpecError, match=r"must compare sizes by|one is wanted"):
        Comparison.parse(text)


def test_only_guards_about_known_sizes_can_be_violated():
    guards = (Comparison.parse("a >= 3"), Comparison.parse("b >= 3"), Comparison.parse("a <= 9"))
    assert violated(guards, {"a": 2}) == guards[:1]
    assert violated(guards, {"a": 4}) == ()


def test_assumptions_know_what_they_are_about():
    nothing = Assumptions()
    assert not nothing and nothing.symbols == frozenset()
    some = Assumptions((("k", 3),), (Comparison.parse("m >= n"),))
    assert some and some.symbols == {"k", "m", "n"}


def test_it_does_not_hold_where_a_side_divides_by_zero():
    comparison = Comparison.parse("mod(1, a - 1) >= 0")
    assert not comparison.holds({"a": 1}) and not comparison.negated.holds({"a": 1})
    assert comparison.holds({"a": 3})


def test_divisors_that_are_zero():
    comparison = Comparison.parse("mod(m, n - 2) >= floordiv(m, n)")
    assert str(comparison.zero_divisor({"m": 5, "n": 2})) == "n - 2"
    assert comparison.zero_divisor({"m": 5, "n": 3}) is None
