"""Conds whose index is computed from sizes alone: which they are, and at what sizes it changes."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

from sod2jax import _compat, rdp
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.ir.vocabulary import CALLS, LOOPS
from sod2jax.passes.branches.decide import reached
from sod2jax.passes.branches.surgery import equations, is_cond, replaced, variables

_MOST_ANALYSES = 200  # sub-ranges that are tried in search of the sizes where an index changes


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The conds of a program that sizes decide, but not alike over its whole region.

    Attributes:
      program: the program.
      facts: what is known of it.
    """

    program: Program
    facts: rdp.Facts

    @functools.cached_property
    def indices(self) -> dict[Any, int]:
        """The indices of those conds, each with the most branches that it chooses from."""
        found: dict[Any, int] = {}
        for eqn in filter(is_cond, equations(self.program.jaxpr)):
            index, count = eqn.invars[0], len(eqn.params["branches"])
            if not _compat.is_literal(index) and index in self._known.makers:
                found[index] = max(count, found.get(index, 0))
        return {index: n for index, n in found.items() if self.facts.value_range(index)}

    @functools.cached_property
    def _known(self) -> _Known:
        known = _Known()
        known.follow(self.program.jaxpr)
        return known

    @functools.cached_property
    def edges(self) -> dict[str, tuple[int, ...]]:
        """Sizes where an index changes: the last size before each change, by bounded symbol.

        A symbol is in it, with no sizes perhaps, wherever it may decide an index together with the
        other symbols.
        """
        slices = [(self._known.slice(i, self.program.jaxpr), n) for i, n in self.indices.items()]
        region, found = self.program.region, {}
        for name, low, high in region.ranges:
            concerned = [(jaxpr, n) for jaxpr, n in slices if name in _symbols(jaxpr)]
            if concerned and high is not None and low < high:
                known = [_changes(jaxpr, n, region, name) for jaxpr, n in concerned]
                found[name] = tuple(sorted({edge for edges in known for edge in edges}))
        return found


class _Known:
    """What is computed from sizes and numbers alone.

    Attributes:
      makers: the equation of each variable that is; None for what a jaxpr is given.
      given: the operand that an input of a jaxpr stands for.
    """

    def __init__(self):
        self.makers: dict[Any, Any] = {}
        self.given: dict[Any, Any] = {}
        self._several: set[Any] = set()

    def follow(self, jaxpr: Jaxpr) -> None:
        """Adds what is known in a jaxpr, and in the jaxprs inside it."""
        for eqn in jaxpr.eqns:
            plain = not eqn.effects and eqn.primitive.name not in LOOPS and not is_cond(eqn)
            if plain and all(self._is_known(atom) for atom in eqn.invars):
                self.makers.update((var, eqn) for var in eqn.outvars)
            else:  # an earlier call of this jaxpr may have said otherwise
                for var in eqn.outvars:
                    self.makers.pop(var, None)
            for body, operands in _bodies(eqn):
                self._enter(body, operands)

    def _enter(self, body: Any, operands: Sequence[Any]) -> None:
        for var, atom in zip(body.invars, operands, strict=False):
            if var in self.given and self.given[var] is not atom:
                self._several.add(var)  # another call gives it another value
            self.given[var] = atom
            if var in self._several or atom is None or not self._is_known(atom):
                self.makers.pop(var, None)
            else:
                self.makers[var] = None
        self.follow(body)

    def _is_known(self, atom: Atom) -> bool:
        return _compat.is_literal(atom) or atom in self.makers

    def slice(self, index: Any, like: Any) -> Any:
        """A jaxpr that computes an index from nothing."""
        kept: dict[int, Any] = {}
        names: dict[Any, Any] = {}

        def need(atom: Atom) -> Any:
            if _compat.is_literal(atom) or atom in names:
                return names.get(atom, atom) if not _compat.is_literal(atom) else atom
            eqn = self.makers[atom]
            if eqn is None:
                names[atom] = need(self.given[atom])
            elif id(eqn) not in kept:
                ends = {var: need(var) for var in variables(eqn.invars)}
                (kept[id(eqn)],) = replaced([eqn], ends)
            return names.get(atom, atom)

        out = need(index)
        return _compat.closed_jaxpr([], [out], list(kept.values()), like=like)


def _bodies(eqn: JaxprEqn) -> list[tuple[Any, list[Any]]]:
    """The jaxprs of an equation, and the operands that their inputs always are; None for others."""
    name, params, invars = eqn.primitive.name, eqn.params, list(eqn.invars)
    if name == "cond":
        return [(branch, invars[1:]) for branch in params["branches"]]
    if name == "scan":
        consts, _ = _compat.scan_counts(eqn)
        body = params["jaxpr"]
        return [(body, [*invars[:consts], *[None] * (len(body.invars) - consts)])]
    if name == "while":
        body, tests, consts = params["body_jaxpr"], params["cond_nconsts"], params["body_nconsts"]
        given = invars[tests : tests + consts]
        return [(body, [*given, *[None] * (len(body.invars) - consts)])]
    if name in CALLS:
        return [(body, invars) for _, body in _compat.sub_jaxprs(eqn)][:1]
    return []


def _symbols(jaxpr: Jaxpr) -> frozenset[str]:
    params = [p for eqn in equations(jaxpr) for p in eqn.params.values()]
    found = [dims.symbols_of(dims.from_jax(p)) for p in params if _compat.is_symbolic(p)]
    return frozenset().union(*found)


def _changes(jaxpr: Jaxpr, count: int, region: Region, name: str) -> list[int]:
    """The sizes of a symbol after which the branch changes; none unless it is always decided."""
    left = _MOST_ANALYSES

    def branch(low: int, high: int) -> int | None:
        ranges = tuple((n, *((low, high) if n == name else ends)) for n, *ends in region.ranges)
        part = dataclasses.replace(region, ranges=ranges)
        alive = reached(rdp.analyse(jaxpr, part), jaxpr.outvars[0], count)
        return alive[0] if len(alive) == 1 else None

    def runs(low: int, high: int) -> list[tuple[int, int]] | None:
        """(last size, branch) of each run of sizes; None where sizes do not decide."""
        nonlocal left
        left -= 1
        if left < 0:
            return None
        found = branch(low, high)
        if found is not None or low == high:
            return None if found is None else [(high, found)]
        middle = (low + high) // 2
        first = runs(low, middle)
        rest = None if first is None else runs(middle + 1, high)
        return None if first is None or rest is None else [*first, *rest]

    low, high = region.range(name)
    found = [] if high is None else runs(low, high) or []
    return [a[0] for a, b in itertools.pairwise(found) if a[1] != b[1]]
