"""Integers at several sizes to the dimension that gives them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.tracing.generalise.fit import Fitter, corners, sample_points, samples_wanted


def region_of(names, *constraints):
    return Region.of(names, map(Comparison.parse, constraints))


def fit_text(text, names=("n",), *constraints):
    """Fits the values of a dimension; returns (what was fitted, the dimension)."""
    region = region_of(names, *constraints)
    points = sample_points(region, samples_wanted(len(names)))
    dim = dims.parse(text)
    return Fitter(points).fit(tuple(dims.evaluate(dim, point) for point in points)), dim


@pytest.mark.parametrize(
    "text",
    ["7", "n", "n - 1", "3*n + 2", "n^2", "n^2 + n", "floordiv(n, 2)", "2*floordiv(n, 2) + 1"]
    + ["floordiv(n + 7, 8)", "n - 8*floordiv(n, 8)", "8*floordiv(n + 7, 8) - n", "min(n, 20)"],
)
def test_finds_dimensions_of_one_symbol(text):
    fitted, dim = fit_text(text, ("n",), "n <= 100")
    for size in range(1, 101):
        assert dims.evaluate(fitted, {"n": size}) == dims.evaluate(dim, {"n": size})


@pytest.mark.parametrize("text", ["n*m", "n*m + n", "n + m", "2*n - m", "m*floordiv(m, m) + n"])
def test_finds_dimensions_of_two_symbols(text):
    fitted, dim = fit_text(text, ("m", "n"), "n <= 100", "m <= 80")
    for point in ({"n": 3, "m": 5}, {"n": 100, "m": 1}, {"n": 17, "m": 80}):
        assert dims.evaluate(fitted, point) == dims.evaluate(dim, point)


def test_gives_none_where_nothing_fits():
    points = sample_points(region_of(["n"], "n <= 500"), 6)
    assert Fitter(points).fit(tuple(int(0.3 * p["n"]) ** 2 for p in points)) is None


@given(st.integers(-3, 3), st.integers(-9, 9), st.integers(0, 2))
def test_what_is_fitted_agrees_at_the_samples(slope, offset, square):
    points = sample_points(region_of(["n"], "n <= 64"), samples_wanted(1))
    values = tuple(square * p["n"] ** 2 + slope * p["n"] + offset for p in points)
    fitted = Fitter(points).fit(values)
    assert tuple(dims.evaluate(fitted, p) for p in points) == values


def test_samples_lie_in_the_region_and_differ():
    region = region_of(["m", "n"], "n <= 40", "m <= 40", "n >= m + 2")
    points = sample_points(region, 9)
    assert len(points) == len({tuple(p.values()) for p in points}) == 9
    assert all(region.contains(p) for p in points)
    assert len(sample_points(region_of(["n"], "n <= 4"), 6)) == 4


def test_ends_that_decisions_left_are_no_corners():
    region = Region.of(["n"], [Comparison.parse("n >= 2")])
    assert corners(region.decided([Comparison.parse("n <= 4096")])) == [{"n": 2}]
    assert corners(region.where([]).decided([])) == [{"n": 2}]
    bounded = Region.of(["n"], [Comparison.parse("n <= 9")])
    assert corners(bounded) == [{"n": 1}, {"n": 9}]
