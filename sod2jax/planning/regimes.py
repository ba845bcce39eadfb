"""Regimes: the parts of a region that need programs of their own.

A decision of the trace that a call would answer otherwise narrows the regime to the part where that
answer holds: an equality by substituting a symbol, a comparison by a constraint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import sympy

from sod2jax.arguments.signature import Leaf, solve
from sod2jax.errors import SpecError
from sod2jax.ir import dims
from sod2jax.ir.comparisons import NOTHING_KNOWN, Decision, Known
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Constraint, Region


@dataclasses.dataclass(frozen=True)
class Regime:
    """The shapes that one trace is for.

    Attributes:
      leaves: the arrays of a call, with their symbolic shapes here.
      constraints: what is known of the symbols.
      reasons: the decisions that led here, with their answers.
      known: what is taken for known of sizes that depend on values; checked after each run.
    """

    leaves: tuple[Leaf, ...]
    constraints: tuple[Constraint, ...]
    reasons: tuple[str, ...] = ()
    known: Known = NOTHING_KNOWN

    @property
    def key(self) -> Any:
        """Equal for calls that one trace serves."""
        return tuple(leaf.key for leaf in self.leaves), self.constraints, self.known

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols of the specs."""
        shapes = [leaf.shape for leaf in self.leaves]
        return frozenset(name for shape in shapes for d in shape for name in dims.symbols_of(d))

    @property
    def region(self) -> Region:
        """The sizes that the symbols may take."""
        return Region.of(self.symbols, self.constraints)

    @property
    def sizes(self) -> dict[str, int]:
        """The symbols' sizes in the call that the leaves come from."""
        return solve(self.leaves)

    def decided(
        self, decision: Decision, measured: Mapping[str, int] = MappingProxyType({})
    ) -> Regime:
        """The part of the regime where a decision has the answer that the call's sizes give.

        Args:
          decision: what was decided.
          measured: sizes that depend on values, in the order in which the program makes them.
        """
        sizes = {**self.sizes, **measured}
        answer = decision.answer(sizes)
        reason = f"{decision.left} {decision.op} {decision.right} is {answer} at {decision.source}"
        if not decision.symbols.isdisjoint(measured):
            known = _learned(self.known, decision, sizes, list(measured))
            narrowed = dataclasses.replace(self, known=known)
        elif decision.op == "==":
            narrowed = self.substitute(_solution(decision, sizes))
        elif answer:
            narrowed = self._constrain(Constraint.of(decision.left, ">=", decision.right))
        else:
            narrowed = self._constrain(Constraint.of(decision.right - 1, ">=", decision.left))
        return dataclasses.replace(narrowed, reasons=(*self.reasons, reason))

    def forgetting(self) -> Regime:
        """The regime before anything was learned of sizes that depend on values."""
        fixed = {name for name, _ in self.known.fixed}
        late = fixed.union(*(limit.symbols for limit in self.known.limits)) - self.symbols
        reasons = tuple(r for r in self.reasons if not any(name in r.split() for name in late))
        return dataclasses.replace(self, known=NOTHING_KNOWN, reasons=reasons)

    def assuming(self, decision: Decision, order: Sequence[str]) -> Regime | None:
        """The regime where a decision about measured sizes is true; each run checks it.

        None if one cannot say how, or if it says nothing new.
        """
        try:
            known = _learned(self.known, decision, {}, order)
        except KeyError:
            return None
        if known == self.known:
            return None
        reason = f"{decision.left} {decision.op} {decision.right} is True at {decision.source}"
        return dataclasses.replace(self, known=known, reasons=(*self.reasons, reason))

    def _constrain(self, constraint: Constraint) -> Regime:
        narrowed = dataclasses.replace(self, constraints=(*self.constraints, constraint))
        pinned = {n: low for n, low, high in narrowed.region.ranges if low == high}
        return narrowed.substitute(pinned)

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
        positive = [Constraint.of(value, ">=", 1) for value in derived]
        constraints = [
            Constraint.of(_replace(c.left, pairs), c.op, _replace(c.right, pairs))
            for c in self.constraints
        ]
        symbolic = tuple(
            dict.fromkeys(c for c in (*constraints, *positive) if c.symbols and not c.is_trivial)
        )
        return dataclasses.replace(self, leaves=leaves, constraints=symbolic)


