"""Rows of different sizes: every row is as if it ran alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax import Ragged
from sod2jax.errors import ExactFallbackWarning, ShapeError, SpecError
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
    rows_of,
    squares,
)


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
    got = call(W, (padded(xs, 11, 4), lengths(xs)))
    assert_close(rows_of(got), [jax.jit(fun)(W, x) for x in xs])
    widths = {y.data.shape[1] for y in jax.tree.leaves(got, is_leaf=_is_ragged) if _is_ragged(y)}
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
    got, scales = graphs((3, 4), (8, 11), (1, 1)), [1.0, 2.0, 0.5]
    want = [jax.jit(passed)(g, s) for g, s in zip(got, scales, strict=True)]
    assert_close(f(got, scales), want)

    nodes, edges = [g.nodes for g in got], [g.edges for g in got]
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
    got = second(first((padded(xs, 9, 4), lengths(xs))))
    assert_close(list(got), [jnp.asarray(x[::2].mean(0)) for x in xs])


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
        ((tuple(normal(n, 4) for n in (1, 3, 9)), P[1]), ShapeError, "a list, not a tuple"),
        ((3.0, P[1]), ShapeError, "pass a list of examples"),
        (((normal(3, 4), normal(5, 4)), XY[1]), ShapeError, "no integers: pass examples as a list"),
        ((P[0], [2, 3], P[1]), TypeError, r"<lambda>: too many .* the tuple \(padded, sizes\)"),
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
        (((P[0], [2, 2**32 + 3]), P[1]), ShapeError, "row 1 of .x. has 2147483647 lanes"),
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


def test_what_runs_is_told():
    told = sod2jax.ragged_vmap(lambda x: x.sum(0), shapes=("n, 4",), constraints=("n <= 20",))
    told([normal(3, 4), normal(5, 4)])
    told([normal(17, 4)])
    stats = told.stats()
    assert (stats.calls, stats.traces, stats.exact_fallbacks) == (2, 1, 0)
    assert stats.compiles == len(stats.hits) == 2
    elements = sum(rows * b["n"] for rows, b in zip((2, 1), stats.hits, strict=True))
    assert stats.padding_waste == pytest.approx(elements / (3 + 5 + 17) - 1)
    report = told.explain()
    assert "sod2jax report of <lambda>" in report
    assert all(f"[{bucket}] over rows" in report for bucket in stats.hits)

    alone = sod2jax.ragged_vmap(lambda x: jnp.linalg.svd(x)[0], shapes=("n, 4",))
    with pytest.warns(ExactFallbackWarning, match="svd"):
        alone([normal(5, 4)])
    (reason,) = alone.stats().reasons
    assert "primitive 'svd'" in reason
    assert f"runs with exact shapes: {reason}" in alone.explain()


def test_runs_inside_of_transformations_are_not_counted():
    summed = sod2jax.ragged_vmap(lambda x: (x * x).sum(), shapes=("n",))
    padded = sod2jax.Ragged(jnp.ones((2, 4)), jnp.array([2, 3]))
    assert jax.jit(summed)(padded).tolist() == [2.0, 3.0]
    assert summed.stats().calls == 0
    assert summed.stats().traces == 1


def test_functions_print_what_they_are():
    def pool(x, w):
        return x.sum() * w

    assert (
        repr(sod2jax.ragged_vmap(pool, in_axes=(0, None))) == "ragged_vmap(pool, in_axes=(0, None))"
    )
    named = sod2jax.ragged_vmap(pool, shapes=("n", None))
    assert repr(named) == "ragged_vmap(pool, in_axes=0, shapes=('n', None))"
