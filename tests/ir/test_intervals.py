"""Arithmetic of intervals holds every value that operands inside can give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.ir import intervals
from sod2jax.ir.intervals import Interval

SMALL = st.integers(-4, 4)
INTERVALS = st.tuples(SMALL, SMALL).map(lambda p: Interval(min(p), max(p)))
OPERATIONS = {
    "plus": (intervals.plus, lambda x, y: x + y),
    "times": (intervals.times, lambda x, y: x * y),
    "floordiv": (intervals.floordiv, lambda x, y: x // y),
    "mod": (intervals.mod, lambda x, y: x % y),
    "max": (intervals.extremum(max), max),
    "min": (intervals.extremum(min), min),
}


@given(st.sampled_from(sorted(OPERATIONS)), INTERVALS, INTERVALS, st.sets(st.sampled_from("abcd")))
def test_operations_on_intervals_hold_every_value(name, x, y, opened):
    combine, operate = OPERATIONS[name]
    if name in ("floordiv", "mod") and 0 in y:
        return
    wide = {
        "x": Interval(None if "a" in opened else x.low, None if "b" in opened else x.high),
        "y": Interval(None if "c" in opened else y.low, None if "d" in opened else y.high),
    }
    result = combine(wide["x"], wide["y"])
    for u in {*range(x.low, x.high + 1), *(-99 for _ in "a" if wide["x"].low is None)}:
        for v in range(y.low, y.high + 1):
            assert operate(u, v) in result


@pytest.mark.parametrize("value", [-(10**9), 0, 10**9])
def test_an_interval_without_ends_holds_everything(value):
    assert value in Interval(None, None)


def test_a_divisor_that_may_be_zero_says_nothing():
    ends = Interval(1, 9)
    assert intervals.floordiv(ends, Interval(0, 2)) == Interval(None, None)
    assert intervals.mod(ends, Interval(0, 2)) == Interval(None, None)


def test_a_remainder_of_less_than_the_divisor_is_itself():
    assert intervals.mod(Interval(1, 3), Interval(4, 9)) == Interval(1, 3)
    assert intervals.mod(Interval(1, 30), Interval(4, 9)) == Interval(0, 8)
