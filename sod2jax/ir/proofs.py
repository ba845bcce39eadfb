"""Proofs of bounds over regions that are too large to try every size, or have no end.

``max`` and ``min`` are split into the cases that they distinguish. What is left is a polynomial
over symbols and quotients ``q = floordiv(a, b)``, where ``b*q <= a < b*(q + 1)``. Its bounds are
those of a linear programme whose variables are the monomials; products of inequalities relate
these.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sympy

from sod2jax.ir import dims, simplex
from sod2jax.ir.intervals import (
    ANYTHING,
    Interval,
    Ranges,
    floordiv,
    hull,
    meet,
    of_expression,
    plus,
    times,
)
from sod2jax.ir.polynomials import Polynomial, Quotient, Unknowns, constant, replaced, tightened
from sod2jax.ir.polynomials import plus as added
from sod2jax.ir.polynomials import times as multiplied

_EXTREMA = (dims.maximum, dims.minimum)
_DIVISIONS = (dims.floordiv, dims.mod)
_MOST_SPLITS = 5  # nested splits into two cases
_MOST_PRODUCTS = 24  # inequalities made of others
_ROUNDS = 4  # of moving bounds of single unknowns


@functools.lru_cache(maxsize=16384)
def proved(dim: sympy.Expr, ranges: Ranges, positive: tuple[sympy.Expr, ...]) -> Interval | None:
    """Bounds of a dimension: sound, and tight where the proof is strong enough.

    Args:
      dim: the dimension.
      ranges: of the symbols: name, smallest and largest size.
      positive: what is 0 or more.

    Returns:
      The bounds; None where the proof is that there is no such point at all.
    """
    found = [
        interval
        for case, conditions in _cases(dim, positive, ranges, _MOST_SPLITS)
        if (interval := _linear(case, ranges, conditions)) is not None
    ]
    return functools.reduce(hull, found) if found else None


def is_never_zero(dim: sympy.Expr) -> bool:
    """Whether what all terms but the number are multiples of leaves it a remainder."""
    number, rest = dim.as_coeff_Add()
    factors = [int(term.as_coeff_Mul()[0]) for term in sympy.Add.make_args(rest)]
    return int(number) % math.gcd(*factors) != 0


def _cases(
    dim: Any, positive: tuple[Any, ...], ranges: Ranges, splits: int
) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The dimension without ``max`` and ``min``, and what is 0 or more, in each case."""
    chosen = _innermost((dim, *positive)) if splits else None
    if chosen is None:
        yield dim, positive
        return
    a, b = chosen.args
    difference = sympy.expand(a - b)
    sign = of_expression(difference, ranges)
    first, second = (a, b) if chosen.func is dims.maximum else (b, a)
    cases = []
    if sign.high is None or sign.high >= 0:  # a >= b
        cases.append((first, difference))
    if sign.low is None or sign.low < 0:
        cases.append((second, sympy.expand(-difference - 1)))
    for value, condition in cases:
        replaced = [_replaced(expr, chosen, value) for expr in (dim, *positive)]
        yield from _cases(
            replaced[0], (*replaced[1:], condition), ranges, splits - (len(cases) > 1)
        )


def _innermost(exprs: Sequence[Any]) -> Any:
    """A ``max`` or ``min`` whose arguments hold none."""
    for expr in exprs:
        for call in sorted(expr.atoms(*_EXTREMA), key=str):
            if not any(arg.atoms(*_EXTREMA) for arg in call.args):
                return call
    return None


def _replaced(expr: Any, old: Any, new: Any) -> Any:
    return sympy.expand(expr.xreplace({old: new})) if expr.has(old) else expr


def _linear(dim: Any, ranges: Ranges, positive: Sequence[Any]) -> Interval | None:
    """Bounds of a dimension without ``max`` and ``min``; None where no point is left."""

    def is_positive(expr: Any) -> bool:
        low = of_expression(expr, ranges).low
        if low is not None and low >= 1:
            return True
        if expr.atoms(*_DIVISIONS, *_EXTREMA):
            return False
        found = proved(expr, ranges, tuple(p for p in positive if not p.atoms(*_DIVISIONS)))
        return found is not None and found.low is not None and found.low >= 1

    unknowns = Unknowns(is_positive)
    for expr in positive:
        if sympy.expand(-expr) in positive:
            unknowns.equate(expr)
    goal = unknowns.polynomial(dim)
    rows = [unknowns.polynomial(expr) for expr in positive]
    spans = [ANYTHING if e is None else of_expression(e, ranges) for e in unknowns.expressions]
    for expr in [e for e in unknowns.expressions if e is not None and e.func in _EXTREMA]:
        rows += _of_extremum(unknowns, expr)
    for q in unknowns.quotients:
        rest = added(q.dividend, multiplied(q.divisor, {(q.unknown,): 1}), -1)
        rows += [rest, added(added(q.divisor, rest, -1), constant(-1))]
    spans += [ANYTHING] * (len(unknowns.expressions) - len(spans))
    rows = [tightened(replaced(row, unknowns.values)) for row in rows]
    for unknown, value in unknowns.values.items():
        difference = added(value, {(unknown,): 1}, -1)
        rows += [difference, added({}, difference, -1)]
    tight = _propagated(rows, spans, unknowns)
    if tight is None:
        return None
    for q in unknowns.quotients:
        if q.divisor.keys() != {()}:
            tight[q.unknown] = meet(tight[q.unknown], _tried(q, rows, tight))
    return _programme(goal, rows, tight)


