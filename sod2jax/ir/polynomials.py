"""Dimensions as integer polynomials over unknowns: symbols, quotients, what else stays whole."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from sod2jax.ir import dims

Monomial = tuple[int, ...]  # numbers of unknowns, ascending; empty for the constant
Polynomial = dict[Monomial, int]


def constant(number: int) -> Polynomial:
    """The polynomial that is a number."""
    return {(): number} if number else {}


def plus(a: Polynomial, b: Polynomial, factor: int = 1) -> Polynomial:
    """``a + factor*b``."""
    out = dict(a)
    for monomial, slope in b.items():
        out[monomial] = out.get(monomial, 0) + factor * slope
    return {monomial: slope for monomial, slope in out.items() if slope}


def times(a: Polynomial, b: Polynomial) -> Polynomial:
    """The product of two."""
    out: Polynomial = {}
    for m, x in a.items():
        for n, y in b.items():
            both = tuple(sorted((*m, *n)))
            out[both] = out.get(both, 0) + x * y
    return {monomial: slope for monomial, slope in out.items() if slope}


def tightened(row: Polynomial) -> Polynomial:
    """What is 0 or more where the polynomial is, without a factor that all its terms have."""
    common = math.gcd(*(slope for m, slope in row.items() if m)) or 1
    return plus({m: s // common for m, s in row.items() if m}, constant(row.get((), 0) // common))


def replaced(polynomial: Polynomial, values: Mapping[int, Polynomial]) -> Polynomial:
    """The polynomial with values for some unknowns."""
    if not any(unknown in values for monomial in polynomial for unknown in monomial):
        return polynomial
    out: Polynomial = {}
    for monomial, slope in polynomial.items():
        product = constant(slope)
        for unknown in monomial:
            product = times(product, values.get(unknown, {(unknown,): 1}))
        out = plus(out, product)
    return out


def isolated(polynomial: Polynomial) -> tuple[int, Polynomial] | None:
    """An unknown, and what it is where the polynomial is 0."""
    for monomial, slope in polynomial.items():
        others = [unknown for m in polynomial if m != monomial for unknown in m]
        if len(monomial) == 1 and slope in (1, -1) and monomial[0] not in others:
            rest = {m: -slope * s for m, s in polynomial.items() if m != monomial}
            return monomial[0], rest
    return None


@dataclasses.dataclass(frozen=True)
class Quotient:
    """What the unknown of a quotient stands for.

    Attributes:
      unknown: its number.
      dividend, divisor: what is divided.
    """

    unknown: int
    dividend: Polynomial
    divisor: Polynomial


class Unknowns:
    """Numbers the unknowns of some dimensions, equal ones alike.

    Args:
      is_positive: whether a dimension is 1 or more at all sizes.
    """

    def __init__(self, is_positive: Callable[[Any], bool]):
        self._is_positive = is_positive
        self._numbers: dict[Any, int] = {}
        self.expressions: list[Any] = []
        self.quotients: list[Quotient] = []
        self.values: dict[int, Polynomial] = {}

    def equate(self, expr: Any) -> None:
        """Takes in that a dimension is 0, if that says what one of the unknowns is."""
        found = isolated(self.polynomial(expr))
        if found is not None:
            unknown, value = found
            self.values = {k: replaced(v, {unknown: value}) for k, v in self.values.items()}
            self.values[unknown] = value

    def polynomial(self, expr: Any) -> Polynomial:
        """A dimension over the unknowns."""
        if expr.is_Integer:
            return constant(int(expr))
        if expr.is_Add:
            out: Polynomial = {}
            for arg in expr.args:
                out = plus(out, self.polynomial(arg))
            return out
        if expr.is_Mul or expr.is_Pow:
            factors = expr.args if expr.is_Mul else [expr.base] * int(expr.exp)
            out = constant(1)
            for factor in factors:
                out = times(out, self.polynomial(factor))
            return out
        if expr.func in (dims.floordiv, dims.mod):
            return self._division(expr)
        unknown = self._number(expr, expr)
        return self.values.get(unknown, {(unknown,): 1})

    def _number(self, key: Any, expr: Any) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.expressions)
            self.expressions.append(expr)
        return self._numbers[key]

    def _division(self, expr: Any) -> Polynomial:
        a, b = map(self.polynomial, expr.args)
        if not set(b) <= {()} and not self._is_positive(expr.args[1]):
            return {(self._number(expr, expr),): 1}
        if b.keys() == {()} and b[()] < 0:
            quotient = self._quotient(plus({}, a, -1), constant(-b[()]))
        else:
            quotient = self._quotient(a, b)
        return quotient if expr.func is dims.floordiv else plus(a, times(b, quotient), -1)

    def _quotient(self, a: Polynomial, b: Polynomial) -> Polynomial:
        """``floor(a / b)`` for a positive b: what divides evenly in front of one unknown."""
        if len(b) == 1:
            ((monomial, slope),) = b.items()
            whole, rest = _divided(a, monomial, slope)
            return plus(whole, self._unknown(rest, b))
        return self._unknown(a, b)

    def _unknown(self, a: Polynomial, b: Polynomial) -> Polynomial:
        if b.keys() == {()}:
            count, rest = b[()], a.get((), 0)
            common = math.gcd(count, *(slope for m, slope in a.items() if m))
            if common == count:
                return {m: s // count for m, s in a.items() if s // count}
            if common > 1:
                a = plus({m: s // common for m, s in a.items() if m}, constant(rest // common))
                b = constant(count // common)
        if not a:
            return {}
        key = (frozenset(a.items()), frozenset(b.items()))
        known = key in self._numbers
        unknown = self._number(key, None)
        if not known:
            self.quotients.append(Quotient(unknown, a, b))
        return self.values.get(unknown, {(unknown,): 1})


def _divided(a: Polynomial, monomial: Monomial, slope: int) -> tuple[Polynomial, Polynomial]:
    """A polynomial as ``whole * slope * monomial + rest``."""
    whole: Polynomial = {}
    for m, count in a.items():
        left = list(m)
        if not all(m.count(unknown) >= monomial.count(unknown) for unknown in monomial):
            continue
        for unknown in monomial:
            left.remove(unknown)
        # towards 0, but the constant is left 0 or more
        times_whole = count // slope if not m or count > 0 else -(-count // slope)
        whole = plus(whole, {tuple(left): times_whole})
    return whole, plus(a, times(whole, {monomial: slope}), -1)
