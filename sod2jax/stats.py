"""Counters of an optimized function."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping

from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import counted


@dataclasses.dataclass(frozen=True, repr=False)
class Stats:
    """What an optimized function has done so far.

    Attributes:
      calls: calls from Python; those under ``jit``, ``grad`` or ``vmap`` are inlined, not counted.
      traces: symbolic traces.
      checks: traces at concrete sizes that confirmed programs, or did not.
      compiles: executables built.
      compile_seconds: seconds spent on building them, added over threads.
      exact_fallbacks: calls that ran through an exact-shape executable.
      reasons: how many of them for each reason.
      padding_waste: padded over true elements of the symbolic inputs, minus 1; of all calls
        together.
      hits: calls per bucket.
    """

    calls: int = 0
    traces: int = 0
    checks: int = 0
    compiles: int = 0
    compile_seconds: float = 0.0
    exact_fallbacks: int = 0
    padding_waste: float = 0.0
    hits: Mapping[Bucket, int] = dataclasses.field(default_factory=dict)
    reasons: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        hits = ", ".join(f"[{bucket}]: {count}" for bucket, count in self.hits.items()) or "none"
        return (
            f"{self._done}, {counted(self.compiles, 'compile')} "
            f"({self.compile_seconds:.2f} s, added over threads), "
            f"{counted(self.exact_fallbacks, 'exact fallback')}, "
            f"padding waste {self.padding_waste:.1%}; calls per bucket: {hits}"
        )

    def __repr__(self) -> str:
        return (
            f"Stats({self._done}, {counted(self.compiles, 'compile')}, "
            f"{counted(self.exact_fallbacks, 'exact fallback')})"
        )

    @property
    def _done(self) -> str:
        return f"{counted(self.calls, 'call')}, {counted(self.traces, 'trace')}"


class Counters:
    """The live counters behind ``Stats``; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stats = Stats()
        self._true = self._padded = 0
        self._hits: dict[Bucket, int] = {}
        self._reasons: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Counters({self.read()!r})"

    def add(self, **more: float) -> None:
        """Adds to plain counters, by name."""
        with self._lock:
            changed = {name: getattr(self._stats, name) + value for name, value in more.items()}
            self._stats = dataclasses.replace(self._stats, **changed)

    def hit(self, bucket: Bucket, true: int, padded: int) -> None:
        """Counts a call of a bucket, with the true and padded elements of its symbolic inputs."""
        with self._lock:
            self._hits[bucket] = self._hits.get(bucket, 0) + 1
            self._true, self._padded = self._true + true, self._padded + padded

    def exact(self, reason: str) -> None:
        """Counts a call with exact shapes."""
        with self._lock:
            self._reasons[reason] = self._reasons.get(reason, 0) + 1

    def read(self) -> Stats:
        """A consistent copy."""
        with self._lock:
            calls, exact = sum(self._hits.values()), sum(self._reasons.values())
            return dataclasses.replace(
                self._stats,
                calls=calls + exact,
                exact_fallbacks=exact,
                padding_waste=self._padded / self._true - 1 if self._true else 0.0,
                hits=dict(self._hits),
                reasons=dict(self._reasons),
            )
