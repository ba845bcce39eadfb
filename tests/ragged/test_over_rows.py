"""Rows that decide by their sizes run in groups, and what has no padded form row by row."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.errors import (
    ExactFallbackWarning,
    ShapeError,
    TraceError,
    UnsupportedPrimitiveError,
)
from tests.ragged.examples import (
    W,
    assert_close,
    examples,
    lengths,
    padded,
    rows_of,
    squares,
)


def decides(x):
    if x.shape[0] == 1:
        return x * 100
    if x.shape[0] > 5:
        return x - x.mean(0, keepdims=True)
    return jnp.cumsum(x, 0)


def test_rows_that_decide_otherwise_run_in_groups():
    f = sod2jax.ragged_vmap(decides, shapes=("n, 4",), buckets={"n": (4, 8)})
    xs = examples(1, 3, 8, 1, 6, 5)
    want = [jax.jit(decides)(x) for x in xs]
    assert_close(f(xs), want)
    assert_close(rows_of(f((padded(xs, 8, 4), lengths(xs)))), want)
    got = jax.grad(lambda xs: sum(jnp.sum(y**2) for y in f(xs)))(list(map(jnp.asarray, xs)))
    assert_close(got, [jax.grad(lambda x: jnp.sum(decides(x) ** 2))(x) for x in xs])
    grad = jax.grad(lambda d: jnp.sum(f((d, lengths(xs))).data ** 2))(padded(xs, 8, 4))
    for row, g in zip(np.asarray(grad), got, strict=True):
        np.testing.assert_allclose(row[: len(g)], g, rtol=1e-5, atol=1e-5)
        assert not row[len(g) :].any()


def test_traced_sizes_cannot_decide():
    f = sod2jax.ragged_vmap(decides, shapes=("n, 4",))
    xs = examples(1, 3)
    with pytest.raises(TraceError, match=r"decides by size: .*5.*over_rows.py:\d+ \(decides\)"):
        jax.jit(f)((padded(xs, 8, 4), lengths(xs)))
    with pytest.raises(TraceError, match=r"n == 1 at .*test_over_rows.py:\d+ \(decides\)"):
        jax.jit(f)((padded(xs, 4, 4), lengths(xs)))
    bounded = sod2jax.ragged_vmap(decides, shapes=("n, 4",), constraints=("n >= 2", "n <= 5"))
    xs = examples(4, 2)
    got = jax.jit(bounded)((padded(xs, 8, 4), lengths(xs)))
    assert_close(rows_of(got), [jax.jit(decides)(x) for x in xs])


def test_gradients_that_decide_by_size():
    @jax.custom_vjp
    def odd(x):
        return x * 2

    def backward(_, g):
        return (g * 7 if g.shape[0] == 3 else g * 2,)

    odd.defvjp(lambda x: (odd(x), None), backward)
    f = sod2jax.ragged_vmap(odd, shapes=("n, 4",))
    xs = examples(3, 5, 1)
    grad = jax.grad(lambda d: jnp.sum(f((d, lengths(xs))).data))(padded(xs, 6, 4, fill=0))
    assert [float(g[0, 0]) for g in grad] == [7, 2, 2]
    with pytest.raises(TraceError, match="gradient of odd decides by size: n == 3"):
        jax.jit(jax.grad(lambda d, n: jnp.sum(f((d, n)).data)))(padded(xs, 6, 4), lengths(xs))


def test_results_that_differ_in_rank_are_lists_only():
    def flat(x):
        return x.reshape(-1) if x.shape[0] != 1 else x

    f = sod2jax.ragged_vmap(flat, shapes=("n, 4",))
    xs = examples(1, 3)
    assert_close(f(xs), [jax.jit(flat)(x) for x in xs])
    with pytest.raises(ShapeError, match=r"differ in more than their sizes.*list"):
        f((padded(xs, 4, 4), lengths(xs)))


def test_programs_that_need_sizes_as_numbers():
    def windowed(x):
        weights = np.hanning(x.shape[0] + 2)[1:-1].astype(np.float32)
        return x * weights[:, None] / math.sqrt(x.shape[0])

    f = sod2jax.ragged_vmap(windowed, shapes=("n, 4",), buckets={"n": (8,)})
    xs = examples(3, 8, 5, 1, 6)
    assert_close(f(xs), [jax.jit(windowed)(x) for x in xs])
    want = jax.jit(lambda xs: [jax.grad(lambda x: jnp.sum(windowed(x) ** 2))(x) for x in xs])(xs)
    got = jax.grad(lambda xs: sum(jnp.sum(y**2) for y in f(xs)))(list(map(jnp.asarray, xs)))
    assert_close(got, want)


def largest(x):
    return lax.approx_max_k(x, 1, reduction_dimension=0)[0] * x, x.sum()


def test_unsupported_primitives_run_row_by_row():
    f = sod2jax.ragged_vmap(largest, shapes=("n, 4",))
    xs = examples(2, 5, 2)
    want = [jax.jit(largest)(x) for x in xs]
    with pytest.warns(ExactFallbackWarning, match=r"row by row.*approx_top_k.*test_over_rows.py"):
        assert_close(f(xs), want)
    assert_close(f(xs), want)  # warns once
    assert_close(rows_of(f((padded(xs, 5, 4), lengths(xs)))), want)
    with pytest.raises(NotImplementedError, match="approx_top_k"):
        jax.jit(f)((padded(xs, 5, 4), lengths(xs)))
    strict = sod2jax.ragged_vmap(largest, shapes=("n, 4",), on_unsupported="error")
    with pytest.raises(UnsupportedPrimitiveError, match="approx_top_k"):
        strict(xs)


def test_unsupported_primitives_in_a_gradient_run_row_by_row():
    @jax.custom_vjp
    def doubled(x):
        return 2 * x

    doubled.defvjp(lambda x: (doubled(x), x), lambda x, g: (largest(x)[0] * g,))
    f = sod2jax.ragged_vmap(lambda w, x: doubled(w * x), (None, 0), (None, "n, 4"))
    xs = examples(2, 5, 3)

    def total(call):
        return lambda w, xs: sum(jnp.sum(y) for y in call(w, xs))

    looped = total(lambda w, xs: [doubled(w * x) for x in xs])
    want = jax.jit(jax.grad(looped, argnums=(0, 1)))(3.0, list(map(jnp.asarray, xs)))
    with pytest.warns(ExactFallbackWarning, match="approx_top_k"):
        assert_close(jax.grad(total(f), argnums=(0, 1))(3.0, list(map(jnp.asarray, xs))), want)


def test_examples_of_size_zero_run_exactly():
    f = sod2jax.ragged_vmap(lambda x: (x * 2, x.sum(0) + 1), shapes=("n, 4",))
    xs = [*examples(3), np.zeros((0, 4), np.float32)]
    want = [(jnp.asarray(x * 2), jnp.asarray(x.sum(0) + 1)) for x in xs]
    assert_close(f(xs), want)
    assert_close(rows_of(f((padded(xs, 4, 4), lengths(xs)))), want)


def test_traced_sizes_out_of_range_give_nan():
    f = sod2jax.ragged_vmap(lambda x: x.sum(), shapes=("n, 4",))
    xs = examples(2, 4, 3, 1)
    got = jax.jit(f)((padded(xs, 4, 4), jnp.array([2, 5, 0, 1])))
    np.testing.assert_allclose(got[::3], [xs[0].sum(), xs[3].sum()], rtol=1e-6)
    assert np.isnan(got[1:3]).all()


def test_debugging_modes_run_exactly():
    xs = examples(2, 5)
    f = sod2jax.ragged_vmap(squares, (None, 0), (None, "n, 4"))
    with jax.debug_nans(True):
        assert_close(f(W, xs), [squares(W, x) for x in xs])
