"""Windows along an axis: which of them depend on a true size."""

from __future__ import annotations

import pytest

from sod2jax.ir import dims
from sod2jax.ir.region import Region
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import interpret
from sod2jax.rewrite.lanes.sliding import Windows, fixed
from sod2jax.target import Target

S = dims.symbol("s")


def test_windows_with_steps_of_their_own_are_not_fixed() -> None:
    steps = Windows(3, 2, 1, 1, 1, 2, count=5)
    assert steps.is_fixed
    assert steps.has_fixed_steps
    assert not Windows(3, 2, S, 1, 1, 2, count=5).is_fixed
    assert Windows(3, 2, S, 1, 1, 2, count=5).has_fixed_steps
    assert not Windows(S, 2, 1, 1, 1, 2, count=5).has_fixed_steps


def test_a_window_for_each_lane_is_trivial() -> None:
    assert fixed(1, 1).is_trivial
    assert not fixed(2, 1).is_trivial
    assert not fixed(1, 1, (1, 0)).is_trivial


@pytest.mark.parametrize(
    ("size", "stride", "low", "base", "dilation", "lanes", "within"),
    [
        (3, 2, 1, 1, 1, 2 * S, True),  # the last of s windows is over lanes 2s - 3 to 2s - 1
        (3, 2, 1, 1, 1, 2 * S - 1, False),
        (3, 2, 0, 1, 1, 2 * S + 1, True),
        (3, 2, 0, 1, 1, 2 * S, False),
        (2, 2, 0, 1, 3, 2 * S + 2, True),
        (2, 2, 0, 1, 3, 2 * S + 1, False),
        (3, 2, 1, 2, 1, 2 * S, False),
        (S, 2, 1, 1, 1, 9 * S, False),
    ],
)
def test_windows_end_within_the_true_lanes_where_that_is_proved(
    size, stride, low, base, dilation, lanes, within
) -> None:
    region = Region((("s", 1, 8),))
    ctx = Context({}, region, interpret, lambda atom: None, Target("cpu"))
    windows = Windows(size, stride, low, 1, base, dilation, count=S)
    assert windows.ends_within(ctx, lanes) == within
