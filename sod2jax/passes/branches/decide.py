"""Conds that sizes decide: over the whole region in a pass, else bucket by bucket.

Rank and Dimension Propagation knows the integers that are computed from sizes. Where it bounds the
index of a cond over the sizes that an executable serves, branches that cannot be taken are left
out before anything is lowered, and a cond of one branch is that branch.
"""

from __future__ import annotations

from collections.abc import Sequence

from jax import lax

from sod2jax import _compat, rdp
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import read
from sod2jax.ir.program import Program
from sod2jax.ir.region import bounds
from sod2jax.ir.surgery import Copier, replaced_in_turn, with_bodies
from sod2jax.passes.branches.conds import has_cond, is_cond
from sod2jax.passes.remark import Remark
from sod2jax.target import Target


def decide(
    program: Program, facts: rdp.Facts, target: Target
) -> tuple[Program, tuple[Remark, ...]]:
    """The pass: leaves out the branches that no size of the program's region takes."""
    del target
    if not has_cond(program.jaxpr):
        return program, ()
    work = _Decide(facts)
    jaxpr = work.jaxpr(program.jaxpr)
    return program.with_jaxpr(jaxpr) if work.remarks else program, tuple(work.remarks)


class _Decide:
    def __init__(self, facts: rdp.Facts):
        self.remarks: list[Remark] = []
        self._facts, self._copier = facts, Copier()
        self._done: dict[int, tuple[Jaxpr, Jaxpr]] = {}

    def jaxpr(self, jaxpr: Jaxpr) -> Jaxpr:
        if id(jaxpr) not in self._done:
            self._done[id(jaxpr)] = (jaxpr, self._decided(jaxpr) if has_cond(jaxpr) else jaxpr)
        return self._done[id(jaxpr)][1]

    def _decided(self, jaxpr: Jaxpr) -> Jaxpr:
        new: list[JaxprEqn] = []
        env: dict[Var, Atom] = {}
        for eqn in replaced_in_turn(jaxpr.eqns, env):
            alive = _alive(eqn, self._facts) if is_cond(eqn) else None
            if alive is None:
                new.append(with_bodies(eqn, self.jaxpr))
                continue
            self.remarks.append(_remark(eqn, alive))
            branches = [self.jaxpr(eqn.params["branches"][k]) for k in alive]
            if len(branches) > 1:
                new += _narrowed(eqn, alive.start, branches)
                continue
            body, outs = self._inlined(branches[0], eqn)
            new += body
            env.update(zip(eqn.outvars, outs, strict=True))
        return _compat.with_equations(jaxpr, new, [read(env, v) for v in jaxpr.outvars])

    def _inlined(self, branch: Jaxpr, cond: JaxprEqn) -> tuple[list[JaxprEqn], list[Atom]]:
        """A branch in place of its cond; a call where it has constants, which need a jaxpr."""
        if not branch.constvars:
            return self._copier.body(branch, cond.invars[1:], cond)
        outs = list(map(self._copier.fresh, branch.outvars))
        return [_compat.call_equation(branch, cond.invars[1:], outs, like=cond)], outs


def _alive(eqn: JaxprEqn, facts: rdp.Facts) -> range | None:
    """The branches that a cond may take, if that is not all of them."""
    count = len(eqn.params["branches"])
    alive = reached(facts, eqn.invars[0], count)
    return alive if 0 < len(alive) < count else None


def reached(facts: rdp.Facts, index: Atom, count: int) -> range:
    """Which of ``count`` branches an index, clamped as a cond does, may take."""
    ends = facts.value_range(index)
    if ends is None:
        return range(count)
    low, high = bounds(ends[0], facts.region).low, bounds(ends[1], facts.region).high
    first = 0 if low is None else min(max(low, 0), count - 1)
    last = count - 1 if high is None else min(max(high, 0), count - 1)
    return range(first, last + 1)


def _remark(eqn: JaxprEqn, alive: range) -> Remark:
    count = len(eqn.params["branches"])
    left = f"branch {alive[0]}" if len(alive) == 1 else f"branches {alive[0]} to {alive[-1]}"
    return Remark(
        f"left {count - len(alive)} of {count} branches of a cond out",
        _compat.source_line(eqn),
        f"the sizes take {left} only",
    )


def _narrowed(eqn: JaxprEqn, first: int, branches: Sequence[Jaxpr]) -> list[JaxprEqn]:
    """The cond with some of its branches, next to each other."""
    new, index = [], eqn.invars[0]
    if first:
        shifted = _compat.new_variable(index.aval)
        operands = [index, _compat.new_literal(first, index.aval)]
        new.append(_compat.new_equation(lax.sub_p, operands, [shifted], {}, like=eqn))
        index = shifted
    params = {**eqn.params, "branches": tuple(branches)}
    return [*new, eqn.replace(invars=[index, *eqn.invars[1:]], params=params)]
