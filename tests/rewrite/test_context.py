"""The services of rewrite rules that take values and equations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax.errors import UnsupportedPrimitiveError
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import interpret
from sod2jax.rewrite.padded import Padded
from sod2jax.target import Target
from tests.rewrite.values import FULL, REGION, A, B

EQUATION = jax.make_jaxpr(lambda x: x.sum())(1.0 + np.zeros(3)).eqns[0]


def context(sizes):
    ctx = Context(sizes, REGION, interpret, lambda atom: None, Target("cpu"))
    ctx.eqns = (EQUATION,)
    return ctx


def eager():
    return context({"a": jnp.int32(2), "b": jnp.int32(2)})


def test_align_moves_only_what_differs():
    ctx = eager()
    merged = Padded(jnp.zeros(12), ((A, B),))
    flat = Padded.prefix(jnp.zeros(12), (A * B,))
    assert ctx.align([(merged, 0), (merged, 0)]) == [merged, merged]
    one, other = ctx.align([(merged, 0), (flat, 0)])
    assert one.extents == other.extents == ((A * B,),)
    assert other is flat


def test_a_value_is_moved_once():
    ctx = eager()
    merged = Padded(jnp.zeros(12), ((A, B),))
    assert ctx.compact(merged).array is ctx.compact(merged).array
    assert ctx.compact(ctx.compact(merged)) is ctx.compact(merged)


def test_a_mask_is_recorded_with_its_reason():
    ctx = eager()
    value = Padded.prefix(jnp.zeros((4, 3)), (A, B))
    masked = ctx.mask(value, (0, 1), 0, "the sum would count them")
    again = ctx.mask(ctx.latest(value), (0,), 0, "again")
    assert again is masked
    (first, second) = ctx.notes.masks
    assert (first.emitted, second.emitted) == (True, False)
    assert first.axes == (A, B)
    assert "pad lanes of a, b filled with 0 (48 B); the sum would count them" in str(first)
    assert "pad lanes of a hold 0 already; again" in str(second)
    assert "test_context.py" in first.source


def test_exact_axes_need_no_mask():
    ctx = eager()
    value = Padded.exact(jnp.zeros((4, 3)))
    assert ctx.mask(value, (0, 1), 0, "because") is value
    assert ctx.notes.masks == []


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
