"""Regions of symbolic sizes, and sound bounds of dimension expressions over them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import sympy

from sod2jax.errors import InvariantError, SpecError
from sod2jax.ir import dims, enclosures, proofs
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import Dim
from sod2jax.ir.intervals import Interval, Ranges


@dataclasses.dataclass(frozen=True)
class Region:
    """The sizes that every symbol may take together.

    Attributes:
      ranges: (name, smallest, largest or None) of each symbol, sorted by name.
      constraints: further relations between them.
      open: symbols whose largest size is no more than what decisions have left: no user named it.
    """

    ranges: Ranges
    constraints: tuple[Comparison, ...] = ()
    open: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str], constraints: Iterable[Comparison]) -> Region:
        """The region that constraints leave to symbols of size 1 and more.

        Raises:
          SpecError: a constraint names no symbol of the specs, or leaves no size at all.
        """
        known, given = frozenset(names), tuple(constraints)
        for constraint in given:
            for name in sorted(constraint.symbols - known):
                raise SpecError(f"constraint '{constraint}' names '{name}', which is in no spec")
        region = cls(*_tightened([(name, 1, None) for name in known], given))
        for name, low, high in region.ranges:
            if high is not None and high < low:
                raise SpecError(
                    f"the constraints leave no size for '{name}': {low} <= {name} <= {high}"
                )
        return region

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols, sorted."""
        return tuple(name for name, _, _ in self.ranges)

    def range(self, name: str) -> tuple[int, int | None]:
        """Smallest and largest size of a symbol."""
        return next((low, high) for n, low, high in self.ranges if n == name)

    def below(self, sizes: Mapping[str, int], lowest: Mapping[str, int] | None = None) -> Region:
        """The part of the region whose sizes are at most those given, and at least ``lowest``.

        A symbol that is not among them gets the bound that the others leave it.
        """
        lowest = lowest or {}
        region = dataclasses.replace(
            self,
            ranges=tuple(
                (n, max(lo, lowest.get(n, lo)), _least(hi, sizes.get(n)))
                for n, lo, hi in self.ranges
            ),
        )
        for name in self.names:
            if name not in sizes:
                region = region._bounded(name)
        return region

    def where(self, constraints: Iterable[Comparison]) -> Region:
        """The part of the region where further comparisons hold."""
        return dataclasses.replace(self, constraints=(*self.constraints, *constraints))

    def decided(self, constraints: Iterable[Comparison]) -> Region:
        """The part of the region where decisions hold, too; they may leave no size."""
        ranges, rest = _tightened(self.ranges, constraints)
        before = {n: hi for n, _, hi in self.ranges}
        ended = {n for n, _, hi in ranges if before[n] is None and hi is not None}
        return Region(ranges, (*self.constraints, *rest), self.open | ended)

    def with_symbol(
        self, name: str, most: Dim | None, constraints: Iterable[Comparison] = ()
    ) -> Region:
        """The region with one more symbol, from 0 to ``most``, and what else is known of it."""
        bound = [] if most is None else [Comparison.of(most, ">=", dims.symbol(name))]
        ranges, rest = _tightened((*self.ranges, (name, 0, None)), (*bound, *constraints))
        region = Region(ranges, (*self.constraints, *rest), self.open)
        is_open = region._without_ends(self.open)._bounded(name).range(name)[1] is None
        return dataclasses.replace(
            region, open=self.open | {name} if is_open else self.open
        )._bounded(name)

    def _without_ends(self, names: frozenset[str]) -> Region:
        ranges = tuple((n, lo, None if n in names else hi) for n, lo, hi in self.ranges)
        return dataclasses.replace(self, ranges=ranges)

    def restricted(self, names: Iterable[str]) -> Region:
        """What the region says of some of its symbols alone."""
        kept = frozenset(names)
        return Region(
            tuple(span for span in self.ranges if span[0] in kept),
            tuple(c for c in self.constraints if c.symbols <= kept),
            self.open & kept,
        )

    def _bounded(self, name: str) -> Region:
        """Gives a symbol the upper bound that linear constraints leave it, if it is tighter."""
        symbol, high = dims.symbol(name), self.range(name)[1]
        others = self.restricted(set(self.names) - {name})
        for constraint in self.constraints:
            rest = dims.normalise(constraint.difference + symbol)
            if name in constraint.symbols and name not in dims.symbols_of(rest):
                high = _least(high, bounds(rest, others).high)
        ranges = tuple((n, lo, high if n == name else hi) for n, lo, hi in self.ranges)
        return dataclasses.replace(self, ranges=ranges)

    @functools.cached_property
    def divisors(self) -> dict[str, int]:
        """What all sizes of a symbol are multiples of, by symbol, where a constraint says so."""
        found: dict[str, int] = {}
        for constraint in self.constraints:
            for sign in (1, -1):
                term: Any = sympy.sympify(constraint.difference) * sign
                if constraint.op != "==" or not isinstance(term, dims.mod):
                    continue
                of: Any = term.args[0]
                count: Any = term.args[1]
                slope, rest = of.as_coeff_Mul()
                if rest.is_Symbol and slope.is_Integer and count.is_Integer and count.is_positive:
                    unit = int(count) // math.gcd(int(count), int(slope))
                    found[rest.name] = math.lcm(found.get(rest.name, 1), unit)
        return found

    def contains(self, sizes: Mapping[str, int]) -> bool:
        """Whether a point lies inside."""
        inside = all(lo <= sizes[n] and (hi is None or sizes[n] <= hi) for n, lo, hi in self.ranges)
        return inside and all(c.holds(sizes) for c in self.constraints)

    def proves(self, comparison: Comparison) -> bool:
        """Whether a comparison was shown to hold at every size of the region."""
        difference = comparison.difference
        if isinstance(difference, int):
            return _follows("==", 1, difference, comparison.op)
        if any(_implies(constraint, comparison.op, difference) for constraint in self.constraints):
            return True
        if comparison.op == "!=" and proofs.is_never_zero(difference):
            return True
        margin = bounds(difference, self)
        if comparison.op == "!=":
            return 0 not in margin
        at_least = margin.low is not None and margin.low >= 0
        return at_least and (comparison.op == ">=" or margin.high == 0)

    def settles(self, comparison: Comparison) -> bool:
        """Whether the two sides of a comparison that holds are the same at every size."""
        return self.proves(dataclasses.replace(comparison, op="=="))

    @property
    def fixed(self) -> dict[str, int]:
        """The symbols that have one size left, with that size."""
        found = {name: bounds(dims.symbol(name), self) for name in self.names}
        return {name: b.low for name, b in found.items() if b.low is not None and b.low == b.high}

    @property
    def is_empty(self) -> bool:
        """Whether it was shown to hold no sizes at all."""
        if any(high is not None and high < low for _, low, high in self.ranges):
            return True
        return any(
            enclosures.known(dims.symbol(name), self.ranges, self.constraints) is None
            for name in self.names
        )

    def points(self, most: int) -> list[dict[str, int]] | None:
        """Every point, in order; None where there may be more than ``most``."""
        spans = [range(lo, hi + 1) if hi is not None else None for _, lo, hi in self.ranges]
        if None in spans or math.prod(map(len, spans)) > most:  # type: ignore[arg-type]
            return None
        grid = itertools.product(*spans)  # type: ignore[arg-type]
        points = [dict(zip(self.names, point, strict=True)) for point in grid]
        return [point for point in points if self.contains(point)]

    def __str__(self) -> str:
        shown = [f"{lo} <= {n}" + ("" if hi is None else f" <= {hi}") for n, lo, hi in self.ranges]
        return ", ".join([*shown, *map(str, self.constraints)]) or "fixed shapes"


