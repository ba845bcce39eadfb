from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sod2jax
from sod2jax.bench import builtin
from sod2jax.bench.measure import (
    BuildLog,
    Reference,
    largest_error,
    measure,
    peak_rss_bytes,
    union_length,
)
from sod2jax.bench.methods import METHODS, next_power_of_two

needs_optimize = pytest.mark.skipif(not hasattr(sod2jax, "optimize"), reason="no sod2jax.optimize")


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)))
def test_union_length_counts_every_point_once(intervals: list[list[int]]) -> None:
    points = {point for start, end in intervals for point in range(start, end)}
    assert union_length([(start, end) for start, end in intervals]) == len(points)


@given(st.integers(1, 10_000))
def test_next_power_of_two_is_the_smallest_from_16(n: int) -> None:
    bucket = next_power_of_two(n)
    assert bucket.bit_count() == 1
    assert bucket >= n
    assert bucket == 16 or bucket < 2 * n


def test_build_log_counts_compiles_while_entered() -> None:
    double = jax.jit(lambda x: x * 2)
    with BuildLog() as log:
        for n in (3, 4, 3):
            double(np.zeros(n, np.float32)).block_until_ready()
    seconds = log.seconds
    double(np.zeros(5, np.float32)).block_until_ready()
    assert log.executables == 2
    assert log.seconds == seconds > 0


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([np.nan, np.inf], [np.nan, np.inf], 0.0),
        ([1, 7], [1, 9], 2.0),
        ([True], [False], 1.0),
        ([], [], 0.0),
    ],
)
def test_largest_error(a: list, b: list, error: float) -> None:
    assert largest_error([np.array(a)], [np.array(b)]) == error


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0], [np.nan], "not finite"),
        ([np.inf], [1.0], "not finite"),
        ([1.0], [1.0, 2.0], "shapes"),
        ([1.0], [1], "float64"),
    ],
)
def test_largest_error_refuses_what_cannot_be_compared(a: list, b: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        largest_error([np.array(a)], [np.array(b)])


def test_reference_stores_first_and_compares_later(tmp_path: Path) -> None:
    first = Reference(tmp_path, write=True)
    first.check(0, {"y": np.array([1.0, 2.0])})
    assert first.max_error is None
    first.check(0, {"y": np.array([1.0, 2.0])})
    assert first.max_error == 0.0
    other = Reference(tmp_path, write=False)
    other.check(0, {"y": np.array([1.0, 2.25])})
    other.check(0, {"y": np.array([1.0, 2.0])})
    assert other.max_error == 0.25
    with pytest.raises(ValueError, match=r"request 0: .*shapes"):
        other.check(0, {"y": np.array([1.0])})


def test_peak_rss_is_that_of_a_python_with_jax() -> None:
    assert 50e6 < peak_rss_bytes() < 50e9


def _measure(method: str, folder: Path, ticks: list[None], batch: int = 4) -> dict:
    jax.clear_caches()  # stands for the fresh process that every method gets
    suite = builtin.build("tiny", batch=batch, requests=5, seed=1)
    reference = Reference(folder, write=method == "jit-exact")
    return measure(method, suite, 2, reference, lambda: ticks.append(None))


def test_methods_agree_and_count(tmp_path: Path) -> None:
    ticks: list[None] = []
    rows = {name: _measure(name, tmp_path, ticks) for name in METHODS if name != "sod2jax"}
    assert len(ticks) == 3 * 3 * 5
    lengths = [request["dims"]["s"] for request in rows["jit-exact"]["requests"]]
    assert rows["jit-exact"]["executables"] == len(set(lengths))
    assert rows["jit-pad-max"]["executables"] == 1
    assert rows["jit-pow2"]["executables"] == len(set(map(next_power_of_two, lengths)))
    assert rows["jit-exact"]["waste"] == 0
    assert rows["jit-pad-max"]["waste"] == pytest.approx(64 * 5 / sum(lengths) - 1)
    for row in rows.values():
        assert row["max_error"] < 1e-5
        assert 0 < row["compile_s"] < row["cold_s"]
        assert row["cold_s"] == pytest.approx(sum(r["cold_ms"] for r in row["requests"]) / 1e3)
        assert 0 < row["median_ms"] <= row["p90_ms"]
        assert 0 < row["peak_bytes"]["min"] <= row["peak_bytes"]["median"]
        assert row["peak_bytes"]["median"] <= row["peak_bytes"]["max"]


@needs_optimize
@pytest.mark.parametrize("batch", [1, 4])
def test_sod2jax_agrees_with_exact_shapes(tmp_path: Path, batch: int) -> None:
    _measure("jit-exact", tmp_path, [], batch)
    row = _measure("sod2jax", tmp_path, [], batch)
    assert row["max_error"] < 1e-5
    assert 1 <= row["executables"] <= 8
    assert row["waste"] >= 0
    assert row["peak_bytes"]["min"] > 0
