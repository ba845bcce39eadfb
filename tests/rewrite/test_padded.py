"""Padded values: layouts of axes, and what is known of pad lanes."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.ir.dims import parse
from sod2jax.rewrite import padded
from sod2jax.rewrite.padded import ANYTHING, FINITE, Fill, Padded, RowReduction, constant_fill

B, S = parse("b"), parse("s")


@pytest.mark.parametrize(
    ("factors", "layout"),
    [
        ([], (1,)),
        ([1, 1], (1,)),
        ([4], (4,)),
        ([4, 3], (12,)),
        ([S], (S,)),
        ([S, 1], (S,)),
        ([1, S], (S,)),
        ([S, 4], (4 * S,)),
        ([S, 2, 2], (4 * S,)),
        ([4, S], (4, S)),
        ([B, S], (B, S)),
        ([B, S, 4], (B, 4 * S)),
        ([2, B, 3, S], (2, 3 * B, S)),
    ],
)
def test_layouts_have_one_form(factors, layout):
    assert padded.extent(factors) == layout


def test_kinds_of_layout():
    assert not padded.is_padded((4,))
    assert padded.is_padded((4, S))
    assert padded.is_prefix((4,))
    assert padded.is_prefix((4 * S,))
    assert not padded.is_prefix((4, S))


def test_true_shape():
    value = Padded(jnp.zeros((8, 24, 3)), ((S,), (B, 4 * S), (3,)))
    assert value.shape == (S, 4 * B * S, 3)
    assert value.rank == 3
    assert value.padded_axes == (0, 1)


def test_exact_and_prefix_values():
    assert Padded.exact(np.zeros((2, 3))).extents == ((2,), (3,))
    assert Padded.prefix(jnp.zeros((8, 3)), (S, 3)).extents == ((S,), (3,))
    assert Padded.exact(np.zeros(2)).key != Padded.exact(np.zeros(2)).key


@pytest.mark.parametrize(
    ("dtype", "finite"),
    [("float32", False), ("float16", False), ("bfloat16", False), ("complex64", False)]
    + [("int32", True), ("uint8", True), ("bool", True), ("int4", True)],
)
def test_only_integers_are_finite_by_themselves(dtype, finite):
    value = Padded.prefix(jnp.zeros(8, dtype), (S,))
    assert value.fill(0) == Fill(finite=finite)


def test_a_constant_is_the_fill_of_every_axis():
    value = Padded.prefix(jnp.full((8, 8), -1.0), (B, S), constant=-1.0)
    assert value.fill(0) == value.fill(1) == Fill(-1.0, finite=True)


@pytest.mark.parametrize(
    ("value", "finite"), [(0, True), (-1.5, True), (False, True), (math.inf, False)]
)
def test_fill_of_a_constant(value, finite):
    assert constant_fill(value) == Fill(value, finite=finite)
    assert not constant_fill(value, or_nan_row=True).finite
    assert constant_fill(value).is_known(value)
    assert not ANYTHING.is_known(value)


FILLS = st.one_of(
    st.just(ANYTHING),
    st.just(FINITE),
    st.builds(constant_fill, st.sampled_from([0, 1, math.inf]), st.booleans()),
)


LANES = st.sampled_from([0, 1, 2.5, math.inf, -math.inf, math.nan])


def allows(fill, lane, in_nan_row=False):
    """Whether a fill allows a number in a pad lane."""
    if fill.value is not None:
        return lane == fill.value or (fill.or_nan_row and in_nan_row and math.isnan(lane))
    return not fill.finite or math.isfinite(lane)


@given(FILLS, FILLS, LANES, st.booleans())
def test_the_meet_allows_what_either_side_allows(one, other, lane, in_nan_row):
    if allows(one, lane, in_nan_row) or allows(other, lane, in_nan_row):
        assert allows(one.meet(other), lane, in_nan_row)


@given(FILLS, FILLS, FILLS)
def test_laws_of_the_meet(one, two, three):
    assert one.meet(one) == one
    assert one.meet(two) == two.meet(one)
    assert one.meet(two).meet(three) == one.meet(two.meet(three))
    assert one.meet(ANYTHING) == ANYTHING


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (constant_fill(0), constant_fill(0), constant_fill(0)),
        (constant_fill(0), constant_fill(1), FINITE),
        (constant_fill(0), FINITE, FINITE),
        (constant_fill(0), constant_fill(math.inf), ANYTHING),
        (constant_fill(0), constant_fill(0, or_nan_row=True), constant_fill(0, or_nan_row=True)),
        (constant_fill(1), constant_fill(0, or_nan_row=True), ANYTHING),
        (FINITE, FINITE, FINITE),
    ],
)
def test_the_meet_keeps_what_both_sides_promise(one, other, both):
    assert one.meet(other) == both


@pytest.mark.parametrize("nan", [math.nan, complex(math.nan, 1)])
def test_nan_equals_nothing_so_it_promises_nothing(nan):
    assert constant_fill(nan) == ANYTHING


def test_fills_follow_their_axes():
    zero, one = constant_fill(0), constant_fill(1)
    value = Padded(jnp.zeros((8, 3, 4)), ((S,), (3,), (B,)), {0: zero, 2: one})
    assert value.fills_from((2, None, 0, 1)) == {0: one, 2: zero}
    assert value.pad_fills == {0: zero, 2: one}
    assert Padded.prefix(jnp.zeros(8), (S,)).pad_fills == {0: ANYTHING}


def test_with_array_keeps_what_is_true_of_every_lane():
    row = RowReduction("max", jnp.zeros((8, 3)), frozenset({1}), False, (0,))
    fills = {0: constant_fill(0)}
    value = Padded(jnp.zeros(8), ((S,),), fills, 0.0, row, nonnegative=True, unmasked=jnp.ones(8))
    same = value.with_array(jnp.zeros(8))
    assert (same.extents, same.fills) == (value.extents, fills)
    moved = value.with_array(jnp.zeros((8, 2)), ((S,), (2,)))
    assert (moved.shape, moved.fills) == ((S, 2), {})
    for other in (same, moved):
        assert (other.constant, other.nonnegative) == (0.0, True)
        assert (other.row, other.unmasked) == (None, None)
        assert other.key != value.key
    assert value.with_array(jnp.zeros(8), row=row).row is row


def test_a_row_reduction_knows_its_rows():
    array, other = jnp.zeros((4, 8)), jnp.zeros((4, 8))

    def row(axes, layout):
        return RowReduction("max", array, frozenset(axes), False, layout)

    assert row({1}, (0, None)).is_rows_of(array, 1)
    assert row({0}, (None, 1)).is_rows_of(array, 0)
    assert not row({1}, (0, None)).is_rows_of(other, 1)
    assert not row({1}, (0, None)).is_rows_of(array, 0)
    assert row({0, 1}, (None, None)).is_rows_of(array, 1)
    assert not row({0}, (None, None)).is_rows_of(array, 0)
    assert not row({1}, (None, 0)).is_rows_of(array, 1)
