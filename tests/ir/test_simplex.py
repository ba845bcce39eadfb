"""Linear programmes are solved exactly."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.ir.simplex import Infeasible, minima


def minimum(goal, rows):
    least, _ = minima([goal, [0] * len(goal)], rows)
    return least


def test_an_optimum_may_lie_between_whole_numbers():
    # least 1 + x - y where 1 + x >= 2*y
    assert minimum([1, 1, -1], [[1, 1, -2]]) == Fraction(1, 2)


def test_there_may_be_no_end():
    assert minimum([0, -1], []) is None
    assert minimum([0, 1, -1], [[0, -1, 1]]) is None


def test_there_may_be_no_point():
    with pytest.raises(Infeasible):
        minimum([0, 1], [[-2, 1], [1, -1]])


def test_a_point_may_have_to_be_found_first():
    # x + y >= 4, x <= 3, x == y + 2
    rows = [[-4, 1, 1], [3, -1, 0], [-2, 1, -1], [2, -1, 1]]
    assert minimum([0, 1, 0], rows) == 3
    assert minimum([0, 0, -1], rows) == -1


numbers = st.integers(-4, 4)
rows_of_two = st.lists(st.lists(numbers, min_size=3, max_size=3), max_size=5)


@given(st.lists(numbers, min_size=3, max_size=3), rows_of_two)
def test_no_point_is_below_the_minimum(objective, rows):
    grid = [(1, x, y) for x, y in itertools.product(range(7), repeat=2)]

    def value(row, point):
        return sum(a * b for a, b in zip(row, point, strict=True))

    inside = [point for point in grid if all(value(row, point) >= 0 for row in rows)]
    try:
        least = minimum(objective, rows)
    except Infeasible:
        assert not inside
        return
    box = [*rows, [6, -1, 0], [6, 0, -1]]
    if least is not None:
        assert all(value(objective, point) >= least for point in inside)
    if inside:
        assert minimum(objective, box) is not None
