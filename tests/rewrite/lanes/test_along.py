"""Cutting, joining and spreading along one axis."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import interpret
from sod2jax.rewrite.lanes import along
from sod2jax.rewrite.padded import FINITE, Padded, constant_fill
from sod2jax.target import Target
from tests.rewrite.values import FULL, REGION, SIZES, A, B, corner, laid_out, traced


def context(true):
    return Context(true, REGION, interpret, lambda atom: None, Target("cpu"))


def test_lengthen_adds_zeros():
    array = jnp.ones((4, 3))
    assert along.lengthen(array, 0, 2) is array
    assert along.lengthen(array, 0, 6).tolist() == [[1] * 3] * 4 + [[0] * 3] * 2


def test_lengthen_copies_the_last_key():
    keys = jax.random.split(jax.random.key(0), 2)
    longer = along.lengthen(keys, 0, 4)
    assert jax.random.key_data(longer)[2:].tolist() == jax.random.key_data(keys)[1:].tolist() * 2


ZERO, ONE = constant_fill(0), constant_fill(1)


@pytest.mark.parametrize(
    ("fills", "new", "joined"),
    [
        ([ZERO, ZERO], None, {0: ZERO}),
        ([ZERO, ONE], None, {0: FINITE}),
        ([ZERO], ZERO, {0: ZERO}),
        ([ZERO], ONE, {0: FINITE}),
        ([constant_fill(0, or_nan_row=True)], None, {}),
        ([], ONE, {0: ONE}),
        ([], None, {}),
    ],
)
def test_lanes_from_several_places_keep_what_all_promise(fills, new, joined):
    values = [Padded.prefix(jnp.zeros(4), (A,), fills={0: fill}) for fill in fills]
    exact = Padded.exact(np.zeros(4))
    assert along.joined([*values, exact], [0], new, lengthened=0) == joined


@given(SIZES, st.integers(0, 2), st.integers(1, 3))
def test_cut_reads_true_lanes(true, start, stride):
    count = (A + 5 - start) // stride if stride == 1 else B
    if start + (true["b"] - 1) * stride >= true["a"] + 5 and stride > 1:
        return
    array, elements = laid_out([(A + 5,)], true)

    def run(at, array):
        return along.cut(context(at), Padded.prefix(array, (A + 5,)), 0, start, count, stride).array

    want = elements[start::stride] if stride == 1 else elements[start::stride][: true["b"]]
    assert (corner(traced(run, true, array), want.shape) == want).all()


@given(SIZES, st.integers(0, 2), st.sampled_from([0, 1, B]))
def test_spread_puts_lanes_at_their_places(true, low, gap):
    array, elements = laid_out([(A,)], true)
    distance = (true["b"] if gap is B else gap) + 1
    size = low + FULL["a"] * (FULL["b"] + 1)

    def run(at, array):
        array = jnp.where(jnp.isnan(array), 7, array)
        return along.spread(context(at), array, 0, low, gap, size, jnp.float32(7))

    want = np.full(size, 7, np.float32)
    want[low : low + distance * true["a"] : distance] = elements
    assert (np.asarray(traced(run, true, array)) == want).all()
