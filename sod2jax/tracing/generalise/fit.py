"""Integers seen at several sizes to the dimension that gives them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region

_DIVISORS = (*range(2, 17), 32, 64, 128)
_ALL_SHIFTS = 16  # divisors up to which every shift of the dividend is tried


def sample_points(region: Region, wanted: int) -> list[dict[str, int]]:
    """Sizes of a region, spread evenly by magnitude, fewer than wanted where there are no more.

    Small sizes are avoided where the region allows, since programs treat 1 and 2 in special ways.
    Two points tell apart what rounds up from what rounds down: all sizes divisible, and one more.
    """
    rng = np.random.default_rng(0)
    points: dict[tuple[int, ...], dict[str, int]] = {}
    for extra in (0, 1):
        point = {name: _divisible(low, high) + extra for name, low, high in region.ranges}
        if region.contains(point):
            points[tuple(point.values())] = point
    for attempt in range(40 * wanted):
        point = {}
        for name, low, high in region.ranges:
            top = max(low, min(high or 4 * low + 64, 512))
            bottom = min(max(low, 5 if attempt < 20 * wanted else low), top)
            drawn = np.exp(rng.uniform(np.log(bottom), np.log(top + 1)))
            point[name] = int(min(max(drawn, bottom), top))
        if region.contains(point) and len(points) < wanted:
            points.setdefault(tuple(point.values()), point)
    return list(points.values())


def _divisible(low: int, high: int | None) -> int:
    """A size that many numbers divide, with room for one more below the largest."""
    fitting = (k for k in (192, 96, 48, 24, 12, 8, 4) if low <= k and (high is None or k < high))
    return next(fitting, low)


def corners(region: Region) -> list[dict[str, int]]:
    """The smallest sizes of a region, and the largest where a user gave all a bound."""
    smallest = {name: low for name, low, _ in region.ranges}
    ends = {name: high for name, _, high in region.ranges if name not in region.open}
    largest = {name: high for name, high in ends.items() if high is not None}
    points = [smallest, *([largest] if len(largest) == len(smallest) else [])]
    return [point for point in points if region.contains(point)]


def samples_wanted(symbols: int) -> int:
    """How many sizes to fit on: more than any basis has terms."""
    return 5 + symbols + symbols * (symbols + 1) // 2


class Fitter:
    """Fits integers over fixed sample points.

    Args:
      points: sizes of the symbols, at each sample.

    Attributes:
      has_guessed: whether something was fitted by one of many quotients, which may be chance where
        the samples are few.
    """

    def __init__(self, points: Sequence[Mapping[str, int]]):
        self._names = tuple(sorted(points[0]))
        self.has_guessed = False
        self._columns = {
            name: np.array([point[name] for point in points], np.int64) for name in self._names
        }
        self.fit = functools.cache(self._fit)

    def add(self, name: str, values: Sequence[int]) -> None:
        """Fits by one more symbol from here on."""
        self._names = (*self._names, name)
        self._columns[name] = np.array(values, np.int64)
        self.fit.cache_clear()

    def _fit(self, values: tuple[int, ...]) -> Dim | None:
        """The simplest dimension with these values at the sample points; None if none is known."""
        if len(set(values)) == 1:
            return values[0]
        target = np.array(values, np.int64)
        for basis in self._bases(values):
            columns = [np.ones_like(target), *(self._evaluate(term) for term in basis)]
            solution = _integer_solution(np.stack(columns, 1), target)
            if solution is not None:
                self.has_guessed |= any(isinstance(term, dims.floordiv) for term in basis)
                terms = [int(c) * term for c, term in zip(solution[1:], basis, strict=True)]
                return dims.normalise(sympy.Add(int(solution[0]), *terms))
        return None

    def _evaluate(self, term: sympy.Expr) -> np.ndarray:
        return np.asarray(dims.evaluate(term, self._columns))

    def _bases(self, values: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Sets of terms to combine linearly, simple ones first."""
        symbols = [dims.symbol(name) for name in self._names]
        products = [a * b for a, b in itertools.combinations_with_replacement(symbols, 2)]
        yield from ((s,) for s in symbols)
        yield from ((p,) for p in products)
        yield tuple(symbols)
        yield from (tuple(dict.fromkeys((p, *p.free_symbols))) for p in products)
        for s, constant in itertools.product(symbols, sorted(set(values))):
            yield (dims.minimum(s, sympy.Integer(constant)),)
            yield (dims.maximum(s, sympy.Integer(constant)),)
        for s, quotient in itertools.product(symbols, self._quotients()):
            yield (quotient(s),)
            yield (s, quotient(s))
        yield (*symbols, *products)

    @staticmethod
    def _quotients() -> Iterator:
        for divisor in _DIVISORS:
            shifts = range(divisor) if divisor <= _ALL_SHIFTS else (0, divisor - 1)
            for shift in shifts:
                yield functools.partial(_quotient, divisor=divisor, shift=shift)


def _quotient(symbol: sympy.Symbol, divisor: int, shift: int) -> Any:
    return dims.floordiv(symbol + shift, sympy.Integer(divisor))


def _integer_solution(columns: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Integers c with ``columns @ c == target``, if a unique solution exists."""
    count, terms = columns.shape
    if terms >= count or np.linalg.matrix_rank(columns) < terms:
        return None
    solution = np.linalg.lstsq(columns.astype(float), target.astype(float), rcond=None)[0]
    rounded = np.rint(solution).astype(np.int64)
    return rounded if (columns @ rounded == target).all() else None
