"""What has one canonical form, and what has not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

import sod2jax
from sod2jax.tracing.audit.canonical import canonical
from sod2jax.tracing.audit.numbering import Numbering

X = jax.ShapeDtypeStruct((5, 4), np.float32)
WEIGHTS = jnp.arange(20.0).reshape(5, 4)


def numbers(numbering, fun, *specs, sizes=None):
    return canonical(numbering, jax.make_jaxpr(fun)(*specs), sizes or {})


def same(one, other, *specs):
    numbering = Numbering()
    return numbers(numbering, one, *specs) == numbers(numbering, other, *specs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(lambda x: x + 1, lambda x: jax.jit(lambda y: y + 1)(x), id="calls"),
        pytest.param(lambda x: x * 2, lambda x: (jnp.sin(x), x * 2)[1], id="dead code"),
        pytest.param(lambda x: x + x.T.T, lambda x: x.reshape(-1).reshape(5, 4) + x, id="moves"),
        pytest.param(lambda x: x[1:], lambda x: lax.dynamic_slice(x, (1, 0), (4, 4)), id="slice"),
        pytest.param(lambda x: x[::-1], lambda x: x[jnp.arange(4, -1, -1)], id="gather"),
        pytest.param(lambda x: x[:, 0], lambda x: x.T[0], id="row"),
        pytest.param(
            lambda x: x * np.sqrt(np.float32(5)),
            lambda x: x * jnp.float32(5) ** 0.5,
            id="constants",
        ),
        pytest.param(lambda x: x[:0], lambda x: (x + 1)[:0], id="no elements"),
        pytest.param(
            lambda x: lax.cond(True, jnp.sin, jnp.cos, x), lambda x: jnp.sin(x), id="known branch"
        ),
        pytest.param(
            lambda x: jnp.pad(jnp.pad(x, 1), 1), lambda x: jnp.pad(x, 2), id="pads of one value"
        ),
        pytest.param(
            lambda x: lax.scan(lambda c, y: (c + y * 2, c), x[0], x),
            lambda x: lax.scan(lambda c, y: (y * 2 + c, c), x[0, :], x),
            id="loops",
        ),
        pytest.param(
            lambda x: jnp.pad(jnp.sin(x), ((1, 0), (0, 2))),
            lambda x: jnp.zeros((6, 6)).at[1:, :-2].add(jnp.sin(x)),
            id="added to zeros",
        ),
        pytest.param(
            lambda x: jnp.pad(jnp.sin(x), ((1, 0), (0, 2))),
            lambda x: jnp.zeros((6, 6)).at[1:, :-2].set(jnp.sin(x)),
            id="put into zeros",
        ),
        pytest.param(
            lambda x: lax.fori_loop(0, 5, lambda k, y: y + x[k], x[0]),
            lambda x: lax.while_loop(
                lambda s: s[0] < s[1], lambda s: (s[0] + 1, s[1], s[2] + x[s[0]]), (0, 5, x[0])
            )[2],
            id="counting",
        ),
        pytest.param(
            lambda x: lax.custom_linear_solve(lambda y: y * 2, x, lambda _, y: y / 2),
            lambda x: lax.custom_linear_solve(lambda y: y * 2, x, lambda _, y: y / 2),
            id="bodies in tuples",
        ),
    ],
)
def test_the_same(one, other):
    assert same(one, other, X)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(lambda x: x + 1, lambda x: x + 2, id="constants"),
        pytest.param(lambda x: x - 1, lambda x: 1 - x, id="order of operands"),
        pytest.param(lambda x: x.sum(0), lambda x: x[:4].T.sum(0), id="moves"),
        pytest.param(lambda x: x[1:], lambda x: x[:-1], id="slices"),
        pytest.param(lambda x: jnp.pad(x, 1), lambda x: jnp.pad(x, 1, "edge"), id="fill"),
        pytest.param(
            lambda x: jnp.pad(jnp.pad(x, 1), 1, constant_values=1),
            lambda x: jnp.pad(x, 2),
            id="pads of two values",
        ),
        pytest.param(lambda x: x.sum(), lambda x: x.max(), id="reducers"),
        pytest.param(lambda x: jnp.cumsum(x, 0), lambda x: jnp.cumsum(x, 1), id="parameters"),
        pytest.param(
            lambda x: lax.scan(lambda c, y: (c + y * 2, c), x[0], x),
            lambda x: lax.scan(lambda c, y: (c + y * 3, c), x[0], x),
            id="loops",
        ),
        pytest.param(
            lambda x: lax.scan(lambda c, y: (c + y, c), x[0], x),
            lambda x: lax.scan(lambda c, y: (c + y, c), x[0], x, reverse=True),
            id="reversed loops",
        ),
        pytest.param(
            lambda x: lax.while_loop(lambda y: y.sum() < 3, lambda y: y + 1, x),
            lambda x: lax.while_loop(lambda y: y.sum() < 4, lambda y: y + 1, x),
            id="conditions",
        ),
        pytest.param(
            lambda x: lax.fori_loop(0, 5, lambda k, y: y + x[k], x[0]),
            lambda x: lax.fori_loop(0, 4, lambda k, y: y + x[k], x[0]),
            id="trips",
        ),
        pytest.param(
            lambda x: jnp.zeros((6, 6)).at[1:, :-2].add(x),
            lambda x: jnp.zeros((6, 6)).at[:-1, :-2].add(x),
            id="places",
        ),
        pytest.param(
            lambda x: jnp.zeros((6, 4)).at[jnp.array([0, 1, 2, 3, 4])].add(x),
            lambda x: jnp.zeros((6, 4)).at[jnp.array([0, 1, 2, 3, 3])].add(x),
            id="places that meet",
        ),
        pytest.param(
            lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
            lambda x: lax.cond(x[0, 0] > 0, jnp.cos, jnp.sin, x),
            id="branches",
        ),
        pytest.param(
            lambda x: lax.reduce(x, 0.0, lambda a, b: a + b * 2, (0,)),
            lambda x: lax.reduce(x, 0.0, lambda a, b: a + b * 3, (0,)),
            id="scalar bodies",
        ),
        pytest.param(
            lambda x: lax.custom_linear_solve(lambda y: y * 2, x, lambda _, y: y / 2),
            lambda x: lax.custom_linear_solve(lambda y: y * 2, x, lambda _, y: y * 2),
            id="bodies in tuples",
        ),
        pytest.param(lambda x: x * WEIGHTS, lambda x: x * (WEIGHTS + 1), id="closed over"),
        pytest.param(lambda x: x[jnp.array([0, 9])], lambda x: x[jnp.array([0, 4])], id="outside"),
    ],
)
def test_not_the_same(one, other):
    assert not same(one, other, X)


def test_nested_loops_do_not_share_their_steps():
    def nested(swap):
        def outer(c, y):
            def inner(d, z):
                pair = (d + z, c) if swap else (c + z, d)
                return pair[0], pair[1].sum()

            return lax.scan(inner, y, y)

        return lambda x: lax.scan(outer, x[0], x)

    assert same(nested(True), nested(True), jax.ShapeDtypeStruct((4, 4), np.float32))
    assert not same(nested(True), nested(False), jax.ShapeDtypeStruct((4, 4), np.float32))


def test_weights_are_compared_by_what_they_hold():
    assert same(lambda x: x * WEIGHTS, lambda x: x * jnp.array(np.asarray(WEIGHTS)), X)
    large = jnp.ones(1 << 17)
    assert same(lambda x: x.sum() * large, lambda x: x.sum() * large, X)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_symbols_have_sizes(size):
    fun = lambda x: (x[1:] * x.shape[0], x.reshape(-1) + jnp.arange(2 * x.shape[0]))  # noqa: E731
    (n,) = export.symbolic_shape("n")
    numbering = Numbering()
    symbolic = numbers(numbering, fun, jax.ShapeDtypeStruct((n, 2), np.float32), sizes={"n": size})
    assert symbolic == numbers(numbering, fun, jax.ShapeDtypeStruct((size, 2), np.float32))
    other = jax.ShapeDtypeStruct((size + 1, 2), np.float32)
    assert symbolic != numbers(numbering, fun, other)


def test_a_callback_may_tell_in_words_of_the_trace_that_made_it() -> None:
    traces = iter(range(1, 100))

    def told(x):
        words = [f"trace {next(traces)}"] * next(traces)
        jax.debug.callback(lambda total: words.append(str(total)), x.sum())
        return x + 1

    fun = sod2jax.optimize(told, shapes=("n",), buckets={"n": (8,)}, on_unsupported="error")
    for size in (5, 1, 8):
        fun(np.ones(size, np.float32))
    assert "audited at" in fun.explain()


@pytest.mark.filterwarnings("error")
def test_second_derivatives_of_first_and_last_elements_are_no_doubt():
    fun = jax.hessian(lambda y: (y**3).mean() + y[0] * y[-1])
    bare = sod2jax.optimize(fun)
    for size in (5, 9, 12, 7):
        x = np.random.default_rng(size).normal(size=size).astype(np.float32)
        np.testing.assert_allclose(bare(x), jax.jit(fun)(x), rtol=1e-5, atol=1e-6)
    assert "trust: proved" in bare.explain()
