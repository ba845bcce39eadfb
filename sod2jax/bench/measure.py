"""Runs one method over a stream of requests and measures it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sod2jax.bench.methods import METHODS, Method
from sod2jax.bench.suite import Inputs, Suite

_COMPILE = "/jax/core/compile/backend_compile_duration"
_BUILD = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    _COMPILE,
)


class BuildLog:
    """What JAX says it traced, lowered and compiled while this is entered.

    Nested and concurrent events overlap, so time is the length of their union.
    """

    def __init__(self) -> None:
        self._events: list[tuple[str, float, float]] = []

    def __enter__(self) -> BuildLog:
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *exc: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        del kwargs
        if event in _BUILD:
            end = time.perf_counter()
            self._events.append((event, end - duration_secs, end))

    @property
    def executables(self) -> int:
        """How many executables XLA compiled."""
        return sum(event == _COMPILE for event, _, _ in self._events)

    @property
    def seconds(self) -> float:
        """Seconds in which JAX was tracing, lowering or compiling."""
        return union_length([(start, end) for _, start, end in self._events])


def union_length(intervals: Sequence[tuple[float, float]]) -> float:
    """Total length covered by the intervals, overlaps counted once."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


class Reference:
    """Results of the first method, in files: what all others are compared with.

    Args:
      folder: where the results are; None when there is nothing to compare with.
      write: whether results seen for the first time are stored, not compared.
    """

    def __init__(self, folder: Path | None, *, write: bool) -> None:
        self._folder = folder
        self._write = write
        self.max_error: float | None = None

    def check(self, index: int, output: Any) -> None:
        """Stores or compares the output of request `index`.

        Raises:
          ValueError: it differs in structure, shape, dtype, or in where it is not finite.
        """
        if self._folder is None:
            return
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(output)]
        path = self._folder / f"{index}.npz"
        if self._write and not path.exists():
            np.savez(path, *leaves)
            return
        with np.load(path) as stored:
            expected = [stored[name] for name in stored.files]
        try:
            error = largest_error(leaves, expected)
        except ValueError as e:
            raise ValueError(f"request {index}: {e}") from e
        self.max_error = max(error, self.max_error or 0.0)


def largest_error(leaves: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Largest absolute difference between two lists of arrays.

    Raises:
      ValueError: they differ in number, shape, dtype, or in where they are not finite.
    """
    got = [(leaf.shape, str(leaf.dtype)) for leaf in leaves]
    wanted = [(leaf.shape, str(leaf.dtype)) for leaf in expected]
    if got != wanted:
        raise ValueError(f"the result has shapes {got}, the reference {wanted}")
    return max((_error(a, b) for a, b in zip(leaves, expected, strict=True)), default=0.0)


def _error(a: np.ndarray, b: np.ndarray) -> float:
    differs = (a != b) & ~(np.isnan(a) & np.isnan(b)) if a.dtype.kind in "fc" else a != b
    if not differs.any():
        return 0.0
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    error = float(np.abs(a[differs].astype(wide) - b[differs].astype(wide)).max())
    if not math.isfinite(error):
        raise ValueError("the result is not finite where the reference is, or the reverse")
    return error


def measure(
    method_name: str,
    suite: Suite,
    passes: int,
    reference: Reference,
    tick: Callable[[], None],
) -> dict[str, Any]:
    """Runs the stream once cold and `passes` times warm.

    Every time ends when the result is ready. The cold pass contains what the method does before
    its first request (nothing, for a method that compiles on demand). Comparing results and
    calling `tick`, once after each request, are not timed.

    Returns:
      The measured part of a row of the table (times in s and ms, memory in bytes and MB).
    """
    with BuildLog() as log:
        start = time.perf_counter()
        method = METHODS[method_name](suite)
        setup = time.perf_counter() - start
        cold = _run_pass(method, suite, reference, tick)
        cold[0] += setup
        compile_s = log.seconds
        warm = [_run_pass(method, suite, reference, tick) for _ in range(passes)]
        executables = log.executables
    times = np.array([cold, *warm])
    rss = peak_rss_bytes()
    return {
        "executables": executables,
        "compile_s": compile_s,
        **_summary(times),
        "waste": _waste(suite, method.sizes),
        "rss_mb": rss / 1e6,
        "peak_bytes": _peaks(suite, method.peak_bytes),
        "max_error": reference.max_error,
        "requests": _per_request(suite, times),
    }


def _run_pass(
    method: Method, suite: Suite, reference: Reference, tick: Callable[[], None]
) -> list[float]:
    """Seconds for each request of the stream."""
    times = []
    for index, inputs in enumerate(suite.requests):
        start = time.perf_counter()
        output = jax.block_until_ready(method.call(inputs))
        times.append(time.perf_counter() - start)
        reference.check(index, output)
        tick()
    return times


def _summary(times: np.ndarray) -> dict[str, float]:
    per_request = np.median(times[1:], axis=0)
    return {
        "cold_s": float(times[0].sum()),
        "warm_s": float(np.median(times[1:].sum(axis=1))),
        "median_ms": float(np.median(per_request)) * 1e3,
        "p90_ms": float(np.percentile(per_request, 90)) * 1e3,
    }


def _per_request(suite: Suite, times: np.ndarray) -> list[dict[str, Any]]:
    warm = np.median(times[1:], axis=0)
    return [
        {"dims": suite.dims(inputs), "cold_ms": float(cold) * 1e3, "warm_ms": float(hot) * 1e3}
        for inputs, cold, hot in zip(suite.requests, times[0], warm, strict=True)
    ]


def _waste(suite: Suite, sizes: Callable[[Inputs], Mapping[str, int]]) -> float:
    """Padded elements over true elements, less one, along the varying dimensions."""
    true = sum(math.prod(suite.dims(inputs).values()) for inputs in suite.requests)
    padded = sum(
        math.prod(sizes(inputs)[name] for name in suite.dims(inputs)) for inputs in suite.requests
    )
    return padded / true - 1


def _peaks(suite: Suite, peak_bytes: Callable[[Inputs], int | None]) -> dict[str, int | None]:
    ordered = sorted(suite.requests, key=lambda inputs: math.prod(suite.dims(inputs).values()))
    picked = {"min": ordered[0], "median": ordered[len(ordered) // 2], "max": ordered[-1]}
    return {name: peak_bytes(inputs) for name, inputs in picked.items()}


def peak_rss_bytes() -> int:
    """Largest resident size this process ever had."""
    status = Path("/proc/self/status")
    # Not ru_maxrss first: on Linux it starts from the size of the process that forked this one.
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource  # Unix only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
