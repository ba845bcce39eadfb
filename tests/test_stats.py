"""Counters, from several threads, and how they print."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sod2jax.buckets.bucket import Bucket
from sod2jax.stats import Counters, Stats

SMALL, LARGE = Bucket.of({"s": 8}), Bucket.of({"s": 16})


def test_calls_are_hits_and_fallbacks() -> None:
    counters = Counters()
    counters.hit(SMALL, 1, 8)
    counters.hit(SMALL, 8, 8)
    counters.hit(LARGE, 16, 16)
    counters.add(traces=1)
    counters.exact("a reason")
    counters.exact("another")
    counters.add(compiles=1, compile_seconds=0.25)
    stats = counters.read()
    assert (stats.calls, stats.exact_fallbacks, stats.traces, stats.compiles) == (5, 2, 1, 1)
    assert stats.hits == {SMALL: 2, LARGE: 1}
    assert stats.reasons == {"a reason": 1, "another": 1}
    assert stats.padding_waste == 32 / 25 - 1  # a call with one element weighs little


def test_what_was_read_does_not_change() -> None:
    counters = Counters()
    before = counters.read()
    counters.hit(SMALL, 4, 8)
    assert before == Stats()
    assert counters.read() != before


def test_no_count_is_lost_between_threads() -> None:
    counters = Counters()

    def work(_: int) -> None:
        for _ in range(500):
            counters.add(traces=1)
            counters.hit(SMALL, 4, 8)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert (counters.read().traces, counters.read().hits[SMALL]) == (4000, 4000)


def test_text() -> None:
    stats = Stats(3, 1, 0, 2, 1.5, 1, 0.25, {SMALL: 2})
    assert str(stats) == (
        "3 calls, 1 trace, 2 compiles (1.50 s, added over threads), 1 exact fallback, "
        "padding waste 25.0%; calls per bucket: [s=8]: 2"
    )
    assert str(Stats()).endswith("calls per bucket: none")
    assert repr(stats) == "Stats(3 calls, 1 trace, 2 compiles, 1 exact fallback)"
