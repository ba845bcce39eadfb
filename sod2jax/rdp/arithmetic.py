"""Integer arithmetic on ranges: each function maps ranges of operands to a range of the result.

All are exact integer arithmetic; whether the result wraps around in its type is checked where a
fact is made of it. None means that nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable

from sod2jax.ir import dims
from sod2jax.ir.dims import Dim, normalise
from sod2jax.ir.region import Region
from sod2jax.rdp.values import Range, at_most, greatest, least

RangeFunction = Callable[..., Range | None]  # (region, range of each operand) -> range


def identity(region: Region, a: Range) -> Range:
    """``a``."""
    del region
    return a


def add(region: Region, a: Range, b: Range) -> Range:
    """``a + b``."""
    del region
    return Range(normalise(a.low + b.low), normalise(a.high + b.high))


def neg(region: Region, a: Range) -> Range:
    """``-a``."""
    del region
    return Range(normalise(-a.high), normalise(-a.low))


def sub(region: Region, a: Range, b: Range) -> Range:
    """``a - b``."""
    return add(region, a, neg(region, b))


def scale(region: Region, a: Range, count: Dim) -> Range:
    """The sum of ``count`` (>= 0) values of ``a``."""
    del region
    return Range(normalise(a.low * count), normalise(a.high * count))


def mul(region: Region, a: Range, b: Range) -> Range:
    """``a * b``."""
    if is_nonnegative(region, a) and is_nonnegative(region, b):
        return Range(normalise(a.low * b.low), normalise(a.high * b.high))
    corners = [normalise(x * y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return Range(least(corners, region), greatest(corners, region))


def absolute(region: Region, a: Range) -> Range:
    """``|a|``."""
    if is_nonnegative(region, a):
        return a
    if at_most(a.high, 0, region):
        return neg(region, a)
    return Range(0, greatest((a.high, normalise(-a.low)), region))


def square(region: Region, a: Range) -> Range:
    """``a * a``."""
    magnitude = absolute(region, a)
    return mul(region, magnitude, magnitude)


def maximum(region: Region, a: Range, b: Range) -> Range:
    """``max(a, b)``."""
    return Range(greatest((a.low, b.low), region), greatest((a.high, b.high), region))


def minimum(region: Region, a: Range, b: Range) -> Range:
    """``min(a, b)``."""
    return Range(least((a.low, b.low), region), least((a.high, b.high), region))


def clamp(region: Region, low: Range, a: Range, high: Range) -> Range:
    """``min(max(a, low), high)``."""
    return minimum(region, maximum(region, a, low), high)


def sign(region: Region, a: Range) -> Range:
    """-1, 0 or 1."""
    low = 1 if at_most(1, a.low, region) else 0 if at_most(0, a.low, region) else -1
    high = -1 if at_most(a.high, -1, region) else 0 if at_most(a.high, 0, region) else 1
    return Range(low, high)


def truncated_quotient(region: Region, a: Range, b: Range) -> Range | None:
    """``a / b`` rounded towards zero, for a positive divisor."""
    if not at_most(1, b.low, region):
        return None
    if is_nonnegative(region, a):
        return floor_quotient(region, a, b)
    return Range(least((a.low, 0), region), greatest((a.high, 0), region))


def floor_quotient(region: Region, a: Range, b: Range) -> Range | None:
    """``a / b`` rounded towards minus infinity, for a positive divisor."""
    if not at_most(1, b.low, region):
        return None
    lows = {_floordiv(a.low, d) for d in (b.low, b.high)}
    highs = {_floordiv(a.high, d) for d in (b.low, b.high)}
    return Range(least(lows, region), greatest(highs, region))


def truncated_remainder(region: Region, a: Range, b: Range) -> Range | None:
    """``a - b * truncated_quotient``: the sign of ``a``, for a positive divisor."""
    if is_nonnegative(region, a):
        return floor_remainder(region, a, b)
    if not at_most(1, b.low, region):
        return None
    largest = normalise(b.high - 1)
    return Range(normalise(-largest), largest)


def floor_remainder(region: Region, a: Range, b: Range) -> Range | None:
    """``a - b * floor_quotient``: never negative, for a positive divisor."""
    if not at_most(1, b.low, region):
        return None
    largest = normalise(b.high - 1)
    if is_nonnegative(region, a) and at_most(a.high, normalise(b.low - 1), region):
        return a
    if a.is_point and b.is_point:
        return Range.point(_mod(a.low, b.low))
    return Range(0, least((a.high, largest), region) if is_nonnegative(region, a) else largest)


def _floordiv(a: Dim, b: Dim) -> Dim:
    return normalise(dims.floordiv(a, b))  # type: ignore[arg-type]


def _mod(a: Dim, b: Dim) -> Dim:
    return normalise(dims.mod(a, b))  # type: ignore[arg-type]


def is_nonnegative(region: Region, a: Range) -> bool:
    """Whether no value is below 0."""
    return at_most(0, a.low, region)


def less(region: Region, a: Range, b: Range) -> Range:
    """``a < b``."""
    if at_most(normalise(a.high + 1), b.low, region):
        return Range(1, 1)
    return Range(0, 0 if at_most(b.high, a.low, region) else 1)


def less_equal(region: Region, a: Range, b: Range) -> Range:
    """``a <= b``."""
    return flip(region, less(region, b, a))


def greater(region: Region, a: Range, b: Range) -> Range:
    """``a > b``."""
    return less(region, b, a)


def greater_equal(region: Region, a: Range, b: Range) -> Range:
    """``a >= b``."""
    return flip(region, less(region, a, b))


def equal(region: Region, a: Range, b: Range) -> Range:
    """``a == b``."""
    if a.is_point and a == b:
        return Range(1, 1)
    apart = less(region, a, b).low == 1 or less(region, b, a).low == 1
    return Range(0, 0 if apart else 1)


def not_equal(region: Region, a: Range, b: Range) -> Range:
    """``a != b``."""
    return flip(region, equal(region, a, b))


def flip(region: Region, a: Range) -> Range:
    """``1 - a``: logical not."""
    del region
    return Range(normalise(1 - a.high), normalise(1 - a.low))


def complement(region: Region, a: Range) -> Range:
    """``-1 - a``: all bits of a signed integer inverted."""
    del region
    return Range(normalise(-1 - a.high), normalise(-1 - a.low))


def bitwise_and(region: Region, a: Range, b: Range) -> Range | None:
    """``a & b``."""
    if not (is_nonnegative(region, a) and is_nonnegative(region, b)):
        return None
    return Range(0, least((a.high, b.high), region))


def select(region: Region, which: Range, *cases: Range) -> Range:
    """``cases[which]``."""
    if which.is_point and isinstance(which.low, int) and 0 <= which.low < len(cases):
        return cases[which.low]
    every = cases[0]
    for case in cases[1:]:
        every = every.hull(case, region)
    return every
