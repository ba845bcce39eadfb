"""Streams of calls to a bare function: every result right, and few programs in the end."""

from __future__ import annotations

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from tests.arguments.trees.compare import assert_same, normal


def ints(high, *shape):
    return np.random.default_rng(shape).integers(0, high, shape).astype(np.int32)


def drawn(*highest, count=8, seed=0):
    rng = random.Random(seed)
    return [tuple(rng.randint(1, high) for high in highest) for _ in range(count)]


PARAMS = {"w": normal(8, 8), "b": normal(8)}
TABLE = {"e": normal(11, 8)}


def layer(params, x):
    return jax.nn.relu(x @ params["w"] + jnp.broadcast_to(params["b"], x.shape))


def regression(params, x, y):
    return ((layer(params, x) - y) ** 2).mean()


def masked(params, x, mask):
    return (layer(params, x) * mask[..., None]).sum(1)


def attention(x):
    return jax.nn.softmax(jnp.einsum("bsd,btd->bst", x, x)) @ x


def cross_entropy(table, ids, labels):
    logits = (table["e"][ids] @ table["e"].T)[:, :-1]
    logs = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logs, labels[..., None], -1).mean()


def decode(cache, mask, x):
    cache = jnp.concatenate([cache, x[None]])
    return cache, jnp.where(mask, cache.sum(1), 0)


def neighbours(x, edges):
    return jnp.zeros_like(x).at[edges[:, 0]].add(x[edges[:, 1]])


def both_ways(x, weights):
    return jnp.concatenate([x, x[::-1]]) * weights


def threshold(x, y):
    return x.sum(0) + y.sum(0) + (0 if x.shape[0] > 8 else 1)


TEXTS = [(2, 9), (2, 12), (3, 7), (2, 5), (4, 20), (3, 3), (1, 2), (1, 7), (2, 33)]
SQUARES = [(8, 8), (4, 4), (8, 8), (3, 5), (8, 2), (2, 9), (1, 1), (1, 5), (5, 1)]

