"""Regimes: the parts of a region that need programs of their own.

A decision of the trace that a call would answer otherwise narrows the regime to the part where that
answer holds: an equality by substituting a symbol, a comparison by a constraint.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import sympy

from sod2jax.arguments.signature import Leaf, solve
from sod2jax.errors import SpecError
from sod2jax.ir import dims
from sod2jax.ir.comparisons import NO_ASSUMPTIONS, Assumptions, Comparison
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region

_LONGEST_PERIOD = 64  # of an equality that is about remainders
_PERIODS = 8  # in which it must hold


@dataclasses.dataclass(frozen=True)
class Decision:
    """A question of a trace, with the answer that a call's sizes gave."""

    question: Comparison
    answer: bool

    def __str__(self) -> str:
        held = self.question if self.answer else self.question.negated
        where = self.question.source or "the sizes of calls so far"
        return f"{held.plain} (decided at {where})"


@dataclasses.dataclass(frozen=True, repr=False)
class Regime:
    """The shapes that one trace is for.

    Attributes:
      leaves: the arrays of a call, with their symbolic shapes here.
      constraints: what is known of the symbols.
      limits: what decisions add to that.
      reasons: the decisions that led here.
      assumptions: what is taken for granted of data-dependent sizes.
      host_sizes: symbols that are in no spec; the constraints bound them.
      expected: upper bounds that calls so far suggest and nobody promised; each becomes a
        constraint where a decision or a trace needs it, and a call beyond it has another regime.
    """

    leaves: tuple[Leaf, ...]
    constraints: tuple[Comparison, ...]
    limits: tuple[Comparison, ...] = ()
    reasons: tuple[Decision, ...] = ()
    assumptions: Assumptions = NO_ASSUMPTIONS
    host_sizes: tuple[str, ...] = ()
    expected: tuple[Comparison, ...] = ()

    def __repr__(self) -> str:
        return (
            f"Regime({len(self.leaves)} arrays, for {self.region}; {len(self.reasons)} decisions)"
        )

    @property
    def key(self) -> Any:
        """Equal for calls that one trace serves."""
        leaves = tuple(leaf.key for leaf in self.leaves)
        return leaves, self.constraints, self.limits, self.assumptions

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols of the specs."""
        return dims.symbols_in([leaf.shape for leaf in self.leaves]) - set(self.host_sizes)

    @functools.cached_property
    def region(self) -> Region:
        """The sizes that the symbols may take."""
        region = Region.of(self.symbols, self._within(self.constraints))
        region = region.decided(self._within(self.limits))
        known = set(self.symbols)
        for name in self.host_sizes:
            own = [c for c in self.constraints if name in c.symbols and c.symbols <= {*known, name}]
            known.add(name)
            region = region.with_symbol(
                name, None, [Comparison.of(dims.symbol(name), ">=", 1), *own]
            )
        return region

    def _within(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        return [c for c in comparisons if not c.symbols & set(self.host_sizes)]

    @property
    def sizes(self) -> dict[str, int]:
        """The symbols' sizes in the call that the leaves come from."""
        return solve(self.leaves)

    def decided(
        self, question: Comparison, computed: Mapping[str, int] = MappingProxyType({})
    ) -> Regime:
        """The part of the regime where a question has the answer that the call's sizes give.

        Args:
          question: what was asked; an equality must have the answer True.
          computed: data-dependent sizes, in the order in which the program computes them.
        """
        sizes = {**self.sizes, **computed}
        answer = question.holds(sizes)
        if not question.symbols.isdisjoint(computed):
            assumptions = _learned(self.assumptions, question, sizes, list(computed))
            narrowed = dataclasses.replace(self, assumptions=assumptions)
        elif question.op == "==" and (limit := _as_limit(question)) is not None:
            narrowed = self._constrain(limit)
        elif question.op == "==":
            narrowed = self.substitute(_solution(question, sizes))
        else:
            narrowed = self._constrain(question if answer else question.negated)
        return narrowed._because(question, answer)

    def bounded(self) -> Regime:
        """The part of the regime where sizes have the bounds that are expected of them."""
        return dataclasses.replace(
            self, limits=(*self.limits, *self.expected), expected=()
        )._pinned()

    def requiring(self, constraints: Sequence[Comparison]) -> Regime:
        """The part of the regime where further constraints hold, as if a user had given them."""
        new = tuple(c for c in constraints if c not in self.constraints)
        if not new:
            return self
        return dataclasses.replace(self, constraints=(*self.constraints, *new))._pinned()

    def forgetting(self) -> Regime:
        """The regime before anything was assumed of data-dependent sizes."""
        assumed = self.assumptions.symbols - self.symbols
        reasons = tuple(d for d in self.reasons if assumed.isdisjoint(d.question.symbols))
        return dataclasses.replace(self, assumptions=NO_ASSUMPTIONS, reasons=reasons)

    def assuming(self, question: Comparison, order: Sequence[str]) -> Regime | None:
        """The regime where the answer to a question about data-dependent sizes is True.

        None if one cannot say how, or if it says nothing new.
        """
        try:
            assumptions = _learned(self.assumptions, question, {}, order)
        except KeyError:
            return None
        if assumptions == self.assumptions:
            return None
        return dataclasses.replace(self, assumptions=assumptions)._because(question, True)

    def _because(self, question: Comparison, answer: bool) -> Regime:
        return dataclasses.replace(self, reasons=(*self.reasons, Decision(question, answer)))

    def _constrain(self, constraint: Comparison) -> Regime:
        constraint = Comparison.of(constraint.left, constraint.op, constraint.right)
        if self.region.proves(constraint):
            return self
        narrowed = dataclasses.replace(self, limits=(*self.limits, constraint))
        if narrowed.region.settles(constraint):  # with one that was there, as n >= m with m >= n
            narrowed = narrowed.substitute(_isolate(sympy.sympify(constraint.difference)) or {})
        return narrowed._pinned()

    def _pinned(self) -> Regime:
        """The regime where symbols that have one size left are that size."""
        own = self.symbols
        return self.substitute({n: size for n, size in self.region.fixed.items() if n in own})

    def substitute(self, values: Mapping[str, Dim]) -> Regime:
        """Replaces symbols in shapes and constraints; bounds of a symbol bind what replaces it."""
        if not values:
            return self
        pairs = {dims.symbol(name): value for name, value in values.items()}
        leaves = tuple(
            dataclasses.replace(leaf, shape=tuple(_replace(d, pairs) for d in leaf.shape))
            for leaf in self.leaves
        )
        derived = [value for value in values.values() if not isinstance(value, sympy.Symbol)]
        positive = [Comparison.of(value, ">=", 1) for value in derived]
        constraints = _replaced((*self.constraints, *positive), pairs)
        limits = _replaced(self.limits, pairs)
        expected = _replaced(self.expected, pairs)
        replaced = dataclasses.replace(
            self, leaves=leaves, constraints=constraints, limits=limits, expected=expected
        )
        return replaced._pinned()


