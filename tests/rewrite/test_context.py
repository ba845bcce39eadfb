"""The services of rewrite rules: sizes at run time, masks, and moves of true elements."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.errors import UnsupportedPrimitiveError
from sod2jax.ir import dims
from sod2jax.ir.dims import parse
from sod2jax.ir.region import Region
from sod2jax.rewrite import padded
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import interpret
from sod2jax.rewrite.padded import Fill, Padded, constant_fill
from sod2jax.target import Target

A, B = parse("a"), parse("b")
FULL = {"a": 4, "b": 3}
AREA = Region(tuple((name, 1, size) for name, size in FULL.items()))
EQUATION = jax.make_jaxpr(lambda x: x.sum())(1.0 + np.zeros(3)).eqns[0]


def context(sizes):
    ctx = Context(sizes, AREA, interpret, lambda atom: None, Target("cpu"))
    ctx.eqns = (EQUATION,)
    return ctx


def traced(function, sizes, *arrays):
    """``function(context, *arrays)``, compiled for all sizes, at some sizes."""

    def run(vector, *inputs):
        return function(context({"a": vector[0], "b": vector[1]}), *inputs)

    return jax.jit(run)(np.array([sizes["a"], sizes["b"]], np.int32), *arrays)


SIZES = st.fixed_dictionaries({n: st.integers(1, size) for n, size in FULL.items()})
DIMS = st.sampled_from([A, B, 2, 3, A + 1, A * B, dims.floordiv(A + 1, 2), dims.mod(A, 3) + 1])
LAYOUTS = st.lists(DIMS, min_size=1, max_size=3).map(padded.extent)


def true_sizes(shape, sizes):
    return tuple(int(dims.evaluate(d, sizes)) for d in shape)


def laid_out(layouts, sizes, rng):
    """(array with random pad lanes, its true elements) for axes with these layouts."""
    ctx = context(FULL)
    factors = [f for layout in layouts for f in layout]
    true = rng.normal(size=true_sizes(factors, sizes)).astype(np.float32)
    array = np.full(ctx.sizes(factors), np.nan, np.float32)
    array[tuple(map(slice, true.shape))] = true
    shape = true_sizes([dims.product(layout) for layout in layouts], sizes)
    return array.reshape([ctx.extent_size(layout) for layout in layouts]), true.reshape(shape)


def corner(value, shape):
    """The true lanes of an array whose axes are prefixes."""
    return np.asarray(value)[tuple(map(slice, shape))]


def test_padded_sizes_hold_every_true_size():
    ctx = context(FULL)
    assert ctx.size(7) == 7
    assert ctx.sizes((A, A * B, 2 * B + 1)) == (4, 12, 7)
    assert ctx.size(dims.mod(A, 3)) == 2
    assert ctx.size(A * (4 - A)) == 4
    assert ctx.extent_size((A, 2, B)) == 24


@given(SIZES, DIMS)
def test_true_sizes_at_run_time(sizes, dim):
    assert int(traced(lambda ctx: ctx.true(dim), sizes)) == dims.evaluate(dim, sizes)


def test_true_size_of_a_number_is_itself():
    assert context(FULL).true(7) == 7


@given(SIZES, LAYOUTS)
def test_lanes_are_where_the_true_elements_are(sizes, layout):
    if not padded.is_padded(layout):
        return
    array, _ = laid_out([layout], sizes, np.random.default_rng(0))
    found = traced(lambda ctx: ctx.lanes(layout), sizes)
    assert (np.asarray(found) == ~np.isnan(array)).all()


@given(SIZES, st.lists(LAYOUTS, min_size=1, max_size=2))
def test_flat_index_counts_true_elements(sizes, layouts):
    array, true = laid_out(layouts, sizes, np.random.default_rng(0))
    found = np.asarray(traced(lambda ctx: ctx.flat_index(layouts), sizes))
    assert found.shape == array.shape
    assert found[~np.isnan(array)].tolist() == list(range(true.size))


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


@given(SIZES, relayouts())
def test_relayout_equals_reshape_of_the_true_elements(sizes, move):
    layouts, start, stop, shape = move
    array, true = laid_out(layouts, sizes, np.random.default_rng(1))

    def run(ctx, array):
        moved = ctx.relayout(Padded(array, tuple(layouts)), start, stop, shape)
        assert moved.shape == (
            *(dims.product(layout) for layout in layouts[:start]),
            *shape,
            *(dims.product(layout) for layout in layouts[stop:]),
        )
        return ctx.compact(moved).array

    found = traced(run, sizes, array)
    ctx = context(FULL)
    head, tail = (
        [dims.product(layout) for layout in part] for part in (layouts[:start], layouts[stop:])
    )
    whole = [*head, *shape, *tail]
    assert found.shape == ctx.sizes(whole)
    want = true.reshape(true_sizes(whole, sizes))
    assert (corner(found, want.shape) == want).all()


def test_relayout_keeps_what_is_known_of_other_axes():
    array = jnp.zeros((3, 12, 4))
    value = Padded(
        array, ((B,), (A, B), (A,)), {0: constant_fill(0), 1: constant_fill(1), 2: constant_fill(2)}
    )
    moved = context(FULL).relayout(value, 1, 2, (B, A))
    assert moved.fills == {0: constant_fill(0), 3: constant_fill(2)}


def test_unify_moves_only_what_differs():
    ctx = context({name: jnp.int32(2) for name in FULL})
    merged = Padded(jnp.zeros(12), ((A, B),))
    flat = Padded.prefix(jnp.zeros(12), (A * B,))
    assert ctx.unify([(merged, 0), (merged, 0)]) == [merged, merged]
    one, other = ctx.unify([(merged, 0), (flat, 0)])
    assert one.extents == other.extents == ((A * B,),)
    assert other is flat


@given(SIZES)
def test_take_gathers_along_a_prefix(sizes):
    array, true = laid_out([(A, B), (2,)], sizes, np.random.default_rng(0))

    def run(ctx, array):
        index = jnp.array([0, 99, -5], np.int32)
        return ctx.take(Padded(array, ((A, B), (2,))), 0, index, B).array

    found = traced(run, sizes, array)
    assert found.shape == (3, 2)
    assert (np.asarray(found)[0] == true[0]).all()


def test_grow_adds_zeros():
    ctx = context(FULL)
    value = Padded.prefix(jnp.ones((4, 3)), (A, 3))
    assert ctx.grow(value, 0, 2) is value.array
    grown = ctx.grow(value, 0, 6)
    assert grown.shape == (6, 3)
    assert grown.sum() == 12


@given(SIZES, st.lists(LAYOUTS, min_size=1, max_size=3), st.sets(st.integers(0, 2)))
def test_masks_overwrite_pad_lanes_and_nothing_else(sizes, layouts, axes):
    axes = [axis for axis in axes if axis < len(layouts)]
    array, _ = laid_out(layouts, sizes, np.random.default_rng(0))
    ctx = context(FULL)
    outside = np.zeros(array.shape, bool)
    for axis in axes:
        line, _ = laid_out([layouts[axis]], sizes, np.random.default_rng(0))
        shape = [-1 if k == axis else 1 for k in range(len(layouts))]
        outside |= np.isnan(line).reshape(shape)

    def run(ctx, array):
        return ctx.mask(Padded(array, tuple(layouts)), axes, 7.0, "because").array

    found = np.asarray(traced(run, sizes, array))
    assert (found[outside] == 7).all()
    assert np.array_equal(found[~outside], array[~outside], equal_nan=True)
    assert ctx.records == []


def known(value, axis):
    return value.fill(axis).value


def eager():
    return context({"a": jnp.int32(2), "b": jnp.int32(2)})


def test_a_mask_is_recorded_with_its_reason():
    ctx = eager()
    value = Padded.prefix(jnp.zeros((4, 3)), (A, B))
    masked = ctx.mask(value, (0, 1), 0, "the sum would count them")
    again = ctx.mask(ctx.latest(value), (0,), 0, "again")
    assert again is masked
    (first, second) = ctx.records
    assert (first.emitted, second.emitted) == (True, False)
    assert first.axes == (A, B)
    assert "pad lanes of a, b filled with 0; the sum would count them" in str(first)
    assert "pad lanes of a hold 0 already; again" in str(second)
    assert "test_context.py" in first.source


def test_exact_axes_need_no_mask():
    ctx = eager()
    value = Padded.exact(jnp.zeros((4, 3)))
    assert ctx.mask(value, (0, 1), 0, "because") is value
    assert ctx.records == []


def masks_in(function, *arrays):
    jaxpr = jax.make_jaxpr(function)(*arrays)
    return sum(eqn.primitive.name == "select_n" for eqn in jaxpr.eqns)


def test_one_value_is_masked_once_per_fill():
    def run(array):
        ctx = eager()
        value = Padded.prefix(array, (A, B))
        zeros = [ctx.mask(ctx.latest(value), (0, 1), 0, "one") for _ in range(3)]
        ones = [ctx.mask(value, (0, 1), 1, "other") for _ in range(3)]
        return [v.array for v in (*zeros, *ones)]

    assert masks_in(run, np.zeros((4, 3), np.float32)) == 2


def test_a_second_mask_starts_from_the_unmasked_array():
    ctx = eager()
    value = Padded.prefix(jnp.arange(4.0), (A,))
    first = ctx.mask(value, (0,), 0, "one")
    second = ctx.mask(ctx.latest(value), (0,), 5, "two")
    assert second.unmasked is value.array
    assert first.array.tolist() == [0, 1, 0, 0]
    assert second.array.tolist() == [0, 1, 5, 5]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_lanes_outside_two_axes_hold_the_newer_fill_and_only_that_is_promised(order):
    ctx = eager()
    value = Padded.prefix(jnp.full((4, 3), 9.0), (A, B))
    one = ctx.mask(value, (order[0],), 1, "one")
    two = ctx.mask(one, (order[1],), 0, "two")
    for axis in (0, 1):
        lanes = np.moveaxis(np.asarray(two.array), axis, 0)[2:]
        if known(two, axis) is not None:
            assert (lanes == known(two, axis)).all()
        assert not two.fill(axis).finite or np.isfinite(lanes).all()
    assert known(two, order[1]) == 0
    same = ctx.mask(one, (order[1],), 1, "same")
    assert known(same, 0) == known(same, 1) == 1


def test_a_mask_drops_what_it_makes_untrue():
    ctx = eager()
    value = Padded.prefix(jnp.ones(4), (A,), nonnegative=True, constant=1.0)
    masked = ctx.mask(value, (0,), -math.inf, "because")
    assert masked.constant is None
    assert not masked.nonnegative
    assert masked.fill(0) == Fill(-math.inf)
    assert ctx.mask(value, (0,), 0, "because").nonnegative


def test_values_of_a_body_are_dropped_with_it():
    ctx = eager()
    outside = ctx.lanes((A,))
    with ctx.scope():
        assert ctx.lanes((A,)) is outside
        inside = ctx.lanes((B,))
        assert ctx.lanes((B,)) is inside
    assert ctx.lanes((A,)) is outside
    assert ctx.lanes((B,)) is not inside


def test_refusal_names_primitive_source_and_remedy():
    error = context(FULL).refuse("use something else")
    assert isinstance(error, UnsupportedPrimitiveError)
    assert error.primitive == EQUATION.primitive.name
    assert "test_context.py" in error.source
    assert str(error).endswith("cannot run on padded arrays: use something else")


def test_the_source_of_library_code_is_the_line_that_called_it():
    jaxpr = jax.make_jaxpr(lambda x: jnp.var(x))(np.zeros(3, np.float32))
    (call,) = [eqn for eqn in jaxpr.eqns if "jaxpr" in eqn.params]
    ctx = context(FULL)
    ctx.eqns = (call.params["jaxpr"].eqns[0], call)
    assert "test_context.py" in ctx.refuse("").source
