"""Sizes that other threads ask about, for the function that is traced."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import pytest

import sod2jax
from tests.tracing.test_guards import record

POOL = ThreadPoolExecutor(1)


def in_thread(ask: Callable[[Any], Any]) -> Callable[[jax.Array], jax.Array]:
    def fun(x: jax.Array) -> jax.Array:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(ask(x.shape[0])))
        thread.start()
        thread.join()
        return x * found[0]

    return fun


def in_pool(ask: Callable[[Any], Any]) -> Callable[[jax.Array], jax.Array]:
    return lambda x: x * POOL.submit(ask, x.shape[0]).result()


def in_new_pool(ask: Callable[[Any], Any]) -> Callable[[jax.Array], jax.Array]:
    def fun(x: jax.Array) -> jax.Array:
        with ThreadPoolExecutor(2) as pool:
            return x * next(pool.map(ask, x.shape))

    return fun


PLACES = {"thread": in_thread, "pool": in_pool, "new_pool": in_new_pool}
COMPARED = {
    "equal": lambda n: 2 if n == 7 else 3,
    "larger": lambda n: 2 if n > 6 else 3,
    "type": lambda n: 2 if isinstance(n, int) else 3,
}
DOUBTED = {"hash": {7: 2, 9: 4}.get, "text": lambda n: len(str(n)), "caught": int}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", COMPARED)
def test_answers_are_guards(place, name):
    fun = PLACES[place](COMPARED[name])
    f = sod2jax.optimize(fun, shapes=("n",), on_unsupported="error", audit=False)
    for size in (5, 7, 12, 1):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(f(x), jax.jit(fun)(x))
    assert "trust: proved" in f.explain()


def _without_raising(ask: Callable[[Any], Any]) -> Callable[[Any], int]:
    def call(n: Any) -> int:
        try:
            return ask(n) or 1
        except Exception:
            return 5

    return call


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", DOUBTED)
def test_what_no_comparison_tells_is_a_doubt(place, name):
    assert record(PLACES[place](_without_raising(DOUBTED[name])), "n").doubts


def test_work_that_waits_is_of_no_trace():
    started, later = threading.Event(), []

    def fun(x):
        blocked = POOL.submit(started.wait, 20)
        later.append((POOL.submit(lambda n=x.shape[0]: bool(n == 7)), blocked))
        return x

    recorder = record(fun, "n")
    started.set()
    assert later[0][0].result() is False
    assert not recorder.guards and not recorder.doubts
