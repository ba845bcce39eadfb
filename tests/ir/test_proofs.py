"""Proofs over regions without upper bounds are sound, and strong enough for what traces ask."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region, bounds
from tests import expressions
from tests.expressions import NAMES


def region(*constraints: str, names=NAMES) -> Region:
    return Region.of(names, map(Comparison.parse, constraints))


def comparison(text: str) -> Comparison:
    left, op, right = next(text.partition(op) for op in ("<=", ">=", "==", "!=") if op in text)
    if op == "<=":
        left, op, right = right, ">=", left
    return Comparison(dims.parse(left), op, dims.parse(right))


ALWAYS = [
    "n - min(n, 2) >= 0",
    "n - floordiv(n, 2) >= 0",
    "2*floordiv(n, 2) <= n",
    "2*floordiv(n, 2) >= n - 1",
    "mod(n + mod(-n, 8), 8) == 0",
    "n + mod(-n, 8) >= n",
    "n - max(0, n - 3) >= 0",
    "n - max(0, n - 3) <= 3",
    "max(0, n - 3) <= n - 1",
    "min(n, m) <= n",
    "n + m - max(n, m) >= 1",
    "max(n, m) + min(n, m) == n + m",
    "min(n, m) + min(n, k) <= 2*n",
    "n - floordiv(n, 2) >= floordiv(n, 2)",
    "floordiv(n, 2) + floordiv(n + 1, 2) == n",
    "floordiv(floordiv(n, 2), 2) == floordiv(n, 4)",
    "floordiv(2*n + 1, 4) == floordiv(n, 2)",
    "floordiv(n + 7, 8)*8 >= n",
    "floordiv(n + 7, 8)*8 <= n + 7",
    "floordiv(-n, 8) <= -1",
    "-8*floordiv(-n, 8) >= n",
    "floordiv(max(n - 3, 0), 2) <= n",
    "floordiv(n*m, n) == m",
    "floordiv(n*m, 8) <= n*m",
    "floordiv(n, m)*m <= n",
    "mod(n, m) <= n",
    "mod(n, m) <= m - 1",
    "n*m >= n",
    "n*m >= n + m - 1",
    "n*n >= n",
    "2*n != 2*m + 1",
    "n - min(n, 3) != n",
    "n + 2 != n*0 + 1",
]
UNDER = [
    ("n >= k", ["n >= m", "m >= k"]),
    ("n >= k + 2", ["n >= m + 1", "m >= k + 1"]),
    ("n != m", ["n >= m + 1"]),
    ("n*n >= n*m", ["n >= m"]),
    ("n - 2 == max(0, n - 2)", ["n >= 2"]),
    ("min(n, m) == m", ["n >= m"]),
    ("max(n, m) - min(n, m) == n - m", ["n >= m"]),
    ("floordiv(n, m) >= 1", ["n >= m"]),
    ("floordiv(n, m) == 0", ["n + 1 <= m"]),
    ("mod(n, m) == n", ["n + 1 <= m"]),
    ("n >= 8", ["mod(n, 8) == 0"]),
    ("mod(n, 4) == 0", ["mod(n, 8) == 0"]),
    ("n + m == k", ["n == 2*m", "k == 3*m"]),
    ("n >= 2", ["floordiv(n, 2) >= 1"]),
    ("floordiv(n, 2) >= 1", ["n >= 2"]),
    ("floordiv(n - 5, 3) >= 0", ["n >= 5"]),
    ("n - 1 >= floordiv(n, 2)", ["n >= 2"]),
    ("n >= m", ["n >= max(m, k)"]),
    ("min(n, k) >= m", ["n >= m", "k >= m"]),
    ("n*m >= 6", ["n >= 2", "m >= 3"]),
    ("100 >= n", ["n*m <= 100"]),
    ("n >= 3", ["n + m >= 8", "m <= 5"]),
]


@pytest.mark.parametrize("question", ALWAYS)
def test_is_proved_without_bounds(question):
    asked = comparison(question)
    assert region(names=["n", "m", "k"]).proves(asked)


@pytest.mark.parametrize(("question", "constraints"), UNDER)
def test_is_proved_under_constraints(question, constraints):
    part = region(*constraints, names=["n", "m", "k"])
    assert part.proves(comparison(question))
    assert not part.is_empty


@pytest.mark.parametrize("question", ["n >= 2", "n >= m", "n != m", "mod(n, 2) == 0", "3*n >= m"])
def test_what_some_sizes_refute_is_not_proved(question):
    asked = comparison(question)
    assert not region(names=["n", "m"]).proves(asked)
    assert not region(names=["n", "m"]).proves(asked.negated)


@st.composite
def parts(draw):
    """A region without ends, and its points up to 7 in each direction."""
    texts = draw(st.lists(expressions.texts(3), max_size=2))
    constraints = []
    for text in texts:
        dim = dims.parse(text)
        op = draw(st.sampled_from([">=", "=="]))
        if not isinstance(dim, int):
            constraints.append(Comparison.of(dim, op, draw(st.integers(-2, 5))))
    low = {name: draw(st.integers(1, 3)) for name in NAMES}
    part = Region(tuple((name, low[name], None) for name in NAMES), tuple(constraints))
    axes = [range(low[name], 8) for name in NAMES]
    grid = itertools.product(*axes)
    points: list[dict[str, int]] = [dict(zip(NAMES, point, strict=True)) for point in grid]
    return part, [point for point in points if part.contains(point)]


@given(parts(), expressions.texts(5))
def test_bounds_hold_at_every_point(found, text):
    part, points = found
    dim = dims.parse(text)
    margin = bounds(dim, part)
    assert all(dims.evaluate(dim, point) in margin for point in points)
    assert not (part.is_empty and points)


@given(parts(), expressions.texts(4), expressions.texts(3), st.sampled_from([">=", "==", "!="]))
def test_nothing_that_a_point_refutes_is_proved(found, left, right, op):
    part, points = found
    asked = Comparison(dims.parse(left), op, dims.parse(right))
    if part.proves(asked):
        assert all(asked.holds(point) for point in points)


@given(parts())
def test_a_region_proves_its_own_constraints(found):
    part, _ = found
    assert all(part.proves(constraint) for constraint in part.constraints)


def test_a_region_without_sizes_is_seen():
    assert region("a >= b + 1", "b >= a").is_empty
    assert region("mod(a, 2) == 0", "mod(a, 2) == 1").is_empty
    assert region("a <= 8", "a >= b + 8").is_empty
    assert region("2*a == 2*b + 1").is_empty
    assert not region("a >= b + 1", "b >= c").is_empty
