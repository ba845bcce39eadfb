"""Gradients over rows of different sizes are those of each row alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from tests.compile_log import compile_log
from tests.ragged.examples import (
    SIZES,
    SMALL,
    W,
    assert_close,
    examples,
    lengths,
    normal,
    padded,
    squares,
)

LOSS = sod2jax.ragged_vmap(
    squares, (None, 0), (None, "n, 4"), buckets=SMALL, on_unsupported="error"
)


def mean_by_loop(params, xs):
    return sum(squares(params, x) for x in xs) / len(xs)


def mean_of_lists(params, xs):
    return sum(LOSS(params, xs)) / len(xs)


def mean_of_padded(params, xs):
    return LOSS(params, (padded(xs, 8, 4), lengths(xs))).mean()


@jax.jit
def mean_under_jit(params, data, sizes):
    return LOSS(params, (data, sizes)).mean()


SLOW = pytest.mark.slow
WAYS = [
    pytest.param(lambda p, xs: mean_under_jit(p, padded(xs, 8, 4), lengths(xs)), id="jit"),
    pytest.param(mean_of_lists, id="lists"),
    pytest.param(mean_of_padded, id="padded", marks=SLOW),
    pytest.param(
        lambda p, xs: jax.jit(lambda p: mean_of_lists(p, xs))(p), id="jit-lists", marks=SLOW
    ),
]


@pytest.mark.parametrize("mean", WAYS)
def test_gradients_equal_those_of_a_loop(mean):
    xs = examples(*SIZES)
    value, grad = jax.value_and_grad(mean)(W, xs)
    want_value, want = jax.jit(jax.value_and_grad(mean_by_loop))(W, xs)
    np.testing.assert_allclose(value, want_value, rtol=1e-5)
    assert_close(grad, want)


@pytest.mark.parametrize("mean", [WAYS[0], pytest.param(mean_of_lists, id="lists", marks=SLOW)])
def test_hessian_vector_products_equal_those_of_a_loop(mean):
    xs = examples(3, 1, 8)
    v = jax.tree.map(lambda x: normal(*x.shape, seed=7), W)

    def product(f):
        def along(p):
            grad = jax.grad(f)(p, xs)
            return sum(jnp.vdot(g, v[k]) for k, g in grad.items())

        return jax.grad(along)(W)

    assert_close(product(mean), jax.jit(lambda: product(mean_by_loop))(), tol=1e-4)


def test_gradients_of_examples():
    xs = examples(3, 1, 8)
    want = jax.jit(jax.grad(lambda xs: mean_by_loop(W, xs)))(xs)
    assert_close(jax.grad(lambda xs: mean_of_lists(W, xs))([*map(jnp.asarray, xs)]), want)
    grad = jax.grad(mean_under_jit, argnums=1)(W, padded(xs, 8, 4), lengths(xs))
    for row, g in zip(np.asarray(grad), want, strict=True):
        np.testing.assert_allclose(row[: len(g)], g, rtol=1e-5, atol=1e-5)
        assert not row[len(g) :].any()


def test_gradients_compile_once():
    xs = examples(7, 2, 5)
    for sizes in ((8, 1, 3), (8, 2, 3, 4)):
        jax.grad(mean_of_lists)(W, examples(*sizes))
    with compile_log() as log:
        jax.grad(mean_of_lists)(W, xs)
    assert log.count("compile") == 0


def test_sums_over_rows_may_be_taken_in_parts(monkeypatch):
    xs = examples(3, 1, 8, 5)
    monkeypatch.setattr("sod2jax.ragged.batched._MOST", 2 * 4 * (16 + 4))
    f = sod2jax.ragged_vmap(squares, (None, 0), (None, "n, 4"), buckets={"n": (8,)})

    @jax.jit
    def mean(params, data, sizes):
        return f(params, (data, sizes)).mean()

    call = jax.jit(jax.grad(mean, argnums=(0, 1)))
    grads = call(W, padded(xs, 8, 4), lengths(xs))
    assert "scan" in str(call.trace(W, padded(xs, 8, 4), lengths(xs)).jaxpr)
    want = jax.jit(jax.grad(mean_by_loop, argnums=(0, 1)))(W, [*map(jnp.asarray, xs)])
    assert_close(grads[0], want[0])
    for row, g in zip(np.asarray(grads[1]), want[1], strict=True):
        np.testing.assert_allclose(row[: len(g)], g, rtol=1e-5, atol=1e-5)


def test_gradients_of_integers_and_keys_are_none_of_our_business():
    def picked(params, ids, key, x):
        noise = jax.random.normal(key, (x.shape[0],))
        return jnp.sum(params["w"][ids] * x) + jnp.sum(noise * x[:, 0]), ids.max()

    f = sod2jax.ragged_vmap(picked, (None, 0, 0, 0), (None, "n", None, "n, 4"), buckets={"n": (8,)})
    xs, keys = examples(2, 8, 5), list(jax.random.split(jax.random.key(0), 3))
    ids = [np.arange(len(x), dtype=np.int32) % 4 for x in xs]

    def looped(p):
        return sum(picked(p, i, k, x)[0] for i, k, x in zip(ids, keys, xs, strict=True))

    want = jax.jit(jax.grad(looped))(W)
    assert_close(jax.grad(lambda p: sum(y for y, _ in f(p, ids, keys, xs)))(W), want)

    @jax.jit
    def stacked(p, ids, keys, data, sizes):
        return f(p, (ids, sizes), keys, (data, sizes))[0].sum()

    packed = (padded(ids, 8) % 4, jnp.stack(keys), padded(xs, 8, 4), lengths(xs))
    assert_close(jax.grad(stacked)(W, *packed), want)


def test_vmap_of_padded_batches():
    xs = examples(3, 8, 5, 1)
    data, sizes = padded(xs, 8, 4).reshape(2, 2, 8, 4), lengths(xs).reshape(2, 2)
    got = jax.vmap(lambda d, s: LOSS(W, (d, s)))(data, sizes)
    want = [float(squares(W, x)) for x in xs]
    np.testing.assert_allclose(np.ravel(got), want, rtol=1e-5)
    grads = jax.vmap(jax.grad(mean_under_jit), in_axes=(None, 0, 0))(W, data, sizes)
    np.testing.assert_allclose(
        grads["w"][1], jax.jit(jax.grad(mean_by_loop))(W, xs[2:])["w"], rtol=1e-5, atol=1e-5
    )


def test_forward_mode_is_refused():
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(lambda p: mean_of_padded(p, examples(3, 2)), (W,), (W,))


def test_inside_an_optimized_function():
    f = sod2jax.optimize(lambda d, s: LOSS(W, (d, s)), shapes=("b, 8, 4", "b"), buckets={"b": (4,)})
    xs = examples(3, 8, 5)
    want = [float(squares(W, x)) for x in xs]
    np.testing.assert_allclose(f(padded(xs, 8, 4), lengths(xs)), want, rtol=1e-5)
    assert f.stats().exact_fallbacks == 0
