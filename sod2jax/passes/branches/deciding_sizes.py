"""Conds whose index is computed from sizes alone: which they are, and at what sizes it changes."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

from sod2jax import _compat, rdp
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import equations, mentions, read, variables
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.ir.surgery import replaced
from sod2jax.ir.vocabulary import CALLS, LOOPS
from sod2jax.passes.branches.conds import is_cond
from sod2jax.passes.branches.decide import reached

_MOST_ANALYSES = 200  # sub-ranges that are tried in search of the sizes where an index changes


@dataclasses.dataclass(frozen=True)
class DecidingSizes:
    """The conds of a program that sizes decide, but not alike over its whole region.

    Attributes:
      program: the program.
      facts: what is known of it.
    """

    program: Program
    facts: rdp.Facts

    @functools.cached_property
    def indices(self) -> dict[Var, int]:
        """The indices of those conds, each with the most branches that it chooses from."""
        counts: dict[Var, int] = {}
        for eqn in filter(is_cond, equations(self.program.jaxpr)):
            index, count = eqn.invars[0], len(eqn.params["branches"])
            if not _compat.is_literal(index) and index in self._size_values.makers:
                counts[index] = max(count, counts.get(index, 0))
        return {index: n for index, n in counts.items() if self.facts.value_range(index)}

    @functools.cached_property
    def _size_values(self) -> _SizeValues:
        values = _SizeValues()
        values.follow(self.program.jaxpr)
        return values

    @functools.cached_property
    def edges(self) -> dict[str, tuple[int, ...]]:
        """Sizes where an index changes: the last size before each change, by bounded symbol.

        A symbol is in it, with no sizes perhaps, wherever it may decide an index together with the
        other symbols.
        """
        region, edges = self.program.region, {}
        slices = [
            (self._size_values.slice(index, self.program.jaxpr), count)
            for index, count in self.indices.items()
        ]
        for name, low, high in region.ranges:
            concerned = [(jaxpr, n) for jaxpr, n in slices if _mentions(jaxpr, name)]
            if concerned and high is not None and low < high:
                sizes = [_last_sizes(jaxpr, n, region, name) for jaxpr, n in concerned]
                edges[name] = tuple(sorted(set().union(*sizes)))
        return edges


class _SizeValues:
    """The variables that are computed from sizes and numbers alone.

    Attributes:
      makers: the equation of each such variable; None for what a jaxpr is given.
      given: the operand that an input of a jaxpr stands for.
    """

    def __init__(self):
        self.makers: dict[Var, JaxprEqn | None] = {}
        self.given: dict[Var, Atom] = {}
        self._several: set[Var] = set()

    def follow(self, jaxpr: Jaxpr) -> None:
        """Adds those of a jaxpr, and of the jaxprs inside it."""
        for eqn in jaxpr.eqns:
            plain = not eqn.effects and eqn.primitive.name not in LOOPS and not is_cond(eqn)
            if plain and all(map(self._is_one, eqn.invars)):
                self.makers.update((var, eqn) for var in eqn.outvars)
            else:  # an earlier call of this jaxpr may have said otherwise
                for var in eqn.outvars:
                    self.makers.pop(var, None)
            for body, operands in _bodies(eqn):
                self._enter(body, operands)

    def _enter(self, body: Jaxpr, operands: Sequence[Atom | None]) -> None:
        for var, atom in zip(body.invars, operands, strict=False):
            if var in self.given and self.given[var] is not atom:
                self._several.add(var)  # another call gives it another value
            self.given[var] = atom
            if var in self._several or atom is None or not self._is_one(atom):
                self.makers.pop(var, None)
            else:
                self.makers[var] = None
        self.follow(body)

    def _is_one(self, atom: Atom) -> bool:
        return _compat.is_literal(atom) or atom in self.makers

    def slice(self, index: Var, like: Jaxpr) -> Jaxpr:
        """A jaxpr that computes an index from nothing."""
        kept: dict[int, JaxprEqn] = {}
        inputs: dict[Var, Atom] = {}  # of jaxprs inside: what they stand for

        def need(atom: Atom) -> Atom:
            if _compat.is_literal(atom) or atom in inputs:
                return read(inputs, atom)
            eqn = self.makers[atom]
            if eqn is None:
                inputs[atom] = need(self.given[atom])
            elif id(eqn) not in kept:
                ends = {var: need(var) for var in variables(eqn.invars)}
                (kept[id(eqn)],) = replaced([eqn], ends)
            return read(inputs, atom)

        out = need(index)
        return _compat.closed_jaxpr([], [out], list(kept.values()), like=like)


def _bodies(eqn: JaxprEqn) -> list[tuple[Jaxpr, list[Atom | None]]]:
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


def _mentions(jaxpr: Jaxpr, name: str) -> bool:
    return any(name in mentions(eqn) for eqn in jaxpr.eqns)


def _last_sizes(jaxpr: Jaxpr, count: int, region: Region, name: str) -> list[int]:
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
        taken = branch(low, high)
        if taken is not None or low == high:
            return None if taken is None else [(high, taken)]
        middle = (low + high) // 2
        first = runs(low, middle)
        rest = None if first is None else runs(middle + 1, high)
        return None if first is None or rest is None else [*first, *rest]

    low, high = region.range(name)
    decided = [] if high is None else runs(low, high) or []
    return [a[0] for a, b in itertools.pairwise(decided) if a[1] != b[1]]
