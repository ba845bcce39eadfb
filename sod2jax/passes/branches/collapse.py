"""Collapse of control flow: fewer conds, smaller ones, and none where a select is cheaper.

In every jaxpr of a program, from the outside in: calls around conds are opened, conds of one index
become one (``merge``), what one branch alone needs moves into it (``sink``). Then, from the inside
out: a cond whose branches cost less than it does itself becomes a select (``select``). Large ones
stay, so that memory is that of the largest branch and time that of the branch taken.
"""

from __future__ import annotations

from typing import Any

from sod2jax import _compat, rdp
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.cost import Counter
from sod2jax.ir.program import Program
from sod2jax.passes.branches import merge, select, sink
from sod2jax.passes.branches.deciding_sizes import Sizes
from sod2jax.passes.branches.early import early_predicates
from sod2jax.passes.branches.surgery import (
    Copier,
    has_cond,
    is_cond,
    opened,
    pruned,
    with_bodies,
    with_jaxpr,
)
from sod2jax.passes.remark import Remark


def collapse(program: Program, facts: rdp.Facts) -> tuple[Program, tuple[Remark, ...]]:
    """The pass. Conds that buckets decide by their sizes are left to them."""
    return _run(program, facts, late=Sizes(program, facts))


def collapse_in_bucket(program: Program, facts: rdp.Facts) -> tuple[Program, tuple[Remark, ...]]:
    """The pass for one bucket, where what sizes can decide is decided."""
    return _run(program, facts, late=None)


def _run(
    program: Program, facts: rdp.Facts, late: Sizes | None
) -> tuple[Program, tuple[Remark, ...]]:
    if not has_cond(program.jaxpr):
        return program, ()
    work = _Collapse(facts, late)
    jaxpr = work.jaxpr(program.jaxpr)
    changes = (*work.changes, *early_predicates(jaxpr, Counter(facts.value_range), facts.region))
    return with_jaxpr(program, jaxpr) if jaxpr is not program.jaxpr else program, changes


class _Collapse:
    """Collapses the jaxprs of one program; each once, however often it is called."""

    def __init__(self, facts: rdp.Facts, late: Sizes | None):
        self.changes: list[Remark] = []
        self._copier = Copier()
        self._late, self._area = late, facts.region
        self._counter = Counter(lambda atom: facts.value_range(self._copier.original(atom)))
        self._done: dict[int, tuple[Any, Any]] = {}

    def jaxpr(self, jaxpr: Jaxpr) -> Any:
        """The collapsed jaxpr; the same one if nothing changed."""
        if id(jaxpr) not in self._done:
            self._done[id(jaxpr)] = (jaxpr, self._collapsed(jaxpr) if has_cond(jaxpr) else jaxpr)
        return self._done[id(jaxpr)][1]

    def _collapsed(self, jaxpr: Jaxpr) -> Any:
        eqns, outputs = opened(jaxpr.eqns, jaxpr.outvars, self._copier)
        eqns, changes = merge.merged(eqns, outputs, self._copier)
        self.changes += changes
        eqns, changes = sink.sunk(eqns, outputs, self._copier, self._counter, self._area)
        self.changes += changes
        eqns = [with_bodies(eqn, self.jaxpr) for eqn in eqns]
        judged = {eqn.outvars[0]: self._judged(eqn) for eqn in eqns if is_cond(eqn) and eqn.outvars}
        eqns, outputs, changes = select.with_selects(eqns, outputs, judged, self._copier)
        self.changes += changes
        same = [a is b for a, b in zip(eqns, jaxpr.eqns, strict=False)]
        if all(same) and len(eqns) == len(jaxpr.eqns):
            return jaxpr
        return _compat.with_equations(jaxpr, pruned(eqns, outputs), outputs)

    def _judged(self, eqn: JaxprEqn) -> select.Judgement:
        index = self._copier.original(eqn.invars[0])
        if self._late is not None and index in self._late.indices:
            edges = [f"{n}={size}" for n, sizes in self._late.edges.items() for size in sizes]
            changes = f", which changes after {', '.join(edges)}" if edges else ""
            reason = (
                f"sizes alone decide its index{changes}: buckets have one branch where they can"
            )
            return select.Judgement(False, reason)
        return select.judge(eqn, self._counter, self._area)
