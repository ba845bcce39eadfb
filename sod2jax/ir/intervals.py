"""Arithmetic of integer intervals: sound bounds of a dimension from bounds of its parts."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable

from sod2jax.ir import dims


@dataclasses.dataclass(frozen=True)
class Interval:
    """Closed integer interval; an end is None where it is unbounded."""

    low: int | None
    high: int | None

    def __contains__(self, value: int) -> bool:
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


def plus(a: Interval, b: Interval) -> Interval:
    """Bounds of a sum."""
    return Interval(
        None if a.low is None or b.low is None else a.low + b.low,
        None if a.high is None or b.high is None else a.high + b.high,
    )


def _floats(a: Interval) -> tuple[float, float]:
    return (-math.inf if a.low is None else a.low, math.inf if a.high is None else a.high)


def _from_ends(ends: Iterable[float]) -> Interval:
    low, high = min(ends := list(ends)), max(ends)
    return Interval(None if low == -math.inf else int(low), None if high == math.inf else int(high))


def times(a: Interval, b: Interval) -> Interval:
    """Bounds of a product."""
    corners = itertools.product(_floats(a), _floats(b))
    return _from_ends(0 if 0 in (x, y) else x * y for x, y in corners)


def floordiv(a: Interval, b: Interval) -> Interval:
    """Bounds of a quotient, rounded down; none where the divisor may be 0."""
    if 0 in b:
        return Interval(None, None)
    corners = itertools.product(_floats(a), _floats(b))
    return _from_ends(_divide(x, y) for x, y in corners)


def _divide(x: float, y: float) -> float:
    if math.isinf(y):
        return 0 if x == 0 or (x > 0) == (y > 0) else -1 if math.isfinite(x) else -math.inf
    if math.isinf(x):
        return x if y > 0 else -x
    return int(x) // int(y)


def mod(a: Interval, b: Interval) -> Interval:
    """Bounds of a remainder; none where the divisor may be 0 or less."""
    if b.low is None or b.low <= 0:
        return Interval(None, None)
    if a.low is not None and a.low >= 0 and a.high is not None and a.high < b.low:
        return a
    return Interval(0, None if b.high is None else b.high - 1)


def extremum(choose: Callable[[float, float], float]) -> Callable[[Interval, Interval], Interval]:
    """What gives the bounds of the larger, or of the smaller, of two."""

    def combine(a: Interval, b: Interval) -> Interval:
        (low_a, high_a), (low_b, high_b) = _floats(a), _floats(b)
        return _from_ends((choose(low_a, low_b), choose(high_a, high_b)))

    return combine


OF_CALLS: dict[type, Callable[[Interval, Interval], Interval]] = {
    dims.floordiv: floordiv,
    dims.mod: mod,
    dims.maximum: extremum(max),
    dims.minimum: extremum(min),
}
