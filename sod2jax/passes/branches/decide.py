"""Conds that sizes decide: over the whole region in a pass, else bucket by bucket.

Rank and Dimension Propagation knows the integers that are computed from sizes. Where it bounds the
index of a cond over the sizes that an executable serves, branches that cannot be taken are left
out before anything is lowered, and a cond of one branch is that branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax import lax

from sod2jax import _compat, rdp
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.ir.program import Program
from sod2jax.ir.region import bounds
from sod2jax.passes.branches.surgery import (
    Copier,
    has_cond,
    is_cond,
    literal,
    read,
    replaced_in_turn,
    with_bodies,
    with_jaxpr,
)
from sod2jax.passes.remark import Remark


def decide(program: Program, facts: rdp.Facts) -> tuple[Program, tuple[Remark, ...]]:
    """The pass: leaves out the branches that no size of the program's region takes."""
    if not has_cond(program.jaxpr):
        return program, ()
    work = _Decide(facts)
    jaxpr = work.jaxpr(program.jaxpr)
    return with_jaxpr(program, jaxpr) if work.changes else program, tuple(work.changes)


class _Decide:
    def __init__(self, facts: rdp.Facts):
        self.changes: list[Remark] = []
        self._facts, self._copier = facts, Copier()
        self._done: dict[int, tuple[Any, Any]] = {}

    def jaxpr(self, jaxpr: Jaxpr) -> Any:
        if id(jaxpr) not in self._done:
            self._done[id(jaxpr)] = (jaxpr, self._decided(jaxpr) if has_cond(jaxpr) else jaxpr)
        return self._done[id(jaxpr)][1]

    def _decided(self, jaxpr: Jaxpr) -> Any:
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


def _alive(eqn: JaxprEqn, facts: rdp.Facts) -> range | None:
    """The branches that a cond may take, if that is not all of them."""
    count = len(eqn.params["branches"])
    alive = reached(facts, eqn.invars[0], count)
    return alive if 0 < len(alive) < count else None


def reached(facts: rdp.Facts, index: Any, count: int) -> range:
    """Which of ``count`` branches an index, clamped as a cond does, may take."""
    known = facts.value_range(index)
    if known is None:
        return range(count)
    low, high = bounds(known[0], facts.region).low, bounds(known[1], facts.region).high
    first = 0 if low is None else min(max(low, 0), count - 1)
    last = count - 1 if high is None else min(max(high, 0), count - 1)
    return range(first, last + 1)


def _change(eqn: JaxprEqn, alive: range) -> Remark:
    count = len(eqn.params["branches"])
    left = f"branch {alive[0]}" if len(alive) == 1 else f"branches {alive[0]} to {alive[-1]}"
    return Remark(
        f"left {count - len(alive)} of {count} branches of a cond out",
        _compat.source_line(eqn),
        f"the sizes take {left} only",
    )


def _narrowed(eqn: JaxprEqn, first: int, branches: Sequence[Any]) -> list[Any]:
    """The cond with some of its branches, next to each other."""
    new, index = [], eqn.invars[0]
    if first:
        shifted = _compat.new_variable(index.aval)
        operands = [index, literal(first, index)]
        new.append(_compat.new_equation(lax.sub_p, operands, [shifted], {}, like=eqn))
        index = shifted
    params = {**eqn.params, "branches": tuple(branches)}
    return [*new, eqn.replace(invars=[index, *eqn.invars[1:]], params=params)]
