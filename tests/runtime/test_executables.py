"""Each bucket is built once, failures are not kept, the least recently used one goes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from sod2jax.buckets.bucket import Bucket
from sod2jax.runtime.executables import Executables


class Builder:
    """Counts builds by bucket; fails as often as it is told to."""

    def __init__(self, failures=0, seconds=0.0):
        self.built = []
        self.failures, self.seconds = failures, seconds
        self.lock = threading.Lock()

    def __call__(self, bucket):
        with self.lock:
            self.built.append(bucket["s"])
            fails, self.failures = self.failures > 0, self.failures - 1
        time.sleep(self.seconds)
        if fails:
            raise NotImplementedError(f"no {bucket}")
        return SimpleNamespace(bucket=bucket)


def of(size):
    return Bucket.of({"s": size})


def test_a_bucket_is_built_once():
    build = Builder()
    table = Executables(None, build, limit=8)
    first = table.get(of(8))
    assert table.get(of(8)) is first
    assert table.get(of(16)) is not first
    assert build.built == [8, 16]


def test_threads_that_ask_at_once_share_one_build():
    build = Builder(seconds=0.05)
    table = Executables(None, build, limit=8)
    sizes = [8, 16, 32, 64] * 8
    with ThreadPoolExecutor(len(sizes)) as pool:
        ready = list(pool.map(lambda size: table.get(of(size)), sizes))
    assert sorted(build.built) == [8, 16, 32, 64]
    assert [e.bucket["s"] for e in ready] == sizes
    assert len({id(e) for e in ready}) == 4


def test_buckets_are_built_side_by_side():
    meeting = threading.Barrier(3, timeout=5)

    def build(bucket):
        meeting.wait()
        return SimpleNamespace(bucket=bucket)

    table = Executables(None, build, limit=8)
    with ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(table.get, map(of, (8, 16, 32))))) == 3


def test_a_failure_is_not_kept():
    build = Builder(failures=1)
    table = Executables(None, build, limit=8)
    with pytest.raises(NotImplementedError, match="no s=8"):
        table.get(of(8))
    assert table.ready == ()
    assert table.get(of(8)).bucket == of(8)
    assert build.built == [8, 8]


def test_threads_that_wait_for_a_failure_see_it():
    build = Builder(failures=1, seconds=0.1)
    table = Executables(None, build, limit=8)

    def ask(_):
        try:
            return table.get(of(8)).bucket["s"]
        except NotImplementedError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["no s=8"] * 4
    assert build.built == [8]


def test_the_least_recently_used_one_is_dropped():
    build = Builder()
    table = Executables(None, build, limit=2)
    for size in (8, 16, 8, 32):
        table.get(of(size))
    assert [e.bucket["s"] for e in table.ready] == [8, 32]
    table.get(of(8))
    assert build.built == [8, 16, 32]
    table.get(of(64))
    assert build.built == [8, 16, 32, 64]
    assert [e.bucket["s"] for e in table.ready] == [8, 64]


def test_at_the_limit_a_larger_bucket_serves():
    build = Builder()
    table = Executables(None, build, limit=2)
    for size in (64, 8):
        table.get(of(size))
    assert table.get(of(16)).bucket == of(64)
    assert table.get(of(8)).bucket == of(8)
    assert build.built == [64, 8]


def test_compiling_comes_to_an_end():
    built = []

    def build(bucket):
        built.append(bucket)
        return SimpleNamespace(bucket=bucket)

    table = Executables(None, build, limit=3)
    grid = [Bucket.of({"b": b, "s": s}) for b in (16, 32, 64) for s in (16, 32, 64, 128)]
    for _ in range(2):
        for bucket in grid:
            assert table.get(bucket).bucket.holds(bucket)
    first = len(built)
    for bucket in grid * 3:
        assert table.get(bucket).bucket.holds(bucket)
    assert len(built) == first <= 8
    assert len(table.ready) == 3


def test_only_finished_executables_are_ready():
    go_on = threading.Event()

    def build(bucket):
        go_on.wait(5)
        return SimpleNamespace(bucket=bucket)

    table = Executables(None, build, limit=8)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(table.get, of(8))
        assert table.ready == ()
        go_on.set()
        assert table.ready in ((), (pending.result(),))
    assert table.ready == (pending.result(),)
