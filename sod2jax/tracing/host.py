"""Integers that Python computes from sizes by floating point, as dimensions.

``math.ceil(1.25 * n / 4)`` is a number of the host's arithmetic, with its rounding. It is a
dimension where one is known that has its value at every size: Python's own arithmetic says so, run
at each of them where they are bounded. Without a bound, a proof is known of sums and products
without rounding, and of one division of them by an integer.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from sod2jax import _compat
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region, bounds
from sod2jax.tracing import caps
from sod2jax.tracing.host_numbers import HostNumber
from sod2jax.tracing.recorder import Recorder, busy

_MOST_SIZES = 1 << 16  # sizes up to which each is tried
_MOST_STEPS = 32  # sizes at which a dimension may jump
_LARGEST = (1 << 31) - 1  # of the sizes without a bound
_EXACT = 1 << 53  # integers up to which a float is exact
_FINEST = 1 << 10  # denominators of the factors that are tried
_SIZE = dims.symbol("size")  # stands for the one dimension of a number
_ROUNDINGS = {math.floor: "floor", math.trunc: "floor", math.ceil: "ceil", round: "round"}


def dimension(number: HostNumber, region: Region) -> Dim | None:
    """The dimension that is an integer at all sizes of a region; None where none is known."""
    try:
        return _found(number, region)
    except (ArithmeticError, TypeError, ValueError):
        return None  # some sizes make no such integer


def _found(number: HostNumber, region: Region) -> Dim | None:
    if len(number.dims) == 1:
        (dim,) = number.dims
        span = bounds(dim, region)
        if span.low is not None and span.high is not None and span.high - span.low < _MOST_SIZES:
            return _tabulated(number, dim, span.low, span.high)
    guess = next(_guesses(number), None)
    if guess is None:
        return None
    points = region.restricted(dims.symbols_in(list(number.dims))).points(_MOST_SIZES)
    if points is None:
        return guess if _is_exact(number) else None
    fits = all(_at(number, point) == dims.evaluate(guess, point) for point in points)
    return guess if fits else None


def whole(number: HostNumber, recorder: Recorder) -> Any:
    """The dimension that is an integer at all sizes of a trace, as JAX has it; None if none is."""

    def symbolic(dim: Any) -> Any:
        return _compat.dimensions([dims.jax_text(dim)], recorder.scope)[0]

    def found() -> Dim | None:
        with busy(recorder):
            return dimension(number, recorder.region)

    dim = found()
    if dim is None and all(map(caps.capped, map(symbolic, number.dims))):
        dim = found()  # Python's own arithmetic says so, where sizes are bounded
    return dim if dim is None or isinstance(dim, int) else symbolic(dim)


def constant(number: HostNumber, region: Region) -> Any:
    """What a number is, if it is the same at all sizes of a region; else None."""
    if len(number.dims) != 1:
        return None
    (dim,) = number.dims
    span = bounds(dim, region)
    if span.low is None or span.high is None or span.high - span.low >= _MOST_SIZES:
        return None
    try:
        first, *others = _values(number, dim, span.low, span.high)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return first if all(other == first for other in others) else None


def _at(number: HostNumber, point: Mapping[str, int]) -> Any:
    return number.at({d: int(dims.evaluate(d, point)) for d in number.dims})


@functools.lru_cache(maxsize=256)
def _values(number: HostNumber, dim: Any, low: int, high: int) -> tuple[Any, ...]:
    return tuple(number.at({dim: size}) for size in range(low, high + 1))


def _tabulated(number: HostNumber, dim: Any, low: int, high: int) -> Dim | None:
    """A guess, and the steps by which it is wrong, for a number made of one dimension.

    It has the number's value at every size of the dimension from ``low`` to ``high``.
    """
    values = np.array(_values(number, dim, low, high), np.int64)
    sizes = {_SIZE.name: np.arange(low, high + 1)}
    found: list[tuple[int, Dim]] = []
    for guess in (0, *_guesses(number.with_dim(dim, _SIZE))):
        rest = values - dims.evaluate(guess, sizes)
        jumps = np.flatnonzero(np.diff(rest)) + 1
        wide = high + 1 - min(low, 0)
        steps = [
            int(rest[k] - rest[k - 1]) * _quotient(_SIZE + (wide - low - int(k)), wide)
            for k in jumps[: _MOST_STEPS + 1]
        ]
        fitted: Any = sympy.Add(guess, int(rest[0]), *steps)
        found.append((len(steps), dims.normalise(fitted.subs(_SIZE, dim))))
    count, simplest = min(found, key=lambda each: each[0])
    return simplest if count <= _MOST_STEPS else None


def _quotient(dim: Any, divisor: Any) -> Any:
    """``dims.floordiv``, of which type checkers know no value."""
    return dims.floordiv(dim, divisor)


def _guesses(number: HostNumber) -> Iterator[Dim]:
    """A quotient of integers that would be the number, if there were no rounding."""
    if number.function not in _ROUNDINGS or len(number.operands) != 1:
        return
    value = _rational(number.operands[0], lambda x: Fraction(repr(float(x))))
    if value is None:
        return
    divisor = int(sympy.ilcm(1, *(c.q for c in _coefficients(value))))
    if divisor > _FINEST:
        return
    whole, q = sympy.expand(value * divisor), sympy.Integer(divisor)
    kind = _ROUNDINGS[number.function]
    if kind == "floor":
        yield dims.normalise(_quotient(whole, q))
    elif kind == "ceil":
        yield dims.normalise(-_quotient(-whole, q))
    else:
        yield dims.normalise(_rounded(whole, q))


def _rounded(whole: Any, q: Any) -> Any:
    """The integer nearest to ``whole / q``; of two, the even one."""
    up = _quotient(2 * whole + q, 2 * q)
    if int(q) % 2:
        return up
    tie = whole - q / 2  # a multiple of 2q where the larger of two is odd
    return up - _quotient(tie, 2 * q) + _quotient(tie - 1, 2 * q)


def _rational(number: Any, read: Callable[[Any], Fraction | None]) -> Any:
    """A number as a polynomial in sizes with rational coefficients; None where it is none.

    Args:
      number: to be read.
      read: the fraction that a float stands for.
    """
    if isinstance(number, sympy.Expr):
        return number
    if isinstance(number, (float, np.floating)):
        fraction = read(number) if math.isfinite(number) else None
        return None if fraction is None else sympy.Rational(*fraction.as_integer_ratio())
    if not isinstance(number, HostNumber):
        return sympy.Integer(int(number))
    parts = [_rational(x, read) for x in number.operands]
    if any(part is None for part in parts):
        return None
    operate = _POLYNOMIAL.get(number.function)
    if operate is None or (operate is operator.truediv and not (parts[1].is_number and parts[1])):
        return None
    return sympy.expand(operate(*parts))


_POLYNOMIAL: dict[Any, Callable[..., Any]] = {
    operator.add: operator.add,
    operator.sub: operator.sub,
    operator.mul: operator.mul,
    operator.truediv: operator.truediv,
    operator.neg: operator.neg,
    operator.pos: operator.pos,
    np.int64: operator.pos,
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.true_divide: operator.truediv,
    np.negative: operator.neg,
}


def _coefficients(polynomial: Any) -> list[Any]:
    return [term.as_coeff_Mul()[0] for term in sympy.Add.make_args(polynomial)]


def _is_exact(number: HostNumber) -> bool:
    """Whether no step of a rounded number rounds, but a division by an integer at the end.

    There the quotient of floats is on the same side of each integer, or on it, as the true one:
    ``whole / q`` is ``1 / q`` away from it at least, and the error is smaller.
    """
    (inner,) = number.operands
    if number.function is not round and isinstance(inner, HostNumber):
        _, *divisor = inner.operands
        if inner.function is operator.truediv and isinstance(divisor[0], int):
            return _is_whole(inner.operands[0])
    return _is_whole(inner)


def _is_whole(number: Any) -> bool:
    """Whether all of a number's parts are floats without rounding, at all sizes."""
    value = _rational(number, Fraction)
    if value is None:
        return False
    if isinstance(number, HostNumber) and not all(map(_is_whole, number.operands)):
        return False
    divisor = int(sympy.ilcm(1, *(c.q for c in _coefficients(value))))
    if divisor & (divisor - 1):
        return False
    symbols = sorted(value.free_symbols, key=str)
    if value.atoms(sympy.Function) or not symbols:
        return not symbols
    monomials = sympy.Poly(value * divisor, *symbols).terms()
    return sum(abs(int(c)) * _LARGEST ** sum(powers) for powers, c in monomials) < _EXACT
