"""Sizes at run time, and which lanes of an axis are true ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.ir import dims
from sod2jax.rewrite import padded
from tests.rewrite.values import DIMS, FULL, LAYOUTS, SIZES, A, B, laid_out, sizes_of, traced


def test_padded_sizes_hold_every_true_size():
    sizes = sizes_of(FULL)
    assert sizes.size(7) == 7
    assert sizes.sizes((A, A * B, 2 * B + 1)) == (4, 12, 7)
    assert sizes.size(dims.mod(A, 3)) == 2
    assert sizes.size(A * (4 - A)) == 4
    assert sizes.extent_size((A, 2, B)) == 24


@given(SIZES, DIMS)
def test_true_sizes_at_run_time(true, dim):
    assert int(traced(lambda at: sizes_of(at).true(dim), true)) == dims.evaluate(dim, true)


def test_true_size_of_a_number_is_itself():
    assert sizes_of(FULL).true(7) == 7


@pytest.mark.parametrize(("count", "held"), [(2, 2), (0, 1), (9, 4)])
def test_a_size_that_the_program_computes_is_kept_in_the_region(count, held):
    sizes = sizes_of({})
    sizes.set_true_size("a", jnp.int32(count))
    assert int(sizes.true(A + 1)) == held + 1


@given(SIZES, LAYOUTS)
def test_lanes_are_where_the_true_elements_are(true, layout):
    if not padded.is_padded(layout):
        return
    array, _ = laid_out([layout], true)
    lanes = traced(lambda at: sizes_of(at).lanes(layout), true)
    assert (np.asarray(lanes) == ~np.isnan(array)).all()


@given(SIZES, st.lists(LAYOUTS, min_size=1, max_size=3))
def test_valid_lanes_are_where_the_true_elements_are(true, layouts):
    array, _ = laid_out(layouts, true)
    valid = traced(lambda at: sizes_of(at).valid(layouts, range(len(layouts))), true)
    assert (np.asarray(valid) == ~np.isnan(array)).all()


def test_branches_are_given_lanes_and_no_masks():
    """Else a branch would be given an array as large as what it masks."""

    def run(at, x, y):
        sizes = sizes_of(at)
        valid = sizes.valid(((A,), (2,), (B,)), (0, 1, 2))

        def branch(y):
            return jnp.where(sizes.valid(((A,), (B,), (50,)), (0, 1)), y, 0)

        return jnp.where(valid, x, 0), jax.lax.cond(at["a"] > 1, branch, jnp.negative, y)

    x, y = jnp.ones((4, 2, 3)), jnp.ones((4, 3, 50))
    jaxpr = jax.make_jaxpr(run)({"a": jnp.int32(3), "b": jnp.int32(2)}, x, y)
    (cond,) = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "cond"]
    given = [atom.aval for atom in cond.invars if atom.aval.dtype == bool]
    assert sorted(aval.shape for aval in given) == [(3,), (4,)]


@given(SIZES, st.lists(LAYOUTS, min_size=1, max_size=2))
def test_flat_index_counts_true_elements_and_position_finds_them(true, layouts):
    array, elements = laid_out(layouts, true)

    def run(at):
        sizes = sizes_of(at)
        index = sizes.flat_index(layouts)
        return index, sizes.position(index, layouts)

    index, position = map(np.asarray, traced(run, true))
    assert index.shape == array.shape
    inside = ~np.isnan(array)
    assert index[inside].tolist() == list(range(elements.size))
    assert (array.reshape(-1)[position[inside]] == elements.reshape(-1)).all()


def test_values_of_a_body_are_dropped_with_it():
    sizes = sizes_of({"a": jnp.int32(2), "b": jnp.int32(2)})
    outside = sizes.lanes((A,))
    with sizes.scope():
        assert sizes.lanes((A,)) is outside
        inside = sizes.lanes((B,))
        assert sizes.lanes((B,)) is inside
    assert sizes.lanes((A,)) is outside
    assert sizes.lanes((B,)) is not inside
