"""Indices against true sizes, whatever type they come in."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import interpret
from sod2jax.rewrite.lanes import indices
from sod2jax.rewrite.padded import Padded, constant_fill
from sod2jax.target import Target
from tests.rewrite.values import REGION, A, B

TWO = {"a": jnp.int32(2), "b": jnp.int32(2)}
BIG = 2**31 - 1


def context(span=None):
    return Context(TWO, REGION, interpret, lambda atom: span, Target("cpu"))


@pytest.mark.parametrize(
    ("index", "near"),
    [
        (np.array([0, 2**32 - 1], np.uint32), [0, BIG]),
        (np.array([-128, 127], np.int8), [-128, 127]),
        (np.array([255], np.uint8), [255]),
    ],
)
def test_indices_that_do_not_fit_become_the_nearest(index, near):
    assert indices.to_int32(index).tolist() == near


def test_what_leaves_the_true_size_is_moved_or_marked():
    index = jnp.array([[-1, 0], [1, 1], [3, 2]])
    assert indices.clamped(context(), index, [A - 1, B]).tolist() == [[0, 0], [1, 1], [1, 2]]
    assert indices.checked(context(), index, [A - 1, B]).tolist() == [[BIG, 0], [1, 1], [BIG, 2]]


@pytest.mark.parametrize(
    ("span", "inside"),
    [(None, False), ((0, A - 1), True), ((0, A), False), ((-1, 0), False), ((0, 0), True)],
)
def test_only_a_proof_for_every_size_shows_that_indices_fit(span, inside):
    assert indices.is_inside(context(span), None, [A - 1]) is inside
    assert indices.is_inside(context(span), None, [])


def test_a_start_is_an_integer_where_the_analysis_knows_it():
    here = indices.start(context((1, 1)), None, jnp.int32(1), A + 5, 2)
    assert here == indices.Start(1, 1)
    assert indices.start(context(), None, jnp.int32(9), A, A) == indices.Start(0, 0)
    moved = indices.start(context(), None, jnp.int32(9), A, 1)
    assert (int(moved.value), moved.high) == (1, 3)


def test_a_window_that_passes_the_end_of_the_array_is_moved_back():
    value = Padded.prefix(jnp.arange(4.0), (A,), fills={0: constant_fill(0)})
    seen = indices.read(context(), value, [indices.Start(jnp.int32(1), 3)], (B,))
    assert seen.shape == (B,)
    assert seen.array.shape == (3,)
    assert float(seen.array[0]) == 1
    assert seen.fills == {}


def test_a_write_leaves_lanes_that_no_true_lane_of_the_update_covers():
    operand = Padded.prefix(jnp.zeros(4), (A,))
    update = Padded.prefix(jnp.full(3, 7.0), (B,))
    written = indices.write(context(), operand, update, [indices.Start(0, 0)])
    assert written.array.tolist() == [7, 7, 0, 0]
    kept = indices.write(
        context(), operand, update, [indices.Start(0, 0)], allowed=jnp.asarray(False)
    )
    assert kept.array.tolist() == [0, 0, 0, 0]
