"""Sizes out of range are refused: which axis, which limit, and what to write instead."""

from __future__ import annotations

import pytest

import sod2jax
from sod2jax.errors import (
    ShapeError,
)
from tests.attention import normal


def test_violated_constraint():
    f = sod2jax.optimize(lambda x: x, shapes=("b, s",), constraints=("b <= s", "mod(s, 2) == 0"))
    f(normal(2, 4))
    with pytest.raises(ShapeError, match="violates the constraint 'b <= s': b = 5, s = 4"):
        f(normal(5, 4))
    with pytest.raises(ShapeError, match=r"violates the constraint 'mod\(s, 2\) == 0': s = 5"):
        f(normal(2, 5))


def test_over_the_maximum():
    by_bound = sod2jax.optimize(
        lambda tree: tree["x"], shapes=({"x": "b, s"},), constraints=("s <= 8",)
    )
    by_bucket = sod2jax.optimize(
        lambda tree: tree["x"], shapes=({"x": "b, s"},), buckets={"s": (4, 8)}
    )
    for f in (by_bound, by_bucket):
        with pytest.raises(ShapeError) as caught:
            f({"x": normal(2, 9)})
        message = str(caught.value)
        assert "axis 1 of 'tree['x']' makes 's' 9, over its maximum of 8" in message
        assert "raise the bound in constraints=('s <= 9', ...)" in message
        assert "the largest of buckets={'s': ...}" in message
        assert f.bucket_for({"x": normal(2, 8)})["s"] == 8


def test_under_the_minimum():
    f = sod2jax.optimize(lambda x: x, shapes=("s",), constraints=("s >= 5",))
    with pytest.raises(
        ShapeError, match=r"axis 0 of 'x' makes 's' 3, under its minimum of 5.*'s >= 3'"
    ):
        f(normal(3))
