"""Batched gates: what only some rows need runs only for them.

``select(gate[b], f(x), x)`` and a ``cond`` under ``vmap`` compute ``f`` for every row and throw
the rest away. Where only the select needs it, and no row of it needs another row, ``f`` becomes the
body of a ``gated_rows`` equation, which runs it for the rows whose gate is on: their results are
the same, and the others' were never seen. Gates inside a body come in turn: rows that left a
network early pay for no later stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jax import lax

from sod2jax import _compat, rdp
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Scope, Var
from sod2jax.ir.jaxprs import dims_of, equations
from sod2jax.ir.primitives import gated_rows_p
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region, upper
from sod2jax.ir.surgery import ordered, pruned, with_bodies
from sod2jax.passes.gates.flat import flat
from sod2jax.passes.gates.groups import Group, last_group
from sod2jax.passes.gates.predicates import gate_of
from sod2jax.passes.gates.slices import NOT_REACHED, READ_WHOLE, Slice, Uses, slice_of
from sod2jax.passes.gates.work import Work, is_heavy, work_of
from sod2jax.passes.remark import Remark
from sod2jax.rows.narrow import aval_of, equation_of_block
from sod2jax.rows.needs import operand_needs
from sod2jax.rows.reads import Mixed, Need, Row
from sod2jax.target import Target

# A block's work must be worth the loop around it, some microseconds.
_LEAST_FLOPS = 1e5
# A body reads its weights once for each block: with fewer flops for each, it would wait for them,
# and be slower than all rows at once where most gates are on.
_FLOPS_PER_WEIGHT = 64.0
_MOST_ROWS = 8  # of a block, where one row does too little with its weights
_BLOCK_OF_GPU = 8  # fills more of a device than one row does


def compact_gates(
    program: Program, facts: rdp.Facts, target: Target
) -> tuple[Program, tuple[Remark, ...]]:
    """The pass: runs gated parts for the rows that need them, where one device has all rows."""
    del facts
    if target.spread > 1:
        return program, ()
    remarks: list[Remark] = []
    usual = program.region.below(target.usual_sizes(program.region))
    scope = _Scope(usual, target, program.jaxpr, remarks, None)
    jaxpr = scope.compacted(program.jaxpr)
    return program if jaxpr is program.jaxpr else program.with_jaxpr(jaxpr), tuple(remarks)


@dataclasses.dataclass(frozen=True)
class _Scope:
    """What is the same in all jaxprs of a program.

    Attributes:
      usual: the sizes of the program, all bounded: work is counted at the largest.
      target: what is compiled for.
      like: a closed jaxpr, for debugging names.
      remarks: gets what was decided.
      block: how many rows the body around has; None outside of bodies.
    """

    usual: Region
    target: Target
    like: Jaxpr
    remarks: list[Remark]
    block: int | None

    def compacted(self, jaxpr: Jaxpr) -> Jaxpr:
        """A jaxpr, open or closed, with gated rows in it and in its sub-jaxprs; itself if none."""
        if not _has_select(jaxpr) or not any(map(is_heavy, jaxpr.eqns)):
            return jaxpr
        eqns, outvars = flat(jaxpr)
        compacted = self._with_gated_rows(eqns, outvars)
        inside = [with_bodies(eqn, self.compacted) for eqn in compacted]
        if compacted is eqns and all(a is b for a, b in zip(eqns, inside, strict=True)):
            return jaxpr
        return _compat.with_equations(jaxpr, inside, outvars)

    def _with_gated_rows(self, eqns: list[JaxprEqn], outvars: Sequence[Atom]) -> list[JaxprEqn]:
        """The equations with gated rows in place of selects, the outermost (last) ones first.

        The list itself if none pays.
        """
        makers = {var: eqn for eqn in eqns for var in eqn.outvars}
        selects = [eqn for eqn in eqns if eqn.primitive.name == "select_n"]
        left = [(eqn, gate) for eqn in selects if (gate := gate_of(eqn, makers)) is not None]
        while left:
            group, left = last_group(left, makers)
            replaced = self._replaced(group, eqns, outvars)
            if replaced is None:
                continue
            eqns = pruned(ordered(replaced), outvars)
            makers = {var: eqn for eqn in eqns for var in eqn.outvars}
            left = [(eqn, gate) for eqn, gate in left if eqn.outvars[0] in makers]
        return eqns

    def _replaced(
        self, group: Group, eqns: Sequence[JaxprEqn], outvars: Sequence[Atom]
    ) -> list[JaxprEqn] | None:
        """The equations with a group as one ``gated_rows``; None where that does not pay."""
        uses = Uses(eqns, outvars)
        owned = {k: uses.owned(group, k) for k in range(group.count)}
        if not any(is_heavy(eqn) for own in owned.values() for eqn in own):
            return None
        slices = {k: slice_of(group, k, eqns, uses) for k in owned}
        work = {k: work_of(part.eqns, self.usual) for k, part in slices.items()}
        count = upper(group.rows, self.usual)
        blocks = {k: self._block(done, count) for k, done in work.items()}
        heavy = [k for k, block in blocks.items() if block is not None]
        source = _compat.source_line(*group.selects)
        if not heavy:
            self._explain(group, slices, work, source)
            return None
        block = max(blocks[k] or 1 for k in heavy)
        try:
            new = self._region(group, {k: slices[k] for k in heavy}, block)
        except Mixed as error:
            self._tell(group, "left a select", source, str(error))
            return None
        for k in heavy:
            each = work[k].flops / count
            self._tell(
                group,
                "compacted a select",
                source,
                f"case {k} takes {len(slices[k].eqns)} equations and {each:.2g} flops a row, and "
                f"runs for its rows only, {block} at a time",
            )
        gone = {id(select) for select in group.selects}  # what only they read is dead now
        return [*(eqn for eqn in eqns if id(eqn) not in gone), *new]

    def _block(self, work: Work, rows: int) -> int | None:
        """How many rows a body takes at once; None where it is not worth a loop."""
        if not work.flops:
            return None
        each = work.flops / rows
        if self.block is not None:
            block = min(self.block, rows)
            return block if each * block >= _LEAST_FLOPS else None
        on_gpu = self.target.platform != "cpu"
        block = max(1, min(_BLOCK_OF_GPU, rows // 4)) if on_gpu else 1
        while 2 * block <= min(rows // 2, _MOST_ROWS) and not _reuses(block, each, work):
            block *= 2
        pays = each * block >= _LEAST_FLOPS and (rows == 1 or _reuses(block, each, work))
        return block if pays else None

    def _region(self, group: Group, slices: dict[int, Slice], block: int) -> list[JaxprEqn]:
        """The equations that a group becomes."""
        source, gate = group.selects[0], group.gates[0]
        operands = list(dict.fromkeys(o for part in slices.values() for o in part.operands))
        inner = dataclasses.replace(self, block=block)
        scope = _compat.common_scope([source, *(e for part in slices.values() for e in part.eqns)])
        bodies = tuple(
            inner.compacted(self._body(group, k, part, operands, block, scope))
            for k, part in slices.items()
        )
        vector, eqns = gate.vector, []
        if len(dims_of(vector)) > 1:
            vector, eqn = _flattened(vector, gate.vector_axis, source)
            eqns.append(eqn)
        kept = [k for k in range(group.count) if k not in slices]
        initial = []
        for k, select in enumerate(group.selects) if kept else ():
            arrays = [group.case(case)[k] for case in kept]
            if all(array is arrays[0] for array in arrays):
                initial.append(arrays[0])
                continue
            cases = [a if c in kept else arrays[0] for c, a in enumerate(select.invars[1:])]
            var = _compat.new_variable(select.outvars[0].aval)
            eqns.append(
                _compat.new_equation(
                    select.primitive, [select.invars[0], *cases], [var], select.params, select
                )
            )
            initial.append(var)
        params = {
            "bodies": bodies,
            "cases": tuple(slices),
            "axes": tuple(None if row is None else row.axis for _, row in operands),
            "out_axes": group.axes,
            "has_initial": bool(kept),
            "block": block,
        }
        invars = [vector, *initial, *(atom for atom, _ in operands)]
        outvars = [select.outvars[0] for select in group.selects]
        region = _compat.new_equation(gated_rows_p, invars, outvars, params, source)
        return [*eqns, _compat.with_scope(region, scope)]

    def _body(
        self,
        group: Group,
        case: int,
        part: Slice,
        operands: Sequence[tuple[Var, Row | None]],
        block: int,
        scope: Scope,
    ) -> Jaxpr:
        """A case as a closed jaxpr of a block's operands, inside a scope."""
        invars = [_compat.new_variable(aval_of(atom.aval, row, block)) for atom, row in operands]
        outside = dict(zip(operands, invars, strict=True))
        made: dict[Var, Var] = {}

        def read(atom: Atom, need: Need) -> Atom:
            if _compat.is_literal(atom):
                return atom
            row = need if isinstance(need, Row) else None
            return made[atom] if atom in made else outside[atom, row]

        eqns = []
        for eqn in part.eqns:
            outs = [part.needs[var] for var in eqn.outvars]
            needs = operand_needs(eqn, group.rows, outs)
            args = list(map(read, eqn.invars, needs))
            new = equation_of_block(eqn, args, group.rows, block, outs, needs)
            eqns.append(_compat.inside(new, scope))
            made.update(zip(eqn.outvars, eqns[-1].outvars, strict=True))
        outvars = list(map(read, group.case(case), group.reads))
        return _compat.closed_jaxpr(invars, outvars, eqns, self.like)

    def _explain(
        self, group: Group, slices: dict[int, Slice], work: dict[int, Work], source: str
    ) -> None:
        """Tells why a group was left, if there was something to gain."""
        for case, part in slices.items():
            lost = work_of((eqn for eqn, _ in part.refused), self.usual)
            if work[case].flops >= lost.flops > 0 or (work[case].flops and not lost.flops):
                each = work[case].flops / upper(group.rows, self.usual)
                reason = (
                    f"case {case} takes {each:.2g} flops a row with {work[case].weights:.2g} "
                    "weights, too little for a loop over rows"
                )
                self._tell(group, "left a select", source, reason)
            elif lost.flops:
                eqn, why = _blocking(part)
                reason = f"case {case} needs all rows at {_compat.source_line(eqn)}: {why}"
                self._tell(group, "left a select", source, reason)

    def _tell(self, group: Group, what: str, source: str, reason: str) -> None:
        many = f" ({len(group.selects)} results)" if len(group.selects) > 1 else ""
        where = "one row" if group.rows == 1 else f"rows of '{group.rows}'"
        self.remarks.append(Remark(f"{what} by {where}{many}", source, reason))


def _reuses(block: int, each: float, work: Work) -> bool:
    return each * block >= _FLOPS_PER_WEIGHT * work.weights


def _blocking(part: Slice) -> tuple[JaxprEqn, str]:
    """The refused equation that says most about why the ones before it stay outside."""
    mixing = [(eqn, why) for eqn, why in part.refused if why not in (READ_WHOLE, NOT_REACHED)]
    whole = [(eqn, why) for eqn, why in part.refused if why == READ_WHOLE]
    return (mixing[:1] or whole[-1:] or list(part.refused[:1]))[0]


def _has_select(jaxpr: Jaxpr) -> bool:
    return any(eqn.primitive.name == "select_n" for eqn in equations(jaxpr))


def _flattened(vector: Var, axis: int, like: JaxprEqn) -> tuple[Var, JaxprEqn]:
    """A gate as a vector, and the equation that makes it."""
    sizes = (vector.aval.shape[axis],)
    var = _compat.new_variable(vector.aval.update(shape=sizes))
    params = {"new_sizes": sizes, "dimensions": None, "sharding": None}
    return var, _compat.new_equation(lax.reshape_p, [vector], [var], params, like)