# name: function, arguments of each call, programs in the end, traces that they took
STREAMS = {
    "last batch smaller": (
        regression,
        [(PARAMS, normal(n, 8), normal(n, 8)) for n in (32, 32, 32, 7, 32, 32, 7)],
        2,
        2,
    ),
    "last batch of one": (
        regression,
        [(PARAMS, normal(n, 8), normal(n, 8)) for n in (32, 32, 1, 32, 1, 7)],
        2,
        2,
    ),
    "batch as large as the features": (
        layer,
        [(PARAMS, normal(n, 8)) for n in (8, 8, 4, 8, 3, 1)],
        2,
        2,
    ),
    "lengths": (attention, [(normal(4, n, 3),) for (n,) in drawn(40)], 2, 2),
    "batch and length": (
        masked,
        [(PARAMS, normal(b, s, 8), normal(b, s)) for b, s in [(4, 9), (4, 30), *drawn(6, 40)]],
        3,
        3,
    ),
    "batch and length equal by chance": (
        attention,
        [(normal(b, s, 3),) for b, s in SQUARES],
        3,
        3,
    ),
    "labels one shorter": (
        cross_entropy,
        [(TABLE, ints(11, b, s), ints(11, b, s - 1)) for b, s in TEXTS],
        3,
        5,
    ),
    "labels one shorter, as many as texts at first": (
        cross_entropy,
        [(TABLE, ints(11, b, s), ints(11, b, s - 1)) for b, s in [(8, 9), *TEXTS]],
        3,
        4,
    ),
    "one more position": (
        lambda x, p: jnp.concatenate([x[:1], x]) + p,
        [(normal(n, 3), normal(n + 1, 3)) for n in (4, 9, 5, 7, 33, 1, 2)],
        2,
        3,
    ),
    "twice as many edges, by chance": (
        neighbours,
        [(normal(n, 3), ints(n, m, 2)) for n, m in [(4, 8), (9, 18), (5, 10), (7, 3), (33, 99)]],
        2,
        2,
    ),
    "twice as many edges, as the program needs": (
        both_ways,
        [(normal(n, 3), normal(2 * n, 3)) for n in (4, 9, 5, 7, 33, 1, 2)],
        2,
        3,
    ),
    "a cache that grows": (
        decode,
        [(normal(n, 4), np.ones(n + 1, bool), normal(4)) for n in range(1, 20)],
        2,
        3,
    ),
    "rows or one row for all": (
        lambda x, y: x * y,
        [
            (normal(n), normal(m))
            for n, m in [(4, 4), (9, 9), (5, 1), (7, 7), (1, 8), (9, 1), (1, 1), (33, 33)]
        ],
        5,
        6,
    ),
    "queries and keys": (
        lambda q, k: jax.nn.softmax(q @ k.T) @ k,
        [
            (normal(n, 8), normal(m, 8))
            for n, m in [(4, 4), (9, 9), (5, 7), (7, 5), (8, 8), (1, 8), (9, 1), (1, 1)]
        ],
        3,
        3,
    ),
    "lengths of a decision": (
        threshold,
        [(normal(n, 3), normal(m, 3)) for n, m in drawn(20, 40)],
        3,
        3,
    ),
    "models of two widths": (
        layer,
        [
            ({"w": normal(d, d), "b": normal(d)}, normal(n, d))
            for d, n in [(8, 4), (8, 5), (16, 4), (16, 5), (8, 9), (24, 3)]
        ],
        3,
        3,
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams(name):
    fun, calls, programs, traces = STREAMS[name]
    f = sod2jax.optimize(fun, poison=True, on_unsupported="error")
    for args in calls:
        assert_same(f(*args), jax.jit(fun)(*args))
    assert len(f.planner.specialisations) == programs
    assert f.stats().traces == traces
    for args in calls:
        f(*args)
    assert f.stats().traces == traces


def test_parameters_never_become_symbolic():
    fun, calls, _, _ = STREAMS["batch as large as the features"]
    f = sod2jax.optimize(fun)
    for args in calls:
        f(*args)
    for made in f.planner.specialisations:
        b, w, _ = made.regime.leaves
        assert (b.shape, w.shape) == ((8,), (8, 8))


def test_a_call_that_is_an_error_costs_one_more_program_at_most():
    f = sod2jax.optimize(lambda x, y: x @ y)
    sizes = (4, 9, 5)
    for n in sizes:
        f(normal(3, n), normal(n, 4))
    before = f.stats()
    with pytest.raises(TypeError, match="dot_general requires"):  # and nothing besides
        f(normal(3, 5), normal(6, 4))
    wasted = f.stats().traces
    for n in (*sizes, 12, 1):
        assert_same(f(normal(3, n), normal(n, 4)), jax.jit(jnp.matmul)(normal(3, n), normal(n, 4)))
    assert f.stats().traces <= wasted + 1  # for the sizes that no longer share a symbol
    assert f.stats().compiles <= before.compiles + 1


def test_compiling_comes_to_an_end_when_many_sizes_vary():
    def work(xs):
        return [x.sum() for x in xs]

    rng = random.Random(0)
    f = sod2jax.optimize(work, poison=True, on_unsupported="error")
    compiles = []
    for _ in range(40):
        args = [np.ones(rng.choice([3, 9, 17, 40]), np.float32) for _ in range(6)]
        assert [int(total) for total in f(args)] == [len(x) for x in args]
        compiles.append(f.stats().compiles)
    assert compiles[20] == compiles[-1] <= 20


def test_modes_share_what_is_known():
    f = sod2jax.optimize(
        lambda x, mode: x * 2 if mode == "double" else x, static_argnums=1, poison=True
    )
    for mode in ("double", "same", "other"):
        for n in (3, 7, 5):
            f(normal(n, 4), mode)
    # one program is exact, made before anything was known to vary
    assert f.stats().traces == 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_random_streams(seed):
    rng = random.Random(seed)
    shapes = [(rng.choice([1, 2, 4, 8]), rng.choice([1, 2, 4, 8, 16])) for _ in range(24)]
    f = sod2jax.optimize(masked, poison=True, on_unsupported="error")
    for b, s in shapes:
        args = PARAMS, normal(b, s, 8), normal(b, s)
        assert_same(f(*args), jax.jit(masked)(*args))
    assert f.stats().traces <= 4