def _replace(dim: Any, pairs: Any) -> Dim:
    return dim if isinstance(dim, int) else dims.normalise(dim.subs(pairs, simultaneous=True))


def alternatives(regime: Regime, guards: Sequence[Decision], order: Sequence[str]) -> list[Regime]:
    """The regimes where a guard about measured sizes is violated, as far as one can tell ahead.

    Args:
      regime: of the program that has the guards.
      guards: of that program.
      order: the symbols that it measures.
    """
    late = [guard for guard in guards if not guard.symbols.isdisjoint(order)]
    found = [regime.assuming(guard, order) for guard in late]
    return [other for other in found if other is not None]


def _learned(
    known: Known, decision: Decision, sizes: Mapping[str, int], order: Sequence[str]
) -> Known:
    """What a violated guard teaches of sizes that depend on values: it holds."""
    # The one made last may be given by those before it.
    name = [name for name in order if name in decision.symbols][-1]
    difference = sympy.expand(sympy.sympify(decision.left) - decision.right)
    if decision.op == "==":
        solved = _isolate(difference, [name])
        value = solved[name] if solved else sizes[name]
    elif dims.normalise(difference + dims.symbol(name)) == 0:
        value = 0  # it is at most 0
    else:
        limit = Constraint.of(decision.left, ">=", decision.right)
        limits = tuple(dict.fromkeys((*known.limits, limit)))
        return dataclasses.replace(known, limits=limits)
    if name in dict(known.fixed):
        return known
    return dataclasses.replace(known, fixed=(*known.fixed, (name, value)))


def _solution(decision: Decision, sizes: Mapping[str, int]) -> dict[str, Dim]:
    """Values of symbols that make an equality true by construction, around the call's sizes."""
    difference = sympy.expand(sympy.sympify(decision.left) - decision.right)
    solved = _isolate(difference) or _residue(difference, sizes)
    if solved is not None:
        return solved
    return {name: sizes[name] for name in dims.symbols_of(dims.normalise(difference))}


def _isolate(difference: Any, names: Sequence[str] | None = None) -> dict[str, Dim] | None:
    """A symbol that the equality gives in terms of the others: ``n - 1``, ``m - 2*n``."""
    symbols = difference.free_symbols if names is None else map(dims.symbol, names)
    for symbol in sorted(symbols, key=str):
        slope = difference.coeff(symbol, 1)
        rest = sympy.expand(difference - slope * symbol)
        if slope in (1, -1) and symbol not in rest.free_symbols:
            return {symbol.name: dims.normalise(sympy.expand(-rest * slope))}
    return None


def _residue(difference: Any, sizes: Mapping[str, int]) -> dict[str, Dim] | None:
    """``mod(n, c) == r``: n is ``c*k + r`` for a new symbol k."""
    terms = difference.atoms(dims.mod)
    if len(terms) != 1:
        return None
    (term,) = terms
    symbol, divisor = term.args
    rest = sympy.expand(difference - term)
    if not (symbol.is_Symbol and divisor.is_Integer and rest.is_Integer):
        return None
    name, count, left = symbol.name, int(divisor), -int(rest)
    if sizes[name] < count + left:
        return {name: sizes[name]}
    return {name: dims.normalise(count * dims.symbol(f"{name}_per_{count}") + left)}


def base(leaves: Sequence[Leaf], constraints: Sequence[Constraint]) -> Regime:
    """The regime of a call before anything was decided.

    Raises:
      SpecError: a constraint names no symbol of the specs.
    """
    regime = Regime(tuple(leaves), tuple(constraints))
    for constraint in constraints:
        for name in sorted(constraint.symbols - regime.symbols):
            raise SpecError(f"constraint '{constraint}' names '{name}', which is in no spec")
    return regime


def violated(guards: Sequence[Decision], sizes: Mapping[str, int]) -> Decision | None:
    """The first guard whose recorded answer, False, is wrong at true sizes."""
    return next((guard for guard in guards if guard.answer(sizes)), None)
