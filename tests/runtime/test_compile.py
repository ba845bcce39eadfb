"""What is compiled, and when: once for each bucket that is asked for, whichever threads ask."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import (
    SpecError,
)
from tests.attention import W, assert_close, attention, normal, optimized
from tests.compile_log import compile_log


def test_no_trace_and_no_compile_after_compile():
    f = optimized().compile(normal(1, 1, 4), W)
    assert f.stats().compiles == len(f.buckets) == 2
    with compile_log() as log:
        for b in (1, 2, 3):
            for s in range(1, 9):
                f(normal(b, s, 4), W)
    assert log == []
    stats = f.stats()
    assert (stats.calls, stats.traces, stats.compiles) == (24, 1, 2)
    assert stats.hits == {Bucket.of({"b": 3, "s": 4}): 12, Bucket.of({"b": 3, "s": 8}): 12}
    assert stats.exact_fallbacks == 0
    assert "24 calls, 1 trace, 2 compiles" in str(stats)


def test_compile_takes_abstract_arguments_and_returns_the_function():
    f = optimized()
    assert f.compile(jax.ShapeDtypeStruct((2, 3, 4), np.float32), w=W) is f
    with compile_log() as log:
        f(normal(1, 7, 4), w=W)
    assert log == []


def test_nothing_is_compiled_that_no_call_asks_for():
    f = optimized()
    assert f.buckets == ()
    f(normal(1, 2, 4), W)
    assert f.stats().compiles == 1
    assert f.bucket_for(normal(1, 7, 4), W) == Bucket.of({"b": 3, "s": 8})
    assert f.stats().compiles == 1
    f(normal(2, 3, 4), W)
    assert f.stats().compiles == 1


def test_a_trace_compiles_nothing_and_prints():
    f = optimized()
    analysis = f.analyse(normal(1, 2, 4), W)
    assert f.stats().compiles == 0
    assert "x: float32[b,s,4]" in str(analysis)
    assert "operators: " in str(analysis)


def test_padding_waste_is_counted():
    f = optimized(lambda x: x * 2, shapes=("s",), buckets={"s": (8,)})
    f(normal(8))
    f(normal(4))
    assert f.stats().padding_waste == pytest.approx(16 / 12 - 1)


def test_threads_share_executables():
    f = optimized(buckets={"b": (3,), "s": (2, 4, 8)})
    plain = jax.jit(attention)
    rng = random.Random(0)
    points = [(rng.randint(1, 3), rng.randint(1, 8)) for _ in range(64)]
    want = {point: plain(normal(*point, 4), W) for point in set(points)}
    start = threading.Barrier(8, timeout=30)

    def work(share):
        start.wait()
        return [(point, f(normal(*point, 4), W)) for point in share]

    with ThreadPoolExecutor(8) as pool:
        for share in pool.map(work, [points[k::8] for k in range(8)]):
            for point, result in share:
                assert_close(result, want[point])
    stats = f.stats()
    assert (stats.traces, stats.compiles, stats.calls) == (1, 3, 64)
    assert sum(stats.hits.values()) == 64


def test_memory_plan_of_a_compiled_bucket():
    f = optimized()
    f(normal(2, 3, 4), W)
    bucket = Bucket.of({"b": 3, "s": 4})
    assert str(f.memory_plan(bucket)) == str(f.memory_plan({"b": 3, "s": 4}))
    foreseen = f.memory_plan(Bucket.of({"b": 3, "s": 8}))
    assert foreseen.xla is None and dict(foreseen.bucket) == {"b": 3, "s": 8}
    assert f.stats().compiles == 1
    message = r"no bucket holds \{'b': 3, 's': 9\}; compiled buckets: b=3, s=4"
    with pytest.raises(SpecError, match=message):
        f.memory_plan({"b": 3, "s": 9})
    with pytest.raises(SpecError, match="no bucket holds 8"):
        f.memory_plan(8)
    single = optimized(lambda x: x * 2, shapes=("s",), buckets={"s": (8,)})
    with pytest.raises(SpecError, match="compiled buckets: none"):
        single.memory_plan(8)
    single(normal(3))
    assert single.memory_plan(8) is not None
