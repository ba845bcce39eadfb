"""Bounds of dimensions are sound, and exact where every size can be tried."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.errors import InvariantError, SpecError
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.intervals import Interval, of_expression
from sod2jax.ir.region import Region, bounds, upper
from tests import expressions
from tests.expressions import NAMES

RANGES = st.tuples(st.integers(1, 5), st.integers(0, 3)).map(lambda r: (r[0], r[0] + r[1]))
BOXES = st.fixed_dictionaries({name: RANGES for name in NAMES})
HUGE = 10**6


def region(*constraints, names=NAMES):
    return Region.of(names, map(Comparison.parse, constraints))


def box(ranges):
    return Region(tuple((name, low, high) for name, (low, high) in sorted(ranges.items())))


def points(ranges):
    axes = [range(low, high + 1) for low, high in ranges.values()]
    return [dict(zip(ranges, point, strict=True)) for point in itertools.product(*axes)]


@given(expressions.texts(), BOXES)
def test_bounds_are_exact_on_small_ranges(text, ranges):
    dim = dims.parse(text)
    values = [dims.evaluate(dim, p) for p in points(ranges)]
    assert bounds(dim, box(ranges)) == Interval(min(values), max(values))


@given(expressions.texts(), BOXES)
def test_interval_arithmetic_is_sound(text, ranges):
    dim = dims.parse(text)
    if isinstance(dim, int):
        return
    found = of_expression(dim, box(ranges).ranges)
    assert all(dims.evaluate(dim, p) in found for p in points(ranges))


@given(expressions.texts(), BOXES, st.sets(st.sampled_from(NAMES), min_size=1))
def test_interval_arithmetic_is_sound_without_upper_bounds(text, ranges, unbounded):
    dim = dims.parse(text)
    if isinstance(dim, int):
        return
    open_box = Region(
        tuple((n, low, None if n in unbounded else high) for n, (low, high) in ranges.items())
    )
    found = bounds(dim, open_box)
    stretched = {
        n: (high, high + HUGE) if n in unbounded else (low, high)
        for n, (low, high) in ranges.items()
    }
    corners = {n: {low, high} for n, (low, high) in stretched.items()}
    far = [dict(zip(corners, p, strict=True)) for p in itertools.product(*corners.values())]
    assert all(dims.evaluate(dim, p) in found for p in (*points(ranges), *far))


def test_products_of_floordivs_with_a_negative_factor():
    # jax 0.10 proves here that the square is at least 4.
    dim = dims.parse("floordiv(a - 5, 2) * floordiv(a - 5, 2)")
    assert bounds(dim, region("a <= 9", names=["a"])) == Interval(0, 4)
    low = bounds(dim, region(names=["a"])).low
    assert low is None or low <= 0


def test_large_integers_do_not_wrap():
    small = Region.of(["n"], [Comparison.parse("n <= 7")])
    found = bounds(dims.parse("4611686018427387904 * n"), small)
    assert found == Interval(1 << 62, 7 << 62)


def test_non_monotone_dimensions_are_bounded_by_their_maximum_not_their_end():
    small = region("a <= 8", names=["a"])
    assert upper(dims.parse("mod(a, 5)"), small) == 4
    assert upper(dims.parse("a*(8 - a)"), small) == 16
    assert upper(dims.parse("a - 9"), small) == 0


@pytest.mark.parametrize(
    ("constraints", "dim", "expected"),
    [
        (["a <= 8"], "a", (1, 8)),
        (["8 >= a"], "a", (1, 8)),
        (["a >= 3", "a <= 8", "a <= 7"], "2*a + 1", (7, 15)),
        (["a == 4"], "a", (4, 4)),
        (["a >= b", "a <= 8", "b >= 3", "b <= 20"], "a - b", (0, 5)),
        (["a >= b", "a <= 8", "b >= 3", "b <= 20"], "b", (3, 8)),
        (["mod(a, 4) == 0", "a <= 10"], "a", (4, 8)),
        (["a == 2*b", "a <= 9", "b <= 9"], "a + b", (3, 12)),
        (["2*a <= 9", "a <= 100"], "a", (1, 4)),
        (["a + b <= 6", "a <= 9", "b <= 9"], "a*b", (1, 9)),
        (["floordiv(a, 4) >= 2", "a <= 20"], "a", (8, 20)),
        (["2*floordiv(a + 1, 3) <= 5"], "a", (1, 7)),
    ],
)
def test_constraints_tighten(constraints, dim, expected):
    assert bounds(dims.parse(dim), region(*constraints)) == Interval(*expected)


@given(st.integers(-3, 3), st.integers(1, 5), st.integers(-4, 4), st.integers(-9, 9), st.booleans())
def test_bounds_of_quotients_bound_sizes(factor, divisor, shift, constant, floored_whole):
    """Just the sizes where a comparison holds stay, and no comparison is needed besides."""
    inner = dims.normalise(dims.symbol("a") * (-1 if floored_whole else 1) + shift)
    left = dims.normalise(factor * dims.floordiv(inner, divisor) + constant)
    comparison = Comparison.of(left, ">=", 0)
    sizes = [n for n in range(1, 60) if comparison.holds({"a": n})]
    if not factor or not sizes:
        return
    cut = Region.of(["a"], [comparison, Comparison.parse("a <= 59")])
    assert (cut.ranges, cut.constraints) == ((("a", sizes[0], sizes[-1]),), ())


def test_unrelated_symbols_do_not_matter():
    assert bounds(dims.parse("a"), region("a <= 8", "b >= c")) == Interval(1, 8)


def test_below_cuts_the_region_at_a_bucket():
    cut = region("a >= 2", "a <= 100").below({"a": 16, "b": 8, "c": 4})
    assert cut.ranges == (("a", 2, 16), ("b", 1, 8), ("c", 1, 4))


def test_contains():
    inside = region("a <= 8", "a >= b")
    assert inside.contains({"a": 3, "b": 3, "c": 99})
    assert not inside.contains({"a": 3, "b": 4, "c": 1})
    assert not inside.contains({"a": 9, "b": 4, "c": 1})


def test_upper_refuses_the_unbounded():
    with pytest.raises(InvariantError, match="'2\\*a' is unbounded over 1 <= a"):
        upper(dims.parse("2*a"), region(names=["a"]))


def test_an_empty_region_is_refused():
    with pytest.raises(SpecError, match="leave no size for 'a': 5 <= a <= 4"):
        region("a >= 5", "a <= 4")


def test_printed_form_shows_ranges_and_constraints():
    assert str(region("a <= 8", "a >= b")) == "1 <= a <= 8, 1 <= b, 1 <= c, a >= b"
    assert str(Region(())) == "fixed shapes"


def test_divisors_are_what_constraints_say():
    sizes = region("a % 8 == 0", "0 == (2 * b) % 12", "a % 6 == 0", "c % 4 == 1")
    assert sizes.divisors == {"a": 24, "b": 6}