def _replaced(comparisons: Sequence[Comparison], pairs: Any) -> tuple[Comparison, ...]:
    """The comparisons that still say something of symbols, each once."""
    new = [
        Comparison.of(_replace(c.left, pairs), c.op, _replace(c.right, pairs)) for c in comparisons
    ]
    return tuple(dict.fromkeys(c for c in new if c.symbols and not c.is_trivial))


def _replace(dim: Any, pairs: Any) -> Dim:
    return dim if isinstance(dim, int) else dims.normalise(dim.subs(pairs, simultaneous=True))


def alternatives(
    regime: Regime, guards: Sequence[Comparison], order: Sequence[str]
) -> list[Regime]:
    """The regimes where a guard about data-dependent sizes is violated, as far as one can tell.

    Args:
      regime: of the program that has the guards.
      guards: of that program.
      order: its data-dependent symbols, in the order in which it computes them.
    """
    about = [guard for guard in guards if not guard.symbols.isdisjoint(order)]
    others = [regime.assuming(guard.negated, order) for guard in about]
    return [other for other in others if other is not None]


def _learned(
    before: Assumptions, question: Comparison, sizes: Mapping[str, int], order: Sequence[str]
) -> Assumptions:
    """What the answer True to a question about data-dependent sizes adds to the assumptions."""
    # The one made last may be given by those before it.
    name = [name for name in order if name in question.symbols][-1]
    difference = sympy.sympify(question.difference)
    if question.op == "==":
        solved = _isolate(difference, [name])
        value = solved[name] if solved else sizes[name]
    elif dims.normalise(difference + dims.symbol(name)) == 0:
        value = 0  # it is at most 0
    else:
        limit = Comparison.of(question.left, ">=", question.right)
        limits = tuple(dict.fromkeys((*before.limits, limit)))
        return dataclasses.replace(before, limits=limits)
    if name in dict(before.fixed):
        return before
    return dataclasses.replace(before, fixed=(*before.fixed, (name, value)))


