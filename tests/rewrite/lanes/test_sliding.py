"""Windows along an axis: which of them depend on a true size."""

from __future__ import annotations

from sod2jax.ir import dims
from sod2jax.rewrite.lanes.sliding import Windows, fixed

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
