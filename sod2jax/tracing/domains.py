"""Where Python's arithmetic of sizes has no real result: it raises, or gives a complex number."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import sympy

from sod2jax.ir import dims
from sod2jax.ir.region import Region, bounds
from sod2jax.tracing import frames, hooks
from sod2jax.tracing.host_numbers import HostNumber
from sod2jax.tracing.recorder import busy

_MOST_POINTS = 1 << 12  # sizes up to which each is tried
_EXPONENT = 700  # up to which a float holds the power of e, or of a smaller number
Span = tuple[float, float]


def may_fail(number: HostNumber, region: Region) -> bool:
    """Whether some sizes of a region may make the last step of a number fail."""
    needs = _NEEDS.get(number.function)
    if needs is None:
        return False
    points = region.restricted(dims.symbols_in(list(number.dims))).points(_MOST_POINTS)
    if points is not None:
        return not all(_is_real(number, point) for point in points)
    return not needs(*(_span(operand, region) for operand in number.operands))


def doubted(number: HostNumber) -> None:
    """Python's arithmetic has no result at some sizes, where a trace goes on with one."""
    recorder = hooks.active()
    if recorder is None:
        return
    if not dims.symbols_in(list(number.dims)).isdisjoint(recorder.data_dependent):
        return  # such sizes may be 0 wherever they are divided by, and each run checks that
    with busy(recorder):
        if may_fail(number, recorder.region):
            recorder.doubt(f"arithmetic that fails at some sizes, at {frames.users_line()}")


def _is_real(number: HostNumber, point: dict[str, int]) -> bool:
    try:
        value = number.at({d: int(dims.evaluate(d, point)) for d in number.dims})
    except (ArithmeticError, ValueError):
        return False
    return not isinstance(value, complex)


def _span(operand: Any, region: Region) -> Span:
    """Bounds of an operand: those of dimensions, and of sums and products of them."""
    if isinstance(operand, HostNumber):
        combine = _SPANS.get(operand.function)
        parts = [_span(part, region) for part in operand.operands]
        return (-math.inf, math.inf) if combine is None else combine(*parts)
    if not isinstance(operand, sympy.Expr):
        return (operand, operand)
    found = bounds(operand, region)
    return (
        -math.inf if found.low is None else found.low,
        math.inf if found.high is None else found.high,
    )


def _sum(a: Span, b: Span) -> Span:
    return a[0] + b[0], a[1] + b[1]


def _product(a: Span, b: Span) -> Span:
    corners = [0 if 0 in (x, y) else x * y for x in a for y in b]
    return min(corners), max(corners)


def _negative(a: Span) -> Span:
    return -a[1], -a[0]


_SPANS: dict[Any, Callable[..., Span]] = {
    operator.add: _sum,
    operator.sub: lambda a, b: _sum(a, _negative(b)),
    operator.mul: _product,
    operator.neg: _negative,
}


def _divides(_: Span, divisor: Span) -> bool:
    return divisor[0] > 0 or divisor[1] < 0


def _is_power(base: Span, exponent: Span) -> bool:
    if exponent[0] != exponent[1]:  # it shrinks, where the base is no more than 1
        return base[0] > 0 and base[1] <= 1 and exponent[0] >= 0
    is_whole = exponent[0] >= 0 and float(exponent[0]).is_integer()
    return is_whole or base[0] > 0 or (base[0] == 0 and exponent[0] >= 0)


def _is_logarithm(a: Span, base: Span = (2, 2)) -> bool:
    return a[0] > 0 and base[0] > 1


def _is_small(a: Span) -> bool:
    return a[1] <= _EXPONENT


def _is_not_steep(a: Span) -> bool:
    return a[0] >= -_EXPONENT and a[1] <= _EXPONENT


# What the operands of a function need to be, for it to have a real result.
_NEEDS: dict[Any, Callable[..., bool]] = {
    operator.truediv: _divides,
    operator.floordiv: _divides,
    operator.mod: _divides,
    operator.pow: _is_power,
    math.pow: _is_power,
    math.fmod: _divides,
    math.sqrt: lambda a: a[0] >= 0,
    math.log: _is_logarithm,
    math.log2: _is_logarithm,
    math.log10: _is_logarithm,
    math.log1p: lambda a: a[0] > -1,
    math.exp: _is_small,
    math.exp2: _is_small,
    math.expm1: _is_small,
    math.cosh: _is_not_steep,
    math.sinh: _is_not_steep,
}
