"""Collapse of control flow: fewer conds, smaller ones, and none where a select is cheaper.

In every jaxpr of a program, from the outside in: calls around conds are opened, conds of one index
become one (``merge``), what one branch alone needs moves into it (``sink``). Then, from the inside
out: a cond whose branches cost less than it does itself becomes a select (``select``). Large ones
stay, so that memory is that of the largest branch and time that of the branch taken.
"""

from __future__ import annotations

from sod2jax import _compat, rdp
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.cost import Counter
from sod2jax.ir.program import Program
from sod2jax.ir.surgery import Copier, inlined, pruned, with_bodies
from sod2jax.passes.branches import merge, select, sink
from sod2jax.passes.branches.conds import has_cond, is_around_cond, is_cond
from sod2jax.passes.branches.deciding_sizes import DecidingSizes
from sod2jax.passes.branches.early import early_predicates
from sod2jax.passes.remark import Remark
from sod2jax.target import Target


def collapse(
    program: Program, facts: rdp.Facts, target: Target
) -> tuple[Program, tuple[Remark, ...]]:
    """The pass. Conds that buckets decide by their sizes are left to them."""
    return _run(program, facts, target, left_to_buckets=DecidingSizes(program, facts))


def collapse_in_bucket(
    program: Program, facts: rdp.Facts, target: Target
) -> tuple[Program, tuple[Remark, ...]]:
    """The pass for one bucket, where what sizes can decide is decided."""
    return _run(program, facts, target, left_to_buckets=None)


def _run(
    program: Program, facts: rdp.Facts, target: Target, left_to_buckets: DecidingSizes | None
) -> tuple[Program, tuple[Remark, ...]]:
    if not has_cond(program.jaxpr):
        return program, ()
    work = _Collapse(facts, target, left_to_buckets)
    jaxpr = work.jaxpr(program.jaxpr)
    remarks = (*work.remarks, *early_predicates(jaxpr))
    return program.with_jaxpr(jaxpr) if jaxpr is not program.jaxpr else program, remarks


class _Collapse:
    """Collapses the jaxprs of one program; each once, however often it is called."""

    def __init__(self, facts: rdp.Facts, target: Target, left_to_buckets: DecidingSizes | None):
        self.remarks: list[Remark] = []
        self._copier = Copier()
        self._left_to_buckets, self._region = left_to_buckets, facts.region
        self._target = target
        self._counter = Counter(lambda atom: facts.value_range(self._copier.original(atom)))
        self._done: dict[int, tuple[Jaxpr, Jaxpr]] = {}

    def jaxpr(self, jaxpr: Jaxpr) -> Jaxpr:
        """The collapsed jaxpr; the same one if nothing changed."""
        if id(jaxpr) not in self._done:
            self._done[id(jaxpr)] = (jaxpr, self._collapsed(jaxpr) if has_cond(jaxpr) else jaxpr)
        return self._done[id(jaxpr)][1]

    def _collapsed(self, jaxpr: Jaxpr) -> Jaxpr:
        opened = inlined(jaxpr, is_around_cond, self._copier)
        outputs = opened.outvars
        eqns, remarks = merge.merged(opened.eqns, outputs, self._copier)
        self.remarks += remarks
        eqns, remarks = sink.sunk(
            eqns, outputs, self._copier, self._counter, self._region, self._target
        )
        self.remarks += remarks
        eqns = [with_bodies(eqn, self.jaxpr) for eqn in eqns]
        judged = {eqn.outvars[0]: self._judged(eqn) for eqn in eqns if is_cond(eqn) and eqn.outvars}
        eqns, outputs, remarks = select.with_selects(eqns, outputs, judged, self._copier)
        self.remarks += remarks
        same = [a is b for a, b in zip(eqns, jaxpr.eqns, strict=False)]
        if all(same) and len(eqns) == len(jaxpr.eqns):
            return jaxpr
        return _compat.with_equations(jaxpr, pruned(eqns, outputs), outputs)

    def _judged(self, eqn: JaxprEqn) -> select.Judgement:
        index = self._copier.original(eqn.invars[0])
        sizes = self._left_to_buckets
        if sizes is None or index not in sizes.indices:
            return select.judge(eqn, self._counter, self._region, self._target)
        edges = [f"{name}={size}" for name, ends in sizes.edges.items() for size in ends]
        where = f", which changes after {', '.join(edges)}" if edges else ""
        reason = f"sizes alone decide its index{where}: buckets have one branch where they can"
        return select.Judgement(False, reason)
