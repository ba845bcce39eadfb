"""True elements moved to other lanes, at every size."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.ir import dims
from sod2jax.rewrite import moves
from sod2jax.rewrite.padded import Padded, constant_fill
from tests.rewrite.values import (
    FULL,
    LAYOUTS,
    SIZES,
    A,
    B,
    corner,
    laid_out,
    sizes_of,
    traced,
    true_shape,
)


@st.composite
def relayouts(draw):
    """(layouts, start, stop, target shape): the target deals the same factors out differently."""
    layouts = draw(st.lists(LAYOUTS, min_size=1, max_size=3))
    start = draw(st.integers(0, len(layouts) - 1))
    stop = draw(st.integers(start + 1, len(layouts)))
    factors = draw(st.permutations([f for layout in layouts[start:stop] for f in layout]))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(factors) - 1)), max_size=2)))
    groups = itertools.pairwise([0, *cuts, len(factors)])
    return layouts, start, stop, [dims.product(factors[i:j]) for i, j in groups]


@given(SIZES, relayouts(), st.booleans())
def test_relayout_equals_reshape_of_the_true_elements(true, move, fuses_gathers):
    layouts, start, stop, shape = move
    array, elements = laid_out(layouts, true)
    head, tail = (
        [dims.product(layout) for layout in part] for part in (layouts[:start], layouts[stop:])
    )
    whole = [*head, *shape, *tail]

    def run(at, array):
        sizes = sizes_of(at)
        value = Padded(array, tuple(layouts))
        moved = moves.relayout(sizes, value, start, stop, shape, fuses_gathers)
        assert moved.shape == tuple(whole)
        for axis in range(moved.rank):
            moved = moves.relayout(
                sizes, moved, axis, axis + 1, (moved.shape[axis],), fuses_gathers
            )
        return moved.array

    seen = traced(run, true, array)
    assert seen.shape == sizes_of(FULL).sizes(whole)
    want = elements.reshape(true_shape(whole, true))
    assert (corner(seen, want.shape) == want).all()


def test_relayout_keeps_what_is_known_of_other_axes():
    array = jnp.zeros((3, 12, 4))
    fills = {0: constant_fill(0), 1: constant_fill(1), 2: constant_fill(2)}
    value = Padded(array, ((B,), (A, B), (A,)), fills)
    moved = moves.relayout(sizes_of(FULL), value, 1, 2, (B, A))
    assert moved.fills == {0: constant_fill(0), 3: constant_fill(2)}


@given(SIZES)
def test_take_gathers_along_a_prefix(true):
    array, elements = laid_out([(A,), (2,)], true)

    def run(at, array):
        index = jnp.array([0, 99, -5], np.int32)
        return moves.take(Padded(array, ((A,), (2,))), 0, index, B).array

    seen = np.asarray(traced(run, true, array))
    assert seen.shape == (3, 2)
    assert (seen[0] == elements[0]).all()


def test_take_keeps_what_is_known_of_other_axes():
    value = Padded(jnp.zeros((4, 3)), ((A,), (B,)), {0: constant_fill(0), 1: constant_fill(1)})
    taken = moves.take(value, 0, np.arange(3, dtype=np.int32), B)
    assert taken.shape == (B, B)
    assert taken.fills == {1: constant_fill(1)}
