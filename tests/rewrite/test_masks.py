"""Pad lanes overwritten: what changes, what stays, and what is promised then."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.rewrite import masks
from sod2jax.rewrite.padded import Fill, Padded, constant_fill
from tests.rewrite.values import LAYOUTS, SIZES, A, B, laid_out, sizes_of, traced

TWO = {"a": jnp.int32(2), "b": jnp.int32(2)}


@given(SIZES, st.lists(LAYOUTS, min_size=1, max_size=3), st.sets(st.integers(0, 2)))
def test_masks_overwrite_pad_lanes_and_nothing_else(true, layouts, axes):
    axes = [axis for axis in axes if axis < len(layouts)]
    array, _ = laid_out(layouts, true)
    outside = np.zeros(array.shape, bool)
    for axis in axes:
        line, _ = laid_out([layouts[axis]], true)
        shape = [-1 if k == axis else 1 for k in range(len(layouts))]
        outside |= np.isnan(line).reshape(shape)

    def run(at, array):
        return masks.overwritten(sizes_of(at), Padded(array, tuple(layouts)), axes, 7.0).array

    seen = np.asarray(traced(run, true, array))
    assert (seen[outside] == 7).all()
    assert np.array_equal(seen[~outside], array[~outside], equal_nan=True)


def test_a_second_mask_starts_from_the_unmasked_array():
    value = Padded.prefix(jnp.arange(4.0), (A,))
    first = masks.overwritten(sizes_of(TWO), value, (0,), 0)
    second = masks.overwritten(sizes_of(TWO), first, (0,), 5)
    assert second.unmasked is value.array
    assert first.array.tolist() == [0, 1, 0, 0]
    assert second.array.tolist() == [0, 1, 5, 5]
    assert first.key == second.key == value.key


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_lanes_outside_two_axes_hold_the_newer_fill_and_only_that_is_promised(order):
    value = Padded.prefix(jnp.full((4, 3), 9.0), (A, B))
    one = masks.overwritten(sizes_of(TWO), value, (order[0],), 1)
    two = masks.overwritten(sizes_of(TWO), one, (order[1],), 0)
    for axis in (0, 1):
        lanes, fill = np.moveaxis(np.asarray(two.array), axis, 0)[2:], two.fill(axis)
        assert fill.value is None or (lanes == fill.value).all()
        assert not fill.finite or np.isfinite(lanes).all()
    assert two.fill(order[1]).is_known(0)
    same = masks.overwritten(sizes_of(TWO), one, (order[1],), 1)
    assert same.fill(0).is_known(1)
    assert same.fill(1).is_known(1)


def test_a_mask_drops_what_it_makes_untrue():
    value = Padded.prefix(jnp.ones(4), (A,), nonnegative=True, constant=1.0)
    masked = masks.overwritten(sizes_of(TWO), value, (0,), -math.inf)
    assert masked.constant is None
    assert not masked.nonnegative
    assert masked.fill(0) == Fill(-math.inf)
    assert masks.overwritten(sizes_of(TWO), value, (0,), 0).nonnegative


def test_nothing_is_promised_of_nan():
    masked = masks.overwritten(sizes_of(TWO), Padded.prefix(jnp.ones(4), (A,)), (0,), math.nan)
    assert np.isnan(masked.array[2:]).all()
    assert not masks.holds(masked, 0, math.nan, strict=False)


def test_rows_of_nan_hold_a_fill_unless_that_does_harm():
    fill = constant_fill(0, or_nan_row=True)
    value = Padded.prefix(jnp.zeros(4), (A,), fills={0: fill})
    assert masks.holds(value, 0, 0, strict=False)
    assert not masks.holds(value, 0, 0, strict=True)
    assert not masks.holds(value, 0, 1, strict=False)