def _least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _tightened(
    ranges: Iterable[tuple[str, int, int | None]], constraints: Iterable[Comparison]
) -> tuple[Ranges, tuple[Comparison, ...]]:
    """The ranges that linear bounds of single symbols leave, and the constraints that say more."""
    known: dict[str, list] = {n: [lo, hi] for n, lo, hi in ranges}
    rest = tuple(c for c in constraints if not _tighten(known, c))
    return tuple((n, lo, hi) for n, (lo, hi) in sorted(known.items())), rest


def _tighten(known: dict[str, list], constraint: Comparison) -> bool:
    """Moves a linear bound of one symbol into the ranges; False if it says something else."""
    difference: Any = sympy.sympify(constraint.difference)
    if len(constraint.symbols) != 1:
        return False
    (name,) = constraint.symbols
    slope = difference.coeff(dims.symbol(name), 1)
    rest = sympy.expand(difference - slope * dims.symbol(name))
    if not (slope.is_Integer and rest.is_Integer and slope != 0):
        whole = _unrounded(difference) if constraint.op == ">=" else None
        return whole is not None and _tighten(known, Comparison.of(whole, ">=", 0))
    # slope * n + rest >= 0, and <= 0 as well for an equality
    at = -int(rest) / int(slope)
    if constraint.op == "==" or slope > 0:
        known[name][0] = max(known[name][0], math.ceil(at))
    if constraint.op == "==" or slope < 0:
        high = known[name][1]
        known[name][1] = math.floor(at) if high is None else min(high, math.floor(at))
    return True


def _unrounded(difference: Any) -> Any:
    """What is at least 0 just where ``a * floordiv(x, c) + b`` is, without the quotient.

    None for other dimensions.
    """
    b, rest = difference.as_coeff_Add()
    a, quotient = rest.as_coeff_Mul()
    if not (isinstance(quotient, dims.floordiv) and a.is_Integer and quotient.args[1].is_Integer):
        return None
    x: Any = quotient.args[0]
    c = int(quotient.args[1])  # type: ignore[call-overload]
    if c < 0:
        return None
    return x + c * (int(b) // int(a)) if a > 0 else c * (-int(b) // int(a) + 1) - 1 - x


def _implies(constraint: Comparison, op: str, difference: sympy.Expr) -> bool:
    """Whether one constraint alone says that ``difference op 0``."""
    ways = [(sign, dims.normalise(difference - sign * constraint.difference)) for sign in (1, -1)]
    return any(
        isinstance(rest, int) and _follows(constraint.op, sign, rest, op) for sign, rest in ways
    )


def _follows(known: str, sign: int, rest: int, op: str) -> bool:
    """Whether ``d known 0`` says that ``sign*d + rest op 0``."""
    if known == "==":
        return rest >= 0 if op == ">=" else (rest == 0) == (op == "==")
    if known == "!=":
        return op == "!=" and rest == 0
    return (op == ">=" and sign > 0 and rest >= 0) or (op == "!=" and sign * rest > 0)


def bounds(dim: Dim, region: Region) -> Interval:
    """Smallest and largest value of a dimension over a region; sound, maybe wider."""
    if isinstance(dim, int):
        return Interval(dim, dim)
    return enclosures.enclosure(dim, region.ranges, region.constraints)


def upper(dim: Dim, region: Region) -> int:
    """N(d): the array size that holds every value of a dimension over a region.

    A pure function of the expression and the region, and never below 0.

    Raises:
      InvariantError: the dimension has no upper bound there.
    """
    high = bounds(dim, region).high
    if high is None:
        raise InvariantError(f"dimension '{dim}' is unbounded over {region}")
    return max(high, 0)