def _solution(question: Comparison, sizes: Mapping[str, int]) -> dict[str, Dim]:
    """Values of symbols that make an equality true by construction, around the call's sizes."""
    difference = sympy.sympify(question.difference)
    solved = _isolate(difference) or _remainder(difference, sizes)
    if solved is not None:
        return solved
    return {name: sizes[name] for name in dims.symbols_of(dims.normalise(difference))}


def _as_limit(question: Comparison) -> Comparison | None:
    """``max(0, d) == 0``: d is at most 0."""
    for sign in (1, -1):
        extremum: Any = sympy.sympify(question.difference) * sign
        others: list[Any] = [arg for arg in extremum.args if arg != 0]
        if isinstance(extremum, dims.maximum) and len(others) == 1:
            return Comparison.of(0, ">=", others[0], question.source)
    return None


def _isolate(difference: Any, names: Sequence[str] | None = None) -> dict[str, Dim] | None:
    """A symbol that the equality gives in terms of the others: ``n - 1``, ``m - 2*n``."""
    symbols = difference.free_symbols if names is None else map(dims.symbol, names)
    for symbol in sorted(symbols, key=str):
        slope = difference.coeff(symbol, 1)
        rest = sympy.expand(difference - slope * symbol)
        if slope in (1, -1) and symbol not in rest.free_symbols:
            return {symbol.name: dims.normalise(sympy.expand(-rest * slope))}
    return None


def _remainder(difference: Any, sizes: Mapping[str, int]) -> dict[str, Dim] | None:
    """``mod(n, c) == r``, ``n == c*floordiv(n, c) + r``: n is ``c*k + r`` for a new symbol k."""
    terms = difference.atoms(dims.mod, dims.floordiv)
    count = math.lcm(*(int(term.args[1]) for term in terms if term.args[1].is_Integer))
    if len(difference.free_symbols) != 1 or not 1 < count <= _LONGEST_PERIOD:
        return None
    name = str(*difference.free_symbols)
    size, left = sizes[name], sizes[name] % count
    if any(dims.evaluate(difference, {name: size + k * count}) for k in range(1, _PERIODS)):
        return None
    if size < count + left:
        return {name: size}
    return {name: dims.normalise(count * dims.symbol(f"{name}_per_{count}") + left)}


def base(leaves: Sequence[Leaf], constraints: Sequence[Comparison]) -> Regime:
    """The regime of a call before anything was decided.

    Raises:
      SpecError: a constraint names no symbol of the specs.
    """
    regime = Regime(tuple(leaves), tuple(constraints))
    for constraint in constraints:
        for name in sorted(constraint.symbols - regime.symbols):
            raise SpecError(f"constraint '{constraint}' names '{name}', which is in no spec")
    return regime
