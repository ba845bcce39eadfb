"""Host sizes: integers of the traces that are no dimension of the sizes, such as ``int(0.3 * n)``.

Each is a symbol of the program, and its true size is read off the checked trace of each size. The
buckets are those of the call's own sizes: bounds by these, from the samples, say how large a host
size can be in one. A size that breaks a bound does not run in the program.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import Dim

_GRID = 1 << 10  # the slopes of bounds are multiples of one over this
_NOISE = 1.01  # how far rounding takes integers from a line
_CURVED = 0.8  # growth with a smaller exponent is bounded by tangents


@dataclasses.dataclass(frozen=True)
class HostSize:
    """A size that only the host computes.

    Attributes:
      name: of its symbol.
      place: an integer of the form that is its value.
      offset: what the symbol has over that, so that it is 1 at least.
      source: the line that uses it.
    """

    name: str
    place: int
    offset: int
    source: str

    @property
    def dim(self) -> Dim:
        """The dimension that the integer is."""
        return dims.normalise(dims.symbol(self.name) - self.offset)

    def __str__(self) -> str:
        return f"{self.dim} is a size that Python computes, used at {self.source}"

    def read(self, ints: Sequence[int]) -> int:
        """The size of the symbol in a trace."""
        return ints[self.place] + self.offset


def upper_bounds(
    name: str, values: Sequence[int], points: Sequence[Mapping[str, int]]
) -> tuple[Comparison, ...]:
    """Bounds of a symbol by other sizes: by a line in the one that it follows best.

    Args:
      name: the symbol.
      values: its sizes at the sample points.
      points: the other sizes there.
    """
    best = min(_lines(values, points), key=lambda found: found[0])
    return tuple(Comparison.of(bound, ">=", dims.symbol(name)) for bound in best[1])


def _lines(
    values: Sequence[int], points: Sequence[Mapping[str, int]]
) -> Iterator[tuple[float, tuple[Dim, ...]]]:
    """(how loose, bounds) for each dimension that values may follow: sizes and their products."""
    symbols = [dims.symbol(name) for name in sorted(points[0])]
    pairs = itertools.combinations_with_replacement(symbols, 2)
    y = np.array(values, np.float64)
    for scale in (*symbols, *(a * b for a, b in pairs)):
        x = np.array([dims.evaluate(scale, point) for point in points], np.float64)
        yield _line(scale, x, y)


def _line(scale: Any, x: np.ndarray, y: np.ndarray) -> tuple[float, tuple[Dim, ...]]:
    if len(set(x)) < 2:
        return math.inf, (int(y.max()),)
    slope, start = np.polyfit(x, y, 1)
    over = float((y - slope * x - start).max())
    spread = float(np.abs(y - slope * x - start).max())
    if spread <= _NOISE:
        return 0.0, (_bound(scale, max(slope, 0.0), start + over + 1),)
    ratio = float((y / x).max())
    looseness = ratio / max(float((y / x).min()), 1e-9)
    line = _bound(scale, math.ceil(ratio) if ratio > 1 else 1 / math.floor(1 / ratio), 1)
    power = np.polyfit(np.log(x), np.log(y), 1)[0]
    return 1 + looseness, (line, *(_tangents(scale, x, y, float(power)) if power < _CURVED else ()))


def _tangents(scale: Any, x: np.ndarray, y: np.ndarray, power: float) -> Iterator[Dim]:
    """Lines that touch the curve ``c * x ** power`` above all samples."""
    power = max(power, 0.0)
    height = float((y / x**power).max()) * 1.1
    for at in sorted({float(x.min()), float(np.median(x)), float(x.max())}):
        slope = height * power * at ** (power - 1)
        yield _bound(scale, slope, height * at**power - slope * at + 1)


def _bound(scale: Any, slope: float, start: float) -> Dim:
    """``slope * scale + start`` with integers, rounded up."""
    steps, start = math.ceil(Fraction(slope) * _GRID), math.ceil(start * _GRID)
    shared = math.gcd(steps, start, _GRID)
    whole: Any = sympy.expand(steps // shared * scale) + start // shared
    line: Any = dims.floordiv(whole, _GRID // shared)
    return dims.normalise(line)
