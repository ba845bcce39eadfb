"""Callbacks see what they see under ``jax.jit``: the same arrays, as often, at every size."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import io_callback

import sod2jax
import sod2jax.numpy as snp
from sod2jax.errors import ExactFallbackWarning, UnsupportedPrimitiveError

SIZES = (1, 8, 5, 7)
SEEN: list[Any] = []


def see(*args: Any, **kwargs: Any) -> None:
    leaves = jax.tree.leaves((args, kwargs))
    SEEN.append(
        [(type(x), np.shape(x), np.asarray(x).dtype, np.asarray(x).tolist()) for x in leaves]
    )


def sums(x: Any, *others: Any) -> np.ndarray:
    see(x, *others)
    return np.cumsum(np.asarray(x), dtype=np.float32)


def sine(x: Any) -> np.ndarray:
    see(x)
    return np.sin(np.asarray(x))


def like(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def vector(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=n).astype(np.float32)


@contextmanager
def seeing(ordered: bool) -> Iterator[list[Any]]:
    """Collects what callbacks see; sorted where they may come in any order."""
    SEEN.clear()
    seen: list[Any] = []
    yield seen
    jax.effects_barrier()
    seen.extend(SEEN if ordered else sorted(SEEN, key=repr))


def debug(x):
    jax.debug.callback(see, x > 0, x.astype(jnp.int8), key=x.sum(), size=x.shape[0])
    return x + 1


def debug_ordered(x):
    jax.debug.callback(see, x, ordered=True)
    jax.debug.callback(see, jnp.outer(x, x[:1]).reshape(-1), ordered=True)
    return x


def debug_by_row(x):
    return jax.vmap(lambda row: (jax.debug.callback(see, row, x.sum()), row * 2)[1])(x)


def pure(x):
    return jax.pure_callback(sums, like(x), x * 2) * 2


def pure_tree(x):
    shapes = {"sums": like(x), "twice": jax.ShapeDtypeStruct((2 * x.shape[0],), np.int32)}
    return jax.pure_callback(
        lambda a: {"sums": sums(a), "twice": np.arange(2 * len(a), dtype=np.int32)}, shapes, x
    )


def pure_by_row(method: str, x: Any) -> Any:
    def call(a, b):
        see(a, b)
        return np.sin(np.asarray(a)) + np.asarray(b)[..., :1]

    return jax.vmap(
        lambda row: jax.pure_callback(call, like(row), row, jnp.ones(2), vmap_method=method)
    )(jnp.stack([x, x + 1], 1))


def io_ordered(x):
    once = io_callback(sums, like(x), x, ordered=True)
    return io_callback(sums, like(x), once, ordered=True)


def io(x):
    return io_callback(sums, like(x), x)


def io_by_row(x):
    return jax.vmap(lambda row: io_callback(sine, like(row), row))(x)


def in_scan_ordered(x):
    def step(total, element):
        jax.debug.callback(see, total, element, x, ordered=True)
        return total + element, jax.pure_callback(np.sin, like(x), x + element)

    return lax.scan(step, jnp.float32(0), x)


def in_while_ordered(x):
    def step(state):
        count, y = state
        return count + 1, io_callback(sums, like(y), y, ordered=True) / 2

    return lax.while_loop(lambda state: state[0] < 3, step, (0, x))


def in_while(x):
    def step(state):
        count, y = state
        return count + 1, jax.pure_callback(sums, like(y), y) / 2

    return lax.while_loop(lambda state: state[0] < x.shape[0], step, (0, x))[1]


def in_cond(x):
    return lax.cond(x[0] > 0, lambda y: jax.pure_callback(sums, like(y), y), lambda y: y * 3, x)


def before_cond(x):
    y = jax.pure_callback(sums, like(x), x)
    return lax.cond(x[0] > 0, jnp.cos, lambda _: x, y)


def in_gradient(x):
    def loss(x):
        jax.debug.callback(see, x)
        return (x**2).sum()

    return jax.grad(loss)(x)


def size_in_a_closure(x):
    n, shape = x.shape[0], x.shape

    def inner(a):
        return np.full(2 * n, n, np.float32) + np.asarray(a)[:1]

    def call(a, scale=n + 1):
        see(a, n, shape, scale, list(range(n)))
        return inner(a)

    return jax.pure_callback(call, jax.ShapeDtypeStruct((2 * n,), np.float32), x)


def size_in_a_partial(x):
    jax.debug.callback(functools.partial(see, x.shape[0], (x.shape,)), x.sum())
    return x


def size_and_nothing_else(x):
    n = x.shape[0]
    jax.debug.callback(lambda: see(n))
    lax.scan(lambda c, t: (jax.debug.callback(lambda v: see(v, n), t), (c, None))[1], 0, np.ones(2))
    return x


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    f.__name__: f
    for f in (
        debug,
        debug_ordered,
        debug_by_row,
        pure,
        pure_tree,
        io_ordered,
        io_by_row,
        in_scan_ordered,
        in_while_ordered,
        in_cond,
        before_cond,
        in_gradient,
        size_in_a_closure,
        size_in_a_partial,
        size_and_nothing_else,
    )
}
METHODS = ("sequential", "sequential_unrolled", "expand_dims", "broadcast_all")
PROGRAMS |= {f"pure_by_row_{m}": functools.partial(pure_by_row, m) for m in METHODS}


@pytest.mark.parametrize("name", PROGRAMS)
def test_callbacks_see_what_they_see_under_jit(name):
    fun = PROGRAMS[name]
    f = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (8,)}, on_unsupported="error")
    for n in SIZES:
        with seeing("ordered" in name) as want:
            result = jax.jit(fun)(vector(n))
        with seeing("ordered" in name) as seen:
            given = f.run((vector(n),), {}, True, foreign=True)
        assert seen == want, n
        assert want or name == "in_cond"
        for a, b in zip(*map(jax.tree.leaves, (given, result)), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("name", ["pure", "size_in_a_closure", "debug_ordered"])
def test_bare(name):
    fun = PROGRAMS[name]
    f = sod2jax.optimize(fun)
    for n in SIZES:
        with seeing("ordered" in name) as want:
            result = jax.jit(fun)(vector(n))
        with seeing("ordered" in name) as seen:
            given = f(vector(n))
        assert seen == want
        np.testing.assert_allclose(given, result, rtol=1e-5)
    assert f.stats().exact_fallbacks == 0


def scalar(x):
    return jax.pure_callback(np.sin, like(x.sum()), x.sum())


@pytest.mark.parametrize("fun", [debug, pure, io, size_in_a_closure, scalar])
def test_rows_of_a_ragged_batch_call_once_each(fun):
    rows = [vector(n) for n in (3, 8, 1, 5, 2)]
    with seeing(False) as want:
        results = [jax.jit(fun)(row) for row in rows]
    f = sod2jax.ragged_vmap(fun, shapes=("n",), buckets={"n": (8,)}, on_unsupported="error")
    with seeing(False) as seen:
        given = f(rows)
    assert seen == want
    for a, b in zip(given, results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("fun", [debug_ordered, io_ordered, in_while, in_cond])
def test_rows_of_a_batch_have_no_order(fun):
    rows = [vector(n) for n in (3, 1, 5)]
    with seeing(True) as want:
        results = [jax.jit(fun)(row) for row in rows]
    f = sod2jax.ragged_vmap(fun, shapes=("n",), buckets={"n": (8,)})
    with seeing(True) as seen, pytest.warns(ExactFallbackWarning, match="have no order"):
        given = f(rows)
    assert seen == want
    np.testing.assert_allclose(given[2], results[2], rtol=1e-6)


def test_prints_true_shapes(capfd):
    def fun(x):
        jax.debug.print("{} of {n}, {word}", x, n=x.shape[0], word="three")
        return x

    sod2jax.optimize(fun, shapes=("n",), buckets={"n": (8,)})(np.arange(3))
    jax.effects_barrier()
    assert capfd.readouterr().out == "[0 1 2] of 3, three\n"


class Holder:
    size = None


def in_an_object(x):
    holder = Holder()
    holder.size = x.shape[0]
    jax.debug.callback(lambda: see(holder.size))
    return x


def assigned(x):
    n = x.shape[0]

    def call(a):
        nonlocal n
        n += 1
        see(n)

    jax.debug.callback(call, x)
    return x


def in_a_list(x):
    sizes = [x.shape[0]]
    jax.debug.callback(lambda: see(sizes))
    return x


def share(x):
    part = 0.5 * x.shape[0]
    jax.debug.callback(lambda v: see(part, v.shape), x)
    return x


def scaled(x):
    scale = x.shape[0] ** -0.5 + math.log(1 + x.shape[0])
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(functools.partial(times, scale=scale), like, x)


def times(x, scale):
    return np.asarray(x) * np.float32(scale)


def in_an_array(x):
    table = np.arange(x.shape[0]) * 2.0
    jax.debug.callback(lambda: see(float(np.sum(table))))
    return x


@pytest.mark.parametrize("fun", [share, scaled, in_an_array])
def test_numbers_computed_from_sizes_are_true_numbers(fun):
    f = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (8,)}, on_unsupported="error")
    for n in (1, 3, 8):
        with seeing(True) as seen:
            result = f(vector(n))
        with seeing(True) as want:
            np.testing.assert_allclose(result, jax.jit(fun)(vector(n)), rtol=1e-6)
        assert seen == want


HIDDEN = {
    in_an_object: "Holder",
    assigned: "a variable that it assigns",
    in_a_list: "a 'list'",
}


@pytest.mark.parametrize("fun", HIDDEN)
def test_what_cannot_be_told_the_true_size_runs_exactly(fun):
    f = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (8,)})
    with pytest.warns(ExactFallbackWarning, match=HIDDEN[fun]), seeing(True) as seen:
        f(vector(3))
    with seeing(True) as want:
        jax.jit(fun)(vector(3))
    assert seen == want
    assert f.stats().exact_fallbacks == 1


def test_a_run_that_may_not_count_does_not_call():
    def fun(x):
        jax.debug.callback(see, x)
        few = snp.compress(x > 0, x)
        return few.sum() if few.shape[0] > 1 else few.sum() * 2

    f = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 8",))
    with pytest.warns(ExactFallbackWarning, match="called again"), seeing(True) as seen:
        f(vector(5))
    assert len(seen) == 1


def test_results_of_another_shape_are_an_error():
    def fun(x):
        return jax.pure_callback(lambda a: np.zeros(3, np.float32), like(x), x)

    f = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (8,)})
    with pytest.raises(Exception, match=r"Expected: \(5,\), Actual: \(3,\)"):
        jax.block_until_ready(f(vector(5)))


def test_typed_keys_are_refused():
    def fun(keys):
        return jax.pure_callback(lambda k: np.float32(0), like(jnp.float32(0)), keys)

    f = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (8,)}, on_unsupported="error")
    with pytest.raises(UnsupportedPrimitiveError, match="key_data"):
        f(jax.random.split(jax.random.key(0), 3))
