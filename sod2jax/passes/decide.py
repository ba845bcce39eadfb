"""Conds that sizes decide: over the whole region in a pass, else bucket by bucket.

Rank and Dimension Propagation knows the integers that are computed from sizes. Where it bounds the
index of a cond over the sizes that an executable serves, branches that cannot be taken are left
out before anything is lowered, and a cond of one branch is that branch.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from jax import lax

from sod2jax import _compat, dims, rdp
from sod2jax.passes.change import Change
from sod2jax.passes.surgery import (
    Copier,
    equations,
    has_cond,
    is_cond,
    literal,
    read,
    replaced_in_turn,
    variables,
    with_bodies,
    with_jaxpr,
)
from sod2jax.program import Program
from sod2jax.region import Region, bounds

_MOST_ANALYSES = 200  # sub-ranges that are tried in search of the sizes where an index changes


def decide(program: Program, facts: rdp.Facts) -> tuple[Program, tuple[Change, ...]]:
    """The pass: leaves out the branches that no size of the program's region takes."""
    if not has_cond(program.jaxpr):
        return program, ()
    work = _Decide(facts)
    jaxpr = work.jaxpr(program.jaxpr)
    return with_jaxpr(program, jaxpr) if work.changes else program, tuple(work.changes)


class _Decide:
    def __init__(self, facts: rdp.Facts):
        self.changes: list[Change] = []
        self._facts, self._copier = facts, Copier()
        self._done: dict[int, tuple[Any, Any]] = {}

    def jaxpr(self, jaxpr: Any) -> Any:
        if id(jaxpr) not in self._done:
            self._done[id(jaxpr)] = (jaxpr, self._decided(jaxpr) if has_cond(jaxpr) else jaxpr)
        return self._done[id(jaxpr)][1]

    def _decided(self, jaxpr: Any) -> Any:
        new: list[Any] = []
        env: dict[Any, Any] = {}
        for eqn in replaced_in_turn(jaxpr.eqns, env):
            alive = _alive(eqn, self._facts) if is_cond(eqn) else None
            if alive is None:
                new.append(with_bodies(eqn, self.jaxpr))
                continue
            self.changes.append(_change(eqn, alive))
            branches = [self.jaxpr(eqn.params["branches"][k]) for k in alive]
            if len(branches) > 1:
                new += _narrowed(eqn, alive.start, branches)
                continue
            body, outs = self._copier.inlined(branches[0], eqn.invars[1:], eqn)
            new += body
            env.update(zip(eqn.outvars, outs, strict=True))
        return _compat.with_equations(jaxpr, new, [read(env, v) for v in jaxpr.outvars])


def _alive(eqn: Any, facts: rdp.Facts) -> range | None:
    """The branches that a cond may take, if that is not all of them."""
    count = len(eqn.params["branches"])
    alive = _reached(facts, eqn.invars[0], count)
    return alive if 0 < len(alive) < count else None


def _reached(facts: rdp.Facts, index: Any, count: int) -> range:
    """Which of ``count`` branches an index, clamped as a cond does, may take."""
    known = facts.value_range(index)
    if known is None:
        return range(count)
    low, high = bounds(known[0], facts.region).low, bounds(known[1], facts.region).high
    first = 0 if low is None else min(max(low, 0), count - 1)
    last = count - 1 if high is None else min(max(high, 0), count - 1)
    return range(first, last + 1)


def _change(eqn: Any, alive: range) -> Change:
    count = len(eqn.params["branches"])
    left = f"branch {alive[0]}" if len(alive) == 1 else f"branches {alive[0]} to {alive[-1]}"
    return Change(
        f"left {count - len(alive)} of {count} branches of a cond out",
        _compat.source_line(eqn),
        f"the sizes take {left} only",
    )


def _narrowed(eqn: Any, first: int, branches: Sequence[Any]) -> list[Any]:
    """The cond with some of its branches, next to each other."""
    new, index = [], eqn.invars[0]
    if first:
        shifted = _compat.new_variable(index.aval)
        operands = [index, literal(first, index)]
        new.append(_compat.new_equation(lax.sub_p, operands, [shifted], {}, like=eqn))
        index = shifted
    params = {**eqn.params, "branches": tuple(branches)}
    return [*new, eqn.replace(invars=[index, *eqn.invars[1:]], params=params)]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The conds of a program whose index is computed from its sizes alone, but not decided yet.

    Attributes:
      program: the program.
      facts: what is known of it.
    """

    program: Program
    facts: rdp.Facts

    def decide(self, index: Any) -> bool:
        """Whether buckets may decide an index: it is an integer that the analysis follows."""
        return self.facts.inputs(index) == frozenset() and self.facts.value_range(index) is not None

    @property
    def indices(self) -> dict[Any, int]:
        """The indices of those conds, each with the most branches that it chooses from."""
        found: dict[Any, int] = {}
        for eqn in filter(is_cond, equations(self.program.jaxpr)):
            index, count = eqn.invars[0], len(eqn.params["branches"])
            if not _compat.is_literal(index) and self.decide(index):
                found[index] = max(count, found.get(index, 0))
        return found

    def edges(self) -> dict[str, tuple[int, ...]]:
        """Sizes where an index changes: the last size before each change, by bounded symbol.

        A symbol is in it, with no sizes perhaps, wherever it may decide an index together with the
        other symbols.
        """
        slices = [(_slice(self.program.jaxpr, index), n) for index, n in self.indices.items()]
        region, found = self.program.region, {}
        for name, low, high in region.ranges:
            if high is None or low == high:
                continue
            concerned = [(s, n) for s, n in slices if s is None or name in _symbols(s)]
            if concerned:
                known = [_changes(s, n, region, name) for s, n in concerned if s is not None]
                found[name] = tuple(sorted({edge for edges in known for edge in edges}))
        return found


def _slice(jaxpr: Any, index: Any) -> Any | None:
    """A jaxpr that computes an index from nothing; None where it cannot be cut out."""
    makers = {var: eqn for eqn in jaxpr.eqns for var in eqn.outvars}
    needed, kept = {index}, []
    for eqn in reversed(jaxpr.eqns):
        if any(var in needed for var in eqn.outvars):
            needed.update(variables(eqn.invars))
            kept.append(eqn)
    if any(var not in makers for var in needed):
        return None
    return _compat.closed_jaxpr([], [index], kept[::-1], like=jaxpr)


def _symbols(jaxpr: Any) -> frozenset[str]:
    params = [p for eqn in equations(jaxpr) for p in eqn.params.values()]
    found = [dims.symbols_of(dims.from_jax(p)) for p in params if _compat.is_symbolic(p)]
    return frozenset().union(*found)


def _changes(jaxpr: Any, count: int, region: Region, name: str) -> list[int]:
    """The sizes of a symbol after which the branch changes; none unless it is always decided."""
    left = _MOST_ANALYSES

    def branch(low: int, high: int) -> int | None:
        ranges = tuple((n, *((low, high) if n == name else ends)) for n, *ends in region.ranges)
        part = dataclasses.replace(region, ranges=ranges)
        alive = _reached(rdp.analyse(jaxpr, part), jaxpr.outvars[0], count)
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
