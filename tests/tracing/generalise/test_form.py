"""A concrete trace taken apart, and put together again."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.tracing.generalise.form import form_of, map_ints, same_value
from sod2jax.tracing.generalise.rebuild import Rebuilder


def traced(fun, *shapes):
    return jax.jit(fun).trace(*(jax.ShapeDtypeStruct(s, np.float32) for s in shapes)).jaxpr


def test_sizes_change_integers_and_values_but_not_the_skeleton():
    def fun(x):
        return jnp.pad(x, (1, 2)) * len(x)

    small, large = form_of(traced(fun, (5,))), form_of(traced(fun, (9,)))
    assert small.skeleton == large.skeleton
    changed = {(a, b) for a, b in zip(small.ints, large.ints, strict=True) if a != b}
    assert changed == {(5, 9), (8, 12)}
    values = [tuple(map(float, p)) for p in zip(small.values, large.values, strict=True)]
    assert (5.0, 9.0) in values


def test_other_operations_or_wiring_change_the_skeleton():
    base = form_of(traced(lambda x, y: x - y, (4,), (4,)))
    assert form_of(traced(lambda x, y: y - x, (4,), (4,))).skeleton != base.skeleton
    assert form_of(traced(lambda x, y: x + y, (4,), (4,))).skeleton != base.skeleton
    assert form_of(traced(lambda x, y: x - y, (9,), (9,))).skeleton == base.skeleton


def test_integers_are_replaced_in_order():
    seen = []
    mapped = map_ints((1, [2, (3, True)], "s", None), lambda k: seen.append(k) or -k)
    assert seen == [1, 2, 3]
    assert mapped == (-1, [-2, (-3, True)], "s", None)


def test_values_compare_by_identity_or_bits():
    array = np.array([1.0, np.nan])
    assert same_value(array, array.copy())
    assert not same_value(np.float32(0.0), np.float32(-0.0))
    assert not same_value(np.float32(1), np.float64(1))
    assert same_value(jax.random.key(3), jax.random.key(3))
    assert not same_value(jax.random.key(3), jax.random.key(4))


def test_a_form_runs_again():
    def fun(x):
        def body(carry, row):
            return lax.cond(carry > 3.0, lambda c: c * 0.5, lambda c: c + row.sum(), carry), carry

        total, steps = lax.scan(body, 0.0, x)
        last = lax.while_loop(lambda v: v < 10.0, lambda v: v * 2 + total, 1.0)
        return jax.nn.relu(steps) + jax.checkpoint(jnp.sin)(last), x.max(0)

    closed = traced(fun, (4, 3))
    form = form_of(closed)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    again = jax.jit(lambda x: Rebuilder(form.ints, form.values).run(closed, [x]))(x)
    for got, want in zip(again, jax.jit(fun)(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_callbacks_and_avals_of_parameters():
    """A callback that is made anew is the same where its code is, and what it closes over."""

    def fun(x, factor=1):
        def host(y):
            return np.sin(y) * factor

        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        jax.debug.callback(lambda y: None, x)
        return jax.pure_callback(host, like, x) + jax.pure_callback(
            functools.partial(np.add, 1), like, x
        )

    small, large = form_of(traced(fun, (5,))), form_of(traced(fun, (9,)))
    assert small.skeleton == large.skeleton
    other = form_of(traced(lambda x: fun(x, 2), (5,)))
    assert other.skeleton != small.skeleton
    closed = traced(fun, (5,))
    again = Rebuilder([9 if k == 5 else k for k in small.ints], small.values)
    outputs = jax.eval_shape(
        lambda x: again.run(closed, [x]), jax.ShapeDtypeStruct((9,), np.float32)
    )
    assert [y.shape for y in outputs] == [(9,)]
