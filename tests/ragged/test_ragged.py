"""Rows of different sizes: every row is as if it ran alone; so are its gradients."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax import Ragged
from sod2jax.errors import ExactFallbackWarning, ShapeError, SpecError, TraceError
from tests.compile_log import compile_log


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


W = {"w": 0.5 * normal(4, 4, seed=1), "b": normal(4, seed=2)}
SIZES = (1, 3, 8, 5, 7, 2)  # buckets are 4 and 8
SMALL = {"n": (4, 8)}


def examples(*sizes, seed=0):
    return [normal(n, 4, seed=seed + n) for n in sizes]


def padded(arrays, *sizes, fill=np.nan):
    """Arrays in the corner of one array of poison."""
    if not jnp.issubdtype(arrays[0].dtype, np.floating):
        fill = np.iinfo(arrays[0].dtype).max
    out = np.full((len(arrays), *sizes), fill, arrays[0].dtype)
    for row, array in zip(out, arrays, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return out


def lengths(arrays):
    return np.array([len(x) for x in arrays], np.int32)


def assert_close(found, want, tol=1e-5):
    assert jax.tree.structure(found) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert jax.typeof(a).weak_type == jax.typeof(b).weak_type
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tol, atol=tol)


def rows_of(result):
    """The rows of stacked results of one symbol, cut to their sizes."""
    tree = jax.tree.structure(result, is_leaf=lambda x: isinstance(x, Ragged))
    leaves = jax.tree.leaves(result, is_leaf=lambda x: isinstance(x, Ragged))
    count = np.shape(leaves[0].data if isinstance(leaves[0], Ragged) else leaves[0])[0]
    rows = []
    for b in range(count):
        cut = []
        for leaf in leaves:
            if isinstance(leaf, Ragged):
                size = int(leaf.sizes[b])
                pads = np.asarray(leaf.data[b])[size:]
                assert not pads.any()
                cut.append(leaf.data[b][:size])
            else:
                cut.append(leaf[b])
        rows.append(jax.tree.unflatten(tree, cut))
    return rows


# Results


def attention(params, x):
    """[4, 4], [n, 4] -> {"mixed": [n, 4], "mean": [4], "size": []}."""
    h = x @ params["w"] + params["b"][None]
    mixed = jax.nn.softmax(h @ x.T) @ x
    return {"mixed": mixed, "mean": mixed.mean(0), "size": jnp.float32(x.shape[0])}


def layer_norm(params, x):
    y = (x - x.mean(0, keepdims=True)) / jnp.sqrt(x.var(0, keepdims=True) + 1e-5)
    return y * params["b"][None], jnp.arange(x.shape[0])


def ordered(params, x):
    del params
    return jnp.sort(x, 0), jnp.argmax(x, 0), jnp.cumsum(x, 0), x[::-1], jnp.median(x, 0)


def convolved(params, x):
    kernel = jnp.broadcast_to(params["w"][:, :, None], (4, 4, 3))
    y = lax.conv_general_dilated(x.T[None], kernel, (2,), "SAME")[0].T
    return y, jnp.concatenate([x, y, x[:1]])


def recurrent(params, x):
    def step(carry, row):
        carry = jnp.tanh(params["w"] @ carry + row)
        return carry, carry.sum()

    return lax.scan(step, params["b"], x)


def noisy(params, x):
    key = jax.random.key(3)
    return x + jax.random.normal(key, x.shape) * params["b"][None], jax.random.split(
        key, x.shape[0]
    )


PROGRAMS = [attention, layer_norm, ordered, convolved, recurrent, noisy]


@pytest.fixture(scope="module")
def ragged():
    """The programs over rows; compiled once for all tests."""
    options = {"shapes": (None, "n, 4"), "buckets": SMALL, "rows": (8,), "on_unsupported": "error"}
    return {fun: sod2jax.ragged_vmap(fun, (None, 0), **options) for fun in PROGRAMS}


@pytest.mark.parametrize("fun", PROGRAMS)
def test_lists_equal_a_loop(ragged, fun):
    for sizes in (SIZES, (4, 1, 2, 3), (1,)):
        xs = examples(*sizes)
        assert_close(ragged[fun](W, xs), [jax.jit(fun)(W, x) for x in xs])


@pytest.mark.parametrize("fun", [attention, layer_norm, recurrent])
@pytest.mark.parametrize("jit", [False, True])
def test_padded_arrays_equal_a_loop(ragged, fun, jit):
    xs = examples(*SIZES)
    call = jax.jit(ragged[fun]) if jit else ragged[fun]
    found = call(W, (padded(xs, 11, 4), lengths(xs)))
    assert_close(rows_of(found), [jax.jit(fun)(W, x) for x in xs])
    widths = {y.data.shape[1] for y in jax.tree.leaves(found, is_leaf=_is_ragged) if _is_ragged(y)}
    assert widths == {8}  # the largest size in range


def _is_ragged(x):
    return isinstance(x, Ragged)


@pytest.mark.parametrize("fun", PROGRAMS)
@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_the_padding_holds_changes_no_bit(ragged, fun, jit):
    xs = examples(*SIZES)
    call = jax.jit(ragged[fun]) if jit else ragged[fun]
    clean = call(W, Ragged(padded(xs, 8, 4, fill=0), lengths(xs)))
    for fill in (np.nan, np.inf, 3e38):
        other = call(W, Ragged(padded(xs, 8, 4, fill=fill), lengths(xs)))
        for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(other), strict=True):
            if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                a, b = jax.random.key_data(a), jax.random.key_data(b)
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_lists_and_padded_arrays_agree_in_every_bit(ragged):
    xs = examples(8, 3, 5, 1)
    listed = ragged[attention](W, xs)
    stacked = rows_of(ragged[attention](W, (padded(xs, 8, 4), lengths(xs))))
    for a, b in zip(jax.tree.leaves(listed), jax.tree.leaves(stacked), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_rows_and_sizes_that_are_new_compile_nothing(ragged):
    f = ragged[attention]
    for sizes in ((8, 1, 2, 3), (3, 1, 2, 4)):
        f(W, examples(*sizes))
        f(W, (padded(examples(*sizes), 8, 4), lengths(examples(*sizes))))
    xs, other = examples(6, 7, 5), examples(2, 1, 4)
    for arrays in (xs, other):
        packed = (padded(arrays, 9, 4), lengths(arrays))
        f(W, arrays)  # plans for these sizes, from programs that are there
        with compile_log() as log:
            f(W, arrays)
            f(W, packed)
            f(W, arrays[:-1] + arrays[:2])
        assert not log
    with compile_log() as log:
        f(W, examples(6, 5, 7, seed=5))
    assert not log


def test_several_symbols():
    def pairs(x, y):
        return x @ y.T, jnp.concatenate([x, y]).sum(0), jnp.repeat(x, 2, axis=0)

    f = sod2jax.ragged_vmap(pairs, shapes=("n, 4", "m, 4"), buckets={"n": (6,), "m": (4,)})
    xs, ys = examples(1, 6, 4), examples(4, 2, 1, seed=50)
    want = [jax.jit(pairs)(x, y) for x, y in zip(xs, ys, strict=True)]
    assert_close(f(xs, ys), want)
    packed = Ragged(padded(xs, 6, 4), lengths(xs)), Ragged(padded(ys, 4, 4), lengths(ys))
    for call in (f, jax.jit(f)):
        product, total, doubled = call(*packed)
        assert sorted(product.sizes) == ["m", "n"]
        assert doubled.sizes.tolist() == [2, 12, 8]
        for b, (a, t, d) in enumerate(want):
            n, m = product.sizes["n"][b], product.sizes["m"][b]
            np.testing.assert_allclose(product.data[b, :n, :m], a, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(total[b], t, rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(doubled.data[b, : 2 * n], d)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Graph:
    nodes: Any
    edges: Any
    weight: Any = None


def passed(graph, scale):
    """Sums the nodes at the start of each edge into its end."""
    sent = graph.nodes[graph.edges[:, 0]] * scale
    nodes = jnp.zeros_like(graph.nodes).at[graph.edges[:, 1]].add(sent)
    return Graph(nodes, graph.edges[::-1]), graph.nodes.shape[0]


def graphs(*sizes):
    rng = np.random.default_rng(0)
    return [Graph(normal(n, 2, seed=n), rng.integers(0, n, (e, 2), np.int32)) for n, e in sizes]


def test_pytrees_of_lists_and_of_padded_arrays():
    spec = Graph("n, 2", "e, 2", None)
    f = sod2jax.ragged_vmap(passed, shapes=(spec, None), buckets={"n": (8,), "e": (4, 16)})
    found, scales = graphs((3, 4), (8, 11), (1, 1)), [1.0, 2.0, 0.5]
    want = [jax.jit(passed)(g, s) for g, s in zip(found, scales, strict=True)]
    assert_close(f(found, scales), want)

    nodes, edges = [g.nodes for g in found], [g.edges for g in found]
    factors = np.array(scales, np.float32)
    data = Graph(padded(nodes, 8, 2), padded(edges, 16, 2))
    one = Ragged(data, {"n": lengths(nodes), "e": lengths(edges)})
    each = Graph(Ragged(data.nodes, lengths(nodes)), Ragged(data.edges, lengths(edges)))
    for graph in (one, each):
        (out, count), out_jit = f(graph, factors), jax.jit(f)(graph, factors)
        assert count.tolist() == [3, 8, 1]
        assert_close(out, out_jit[0])
        for b, (g, _) in enumerate(want):
            np.testing.assert_array_equal(out.edges.data[b, : len(edges[b])], g.edges)
            np.testing.assert_allclose(out.nodes.data[b, : len(nodes[b])], g.nodes, rtol=1e-6)


def test_results_feed_other_functions():
    first = sod2jax.ragged_vmap(lambda x: x[::2], shapes=("n, 4",))
    second = sod2jax.ragged_vmap(lambda x: x.mean(0), shapes=("k, 4",))
    xs = examples(5, 2, 8)
    found = second(first((padded(xs, 9, 4), lengths(xs))))
    assert_close(list(found), [jnp.asarray(x[::2].mean(0)) for x in xs])


def test_keys_and_numbers_are_arguments():
    def dropped(key, x, rate):
        return jnp.where(jax.random.bernoulli(key, rate, x.shape), x, 0), jax.random.key_data(key)

    f = sod2jax.ragged_vmap(dropped, (0, 0, None), (None, "n, 4", None), buckets={"n": (8,)})
    keys, xs = list(jax.random.split(jax.random.key(0), 3)), examples(2, 8, 5)
    want = [jax.jit(dropped)(k, x, 0.5) for k, x in zip(keys, xs, strict=True)]
    assert_close(f(keys, xs, 0.5), want)
    stacked = f(jnp.stack(keys), (padded(xs, 8, 4), lengths(xs)), 0.5)
    assert_close(rows_of(stacked), want)
    many = sod2jax.ragged_vmap(lambda k: (k, k.shape[0]), shapes=("n",))
    several = [jax.random.split(k, n) for k, n in zip(keys, (1, 3, 2), strict=True)]
    assert_close(many(several), [(k, jnp.asarray(len(k))) for k in map(jnp.asarray, several)])


def test_shared_arguments_may_vary_from_call_to_call():
    def look_up(memory, x):
        return jax.nn.softmax(x @ memory.T) @ memory

    f = sod2jax.ragged_vmap(look_up, (None, 0), ("m, 4", "n, 4"), buckets={"m": (8,), "n": (8,)})
    xs = examples(2, 6)
    for m in (3, 8):
        memory = normal(m, 4, seed=9)
        want = [jax.jit(look_up)(memory, x) for x in xs]
        assert_close(f(memory, xs), want)
        assert_close(rows_of(f(memory, (padded(xs, 6, 4), lengths(xs)))), want)


def test_large_batches_run_in_parts():
    f = sod2jax.ragged_vmap(attention, (None, 0), (None, "n, 4"), buckets=SMALL, rows=(2, 3))
    xs = examples(*SIZES, 4, 4)
    want = [jax.jit(attention)(W, x) for x in xs]
    assert_close(f(W, xs), want)
    assert_close(rows_of(f(W, (padded(xs, 8, 4), lengths(xs)))), want)


# Without specs


def test_lists_teach_which_dimensions_vary():
    f = sod2jax.ragged_vmap(attention, (None, 0))
    for sizes in ((4, 4), (5, 2), (1, 16, 7), (4, 9)):
        xs = examples(*sizes)
        assert_close(f(W, xs), [jax.jit(attention)(W, x) for x in xs])
    f(W, examples(3, 11, 2, 5))
    with compile_log() as log:
        f(W, examples(6, 13, 4))
    assert log.count("compile") == 0


def test_padded_arrays_need_specs():
    f = sod2jax.ragged_vmap(attention, (None, 0))
    with pytest.raises(SpecError, match=r"shapes=.*padded"):
        f(W, Ragged(normal(2, 3, 4), np.array([1, 2])))


# Gradients


def squares(params, x):
    """A loss whose gradient divides by zero in zeroed pad lanes."""
    h = x @ params["w"]
    unit = h / jnp.linalg.norm(h, axis=1, keepdims=True)
    return (
        jnp.sum(jnp.tanh(unit + params["b"][None]) ** 2) / jnp.sqrt(x.shape[0])
        + jnp.log(x * x).mean()
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
    want_value, want = jax.value_and_grad(mean_by_loop)(W, xs)
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

    assert_close(product(mean), product(mean_by_loop), tol=1e-4)


def test_gradients_of_examples():
    xs = examples(3, 1, 8)
    want = jax.grad(lambda xs: mean_by_loop(W, xs))(xs)
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
    want = jax.grad(lambda p, xs: mean_by_loop(p, xs), argnums=(0, 1))(W, [*map(jnp.asarray, xs)])
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

    assert_close(jax.grad(lambda p: sum(y for y, _ in f(p, ids, keys, xs)))(W), jax.grad(looped)(W))

    @jax.jit
    def stacked(p, ids, keys, data, sizes):
        return f(p, (ids, sizes), keys, (data, sizes))[0].sum()

    packed = (padded(ids, 8) % 4, jnp.stack(keys), padded(xs, 8, 4), lengths(xs))
    assert_close(jax.grad(stacked)(W, *packed), jax.grad(looped)(W))


def test_vmap_of_padded_batches():
    xs = examples(3, 8, 5, 1)
    data, sizes = padded(xs, 8, 4).reshape(2, 2, 8, 4), lengths(xs).reshape(2, 2)
    found = jax.vmap(lambda d, s: LOSS(W, (d, s)))(data, sizes)
    want = [float(squares(W, x)) for x in xs]
    np.testing.assert_allclose(np.ravel(found), want, rtol=1e-5)
    grads = jax.vmap(jax.grad(mean_under_jit), in_axes=(None, 0, 0))(W, data, sizes)
    np.testing.assert_allclose(
        grads["w"][1], jax.grad(mean_by_loop)(W, xs[2:])["w"], rtol=1e-5, atol=1e-5
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


# Decisions by size


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
    with pytest.raises(TraceError, match=r"decides by size: .*5.*test_ragged.py:\d+ \(decides\)"):
        jax.jit(f)((padded(xs, 8, 4), lengths(xs)))
    with pytest.raises(TraceError, match=r"n == 1 at .*test_ragged.py:\d+ \(decides\)"):
        jax.jit(f)((padded(xs, 4, 4), lengths(xs)))
    bounded = sod2jax.ragged_vmap(decides, shapes=("n, 4",), constraints=("n >= 2", "n <= 5"))
    xs = examples(4, 2)
    found = jax.jit(bounded)((padded(xs, 8, 4), lengths(xs)))
    assert_close(rows_of(found), [jax.jit(decides)(x) for x in xs])


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
    want = [jax.grad(lambda x: jnp.sum(windowed(x) ** 2))(x) for x in xs]
    got = jax.grad(lambda xs: sum(jnp.sum(y**2) for y in f(xs)))(list(map(jnp.asarray, xs)))
    assert_close(got, want)


# What has no padded form


def called_back(x):
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(lambda a: np.asarray(a) * 2, shape, x), x.sum()


def test_unsupported_primitives_run_row_by_row():
    f = sod2jax.ragged_vmap(called_back, shapes=("n, 4",))
    xs = examples(2, 5, 2)
    want = [jax.jit(called_back)(x) for x in xs]
    with pytest.warns(ExactFallbackWarning, match=r"row by row.*pure_callback.*test_ragged.py"):
        assert_close(f(xs), want)
    assert_close(f(xs), want)  # warns once
    assert_close(rows_of(f((padded(xs, 5, 4), lengths(xs)))), want)
    with pytest.raises(NotImplementedError, match="pure_callback"):
        jax.jit(f)((padded(xs, 5, 4), lengths(xs)))
    strict = sod2jax.ragged_vmap(called_back, shapes=("n, 4",), on_unsupported="error")
    with pytest.raises(TraceError, match="pure_callback"):
        strict(xs)


def test_unsupported_primitives_in_a_gradient_run_row_by_row():
    @jax.custom_vjp
    def doubled(x):
        return 2 * x

    doubled.defvjp(lambda x: (doubled(x), x), lambda x, g: (called_back(x)[0] * g,))
    f = sod2jax.ragged_vmap(lambda w, x: doubled(w * x), (None, 0), (None, "n, 4"))
    xs = examples(2, 5, 3)

    def total(call):
        return lambda w, xs: sum(jnp.sum(y) for y in call(w, xs))

    looped = total(lambda w, xs: [doubled(w * x) for x in xs])
    want = jax.grad(looped, argnums=(0, 1))(3.0, list(map(jnp.asarray, xs)))
    with pytest.warns(ExactFallbackWarning, match="pure_callback"):
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
    found = jax.jit(f)((padded(xs, 4, 4), jnp.array([2, 5, 0, 1])))
    np.testing.assert_allclose(found[::3], [xs[0].sum(), xs[3].sum()], rtol=1e-6)
    assert np.isnan(found[1:3]).all()


def test_debugging_modes_run_exactly():
    xs = examples(2, 5)
    f = sod2jax.ragged_vmap(squares, (None, 0), (None, "n, 4"))
    with jax.debug_nans(True):
        assert_close(f(W, xs), [squares(W, x) for x in xs])


# Errors

SUM = sod2jax.ragged_vmap(
    lambda x, y: x.sum() + y.sum(), shapes=("n, 4", "n"), constraints=("n <= 6",)
)
XY = [normal(2, 4), normal(3, 4)], [normal(2), normal(3)]
P = normal(2, 6, 4), normal(2, 6)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((XY[0], XY[1][:1]), ShapeError, "different numbers of rows: 2 in 'x', 1 in 'y'"),
        (([], []), ShapeError, "'x' is an empty list"),
        ((XY[0], [normal(2), normal(4)]), ShapeError, "example 1: axis 0 of 'y' has size 4"),
        (
            ([*XY[0][:1], normal(7, 4)], [normal(2), normal(7)]),
            ShapeError,
            "example 1: .* over its",
        ),
        (([normal(2, 4), normal(3, 5)], XY[1]), ShapeError, "example 1: axis 1 of 'x' has size 5"),
        (
            ([normal(2, 4), np.ones((3, 4), np.int32)], XY[1]),
            ShapeError,
            "'x' is float32 of rank 2 in",
        ),
        (([normal(2, 4), (normal(3, 4),)], XY[1]), SpecError, "must have one structure: example 0"),
        (((P[0], [2, 3]), XY[1]), SpecError, "'x' is padded, but other arguments are lists"),
        ((P[0], P[1]), SpecError, "'x' needs the sizes of 'n': pass sod2jax.Ragged"),
        (((P[0], [2, 7]), P[1]), ShapeError, "row 1 of 'x' has 7 lanes on axis 0 .* has 6"),
        (((P[0], [2, -1]), P[1]), ShapeError, "the size of 'n' is -1 in row 1"),
        (((P[0], [2, 3, 4]), P[1]), ShapeError, r"must be int32\[2\].*got int64\[3\]"),
        (((P[0], [2.0, 3.0]), P[1]), ShapeError, r"must be int32\[2\].*got float64"),
        (((P[0], [2, 3]), (P[1], [2, 4])), ShapeError, "'n' .* in row 1"),
        (((P[0], {"k": [2, 3]}), P[1]), SpecError, r"name 'k', but the symbols .* are \['n'\]"),
        ((np.float32(3), P[1]), ShapeError, "'x' is mapped, but .* has no axis of rows"),
        ((*XY, XY[0]), TypeError, "too many positional arguments"),
    ],
)
def test_errors_say_what_to_do(args, error, message):
    with pytest.raises(error, match=message):
        SUM(*args)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_axes": 1}, "in_axes must be 0 .* or None"),
        ({"in_axes": (0, True)}, "in_axes must be 0 .* or None"),
        ({"rows": (0,)}, "rows must be positive"),
        ({"shapes": "n"}, "shapes must be a sequence"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(SpecError, match=message):
        sod2jax.ragged_vmap(squares, **options)


def test_calls_are_checked_against_options():
    with pytest.raises(SpecError, match="in_axes maps no argument"):
        sod2jax.ragged_vmap(squares, None)(W, normal(2, 3))
    with pytest.raises(SpecError, match=r"in_axes has 1 entries.*\['params', 'x'\]"):
        sod2jax.ragged_vmap(squares, (0,))(W, [normal(3, 4)])
    with pytest.raises(SpecError, match=r"shapes has 1 specs.*\['params', 'x'\]"):
        sod2jax.ragged_vmap(squares, (None, 0), ("n",))(W, [normal(3, 4)])
    by_name = sod2jax.ragged_vmap(squares, (None, 0), {"x": "n, 4"})
    assert_close(by_name(W, x=examples(3)), [squares(W, x) for x in examples(3)])
    with pytest.raises(SpecError, match=r"shapes names .'z'."):
        sod2jax.ragged_vmap(squares, (None, 0), {"z": "n"})(W, [normal(3, 4)])


def test_functions_print_what_they_are():
    def pool(x, w):
        return x.sum() * w

    assert (
        repr(sod2jax.ragged_vmap(pool, in_axes=(0, None))) == "ragged_vmap(pool, in_axes=(0, None))"
    )
    named = sod2jax.ragged_vmap(pool, shapes=("n", None))
    assert repr(named) == "ragged_vmap(pool, in_axes=0, shapes=('n', None))"


def test_padded_arguments_and_results_print_their_shapes():
    data, sizes = np.ones((3, 5), np.float32), np.array([1, 5, 2], np.int32)
    assert repr(sod2jax.Ragged(data, sizes)) == "Ragged(float32[3, 5], sizes=[1, 5, 2])"
    many = sod2jax.Ragged({"a": data}, {"n": np.arange(100)})
    assert repr(many) == (
        "Ragged({'a': float32[3, 5]}, sizes={'n': [ 0,  1,  2, ..., 97, 98, 99]})"
    )
    printed = []
    jax.jit(lambda *pair: printed.append(repr(sod2jax.Ragged(*pair))))(data, sizes)
    assert printed == ["Ragged(float32[3, 5], sizes=int32[3])"]
