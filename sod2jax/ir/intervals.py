"""Arithmetic of integer intervals: sound bounds of a dimension from bounds of its parts."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import sympy

from sod2jax.ir import dims


@dataclasses.dataclass(frozen=True)
class Interval:
    """Closed integer interval; an end is None where it is unbounded."""

    low: int | None
    high: int | None

    def __contains__(self, value: int) -> bool:
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    @property
    def is_empty(self) -> bool:
        """Whether no integer lies inside."""
        return self.low is not None and self.high is not None and self.low > self.high


Ranges = tuple[tuple[str, int, int | None], ...]
"""Name, smallest and largest size, or None, of each symbol."""
ANYTHING = Interval(None, None)


def meet(a: Interval, b: Interval) -> Interval:
    """What lies in both."""
    low = b.low if a.low is None else a.low if b.low is None else max(a.low, b.low)
    high = b.high if a.high is None else a.high if b.high is None else min(a.high, b.high)
    return Interval(low, high)


def hull(a: Interval, b: Interval) -> Interval:
    """The smallest interval that holds both."""
    low = None if a.low is None or b.low is None else min(a.low, b.low)
    high = None if a.high is None or b.high is None else max(a.high, b.high)
    return Interval(low, high)


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
        return ANYTHING
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
        return ANYTHING
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


def of_expression(expr: Any, ranges: Ranges) -> Interval:
    """Bounds of an expression over symbols with these ranges."""
    if expr.is_Integer:
        return Interval(int(expr), int(expr))
    if isinstance(expr, sympy.Symbol):
        return next(Interval(low, high) for name, low, high in ranges if name == expr.name)
    if expr.is_Pow:
        power = functools.reduce(times, [of_expression(expr.base, ranges)] * int(expr.exp))
        return power if expr.exp % 2 else meet(power, Interval(0, None))
    parts = [of_expression(arg, ranges) for arg in expr.args]
    if expr.is_Add:
        return functools.reduce(plus, parts)
    if expr.is_Mul:
        return functools.reduce(times, parts)
    return OF_CALLS[expr.func](*parts)