def _tried(q: Quotient, rows: Sequence[Polynomial], spans: Sequence[Interval]) -> Interval:
    """Bounds of a quotient by a size: ``q >= k`` where ``a >= k*b``, for a few k."""
    low = high = None
    for k in (0, 1):
        margin = _programme(added(q.dividend, q.divisor, -k), rows, spans) or ANYTHING
        low = k if margin.low is not None and margin.low >= 0 else low
        high = k - 1 if high is None and margin.high is not None and margin.high < 0 else high
    return Interval(low, high)


def _of_extremum(unknowns: Unknowns, expr: Any) -> list[Polynomial]:
    """What is known of a ``max`` or ``min`` that is left whole."""
    sign = 1 if expr.func is dims.maximum else -1
    whole = unknowns.polynomial(expr)
    return [
        added({m: sign * s for m, s in whole.items()}, unknowns.polynomial(a), -sign)
        for a in expr.args
    ]


def _span(polynomial: Polynomial, spans: Sequence[Interval]) -> Interval:
    """Bounds of a polynomial from those of its unknowns."""
    out = Interval(0, 0)
    for monomial, slope in polynomial.items():
        factors = [Interval(slope, slope), *(spans[unknown] for unknown in monomial)]
        out = plus(out, functools.reduce(times, factors))
    return out


def _propagated(
    rows: Sequence[Polynomial], spans: Sequence[Interval], unknowns: Unknowns
) -> list[Interval] | None:
    """Tighter bounds of single unknowns, whole numbers; None where one has no value left."""
    spans = list(spans)
    for _ in range(_ROUNDS):
        before = list(spans)
        for q in unknowns.quotients:
            spans[q.unknown] = meet(
                spans[q.unknown], floordiv(_span(q.dividend, spans), _span(q.divisor, spans))
            )
        for row in rows:
            for monomial, slope in row.items():
                if len(monomial) != 1:
                    continue
                rest = _span({m: s for m, s in row.items() if m != monomial}, spans).high
                if rest is None:
                    continue
                (unknown,) = monomial
                # slope * unknown >= -rest
                end = -(rest // slope) if slope > 0 else rest // -slope
                limit = Interval(end, None) if slope > 0 else Interval(None, end)
                spans[unknown] = meet(spans[unknown], limit)
        if any(span.is_empty for span in spans):
            return None
        if spans == before:
            break
    return spans


def _programme(
    goal: Polynomial, rows: Sequence[Polynomial], spans: Sequence[Interval]
) -> Interval | None:
    """Bounds by a linear programme over monomials of unknowns that start at 0."""
    by = {k: span.low for k, span in enumerate(spans) if span.low is not None}
    moved = {k: added({(k,): 1}, constant(low)) for k, low in by.items()}
    rows = [replaced(row, moved) for row in rows]
    rows += [
        added(constant(span.high - by.get(k, 0)), {(k,): 1}, -1)
        for k, span in enumerate(spans)
        if span.high is not None
    ]
    goal = replaced(goal, moved)
    rows = [*rows, *_products(goal, rows, by)]
    monomials = sorted({m for p in (goal, *rows) for m in p if m})
    free = [m for m in monomials if not set(m) <= by.keys()]

    def dense(polynomial: Polynomial) -> list[int]:
        columns = [polynomial.get(m, 0) for m in monomials]
        return [polynomial.get((), 0), *columns, *(-polynomial.get(m, 0) for m in free)]

    goals = [dense(goal), dense(added({}, goal, -1))]
    try:
        low, high = simplex.minima(goals, [dense(row) for row in rows])
    except simplex.Infeasible:
        return None
    return Interval(
        None if low is None else math.ceil(low), None if high is None else -math.ceil(high)
    )


def _products(
    goal: Polynomial, rows: Sequence[Polynomial], by: Mapping[int, int]
) -> list[Polynomial]:
    """Inequalities times what is 0 or more, where the monomials of a product occur already."""
    nonlinear = {m for p in (goal, *rows) for m in p if len(m) > 1}
    out = []
    for monomial in sorted(nonlinear):
        for unknown in sorted(set(monomial) & by.keys()):
            rest = list(monomial)
            rest.remove(unknown)
            out += [multiplied(row, {(unknown,): 1}) for row in rows if tuple(rest) in row]
    unique = {frozenset(p.items()): p for p in out}
    return list(unique.values())[:_MOST_PRODUCTS]
