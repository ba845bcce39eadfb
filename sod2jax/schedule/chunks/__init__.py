"""Large values a few rows at a time: an acting memory plan.

Values that are too large to be kept, as the scores of attention or all pairs of points, are
computed in a loop over blocks of rows, together with what is made of them; what of them the loop
does not need again is never in memory as a whole. No rule here knows attention, or any model.
"""

from __future__ import annotations

from collections.abc import Sequence

from jax import lax

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import read, variables
from sod2jax.ir.surgery import PLAIN_CALLS, Copier, mapped, replaced, with_bodies
from sod2jax.memory.flatten import total_bytes
from sod2jax.passes.remark import Remark
from sod2jax.schedule.chunks.blocks import Sizes, block_of
from sod2jax.schedule.chunks.emit import Refused, Stop, body_of, emitted, initial
from sod2jax.schedule.chunks.flat import flat
from sod2jax.schedule.chunks.islands import Islands, fat_values
from sod2jax.schedule.chunks.labels import Labelled, labelled
from sod2jax.schedule.chunks.loops import Loop, Part, Plain, parts, peak_bytes
from sod2jax.schedule.chunks.rules import Rules
from sod2jax.schedule.chunks.tails import NO_SIZES, TrueSizes, stopping, true_sizes

__all__ = ["NO_SIZES", "Sizes", "TrueSizes", "chunked"]

_PASSES = 4  # each decides for one number of rows


def chunked(
    jaxpr: Jaxpr, sizes: Sizes, true: TrueSizes = NO_SIZES
) -> tuple[Jaxpr, tuple[Remark, ...]]:
    """A static program with loops over rows, in bodies, too; and which they are.

    It is the same object if there are none.

    Args:
      jaxpr: the program.
      sizes: which loops are made.
      true: what is known of its true sizes: loops stop there where nobody sees what is behind.
    """
    remarks: list[Remark] = []
    if total_bytes(jaxpr) < sizes.least:
        return jaxpr, ()
    return _chunked(jaxpr, sizes, true, remarks), tuple(remarks)


def _chunked(jaxpr: Jaxpr, sizes: Sizes, true: TrueSizes, remarks: list[Remark]) -> Jaxpr:
    def in_bodies(eqn: JaxprEqn) -> JaxprEqn:
        if eqn.primitive.name in PLAIN_CALLS:  # inlined with what is around it
            return with_bodies(eqn, lambda body: mapped(body, in_bodies))
        return with_bodies(eqn, lambda body: _chunked(body, sizes, NO_SIZES, remarks))

    jaxpr = mapped(jaxpr, in_bodies)
    if jaxpr.constvars or any(eqn.effects for eqn in jaxpr.eqns):
        return jaxpr  # what has effects keeps its order
    for _ in range(_PASSES):
        new = _Pass(jaxpr, sizes, true, remarks).result()
        if new is None:
            break
        jaxpr = new
    return jaxpr


class _Pass:
    """Loops over rows of one number."""

    def __init__(self, jaxpr: Jaxpr, sizes: Sizes, true: TrueSizes, remarks: list[Remark]):
        self._jaxpr, self._sizes, self._true, self._remarks = jaxpr, sizes, true, remarks

    def result(self) -> Jaxpr | None:
        """The jaxpr with loops; None if none pays."""
        eqns, outputs = flat(self._jaxpr)
        values = {var for eqn in eqns for var in eqn.outvars}
        peak = peak_bytes(eqns, values)
        if peak < self._sizes.least:
            return None
        fat = fat_values(eqns, outputs, self._sizes.fat, peak)
        rules = Rules()
        while True:
            choice = Islands(eqns, fat, rules).best()
            if choice is None:
                return None
            program = labelled(eqns, choice.rows, choice.labels, fat, rules, self._sizes.fat // 16)
            found = parts(program, outputs, fat, self._sizes.least)
            if not any(isinstance(part, Loop) for part in found):
                return None
            try:
                return self._emitted(program, found, outputs, rules)
            except Refused as refused:
                rules.refuse(refused.eqn)

    def _emitted(
        self, program: Labelled, found: Sequence[Part], outputs: Sequence[Atom], rules: Rules
    ) -> Jaxpr:
        scalars = true_sizes(program.eqns, self._jaxpr, len(self._true.bucket))
        stops = stopping(program, outputs, rules, self._true, scalars)
        copier, env, new = Copier(), dict[Var, Atom](), list[JaxprEqn]()
        remarks = []
        lasts = _last_reads(found, outputs)
        alive: dict[Var, None] = {}
        for k, part in enumerate(found):
            if isinstance(part, Plain):
                new += replaced(part.eqns, env)
                alive |= dict.fromkeys(v for eqn in part.eqns for v in eqn.outvars)
                continue
            block = block_of(program, part, self._sizes)
            body = body_of(program, part, block, self._jaxpr)
            left = program.rows % block
            rest = body_of(program, part, left, self._jaxpr) if left else None
            dying = {var for var, _ in body.rows if lasts[var] == k and var in alive}
            dying -= {var for var, _ in body.wholes}
            spare = [v for v in alive if lasts.get(v, -1) < k]
            ends = ((scalar, tails.left(part)) for scalar, tails in stops)
            stop = next((Stop(at, left) for at, left in ends if left is not None), None)
            starts = initial(body, dying, spare, stop)
            eqns, outs = emitted(program.rows, block, body, rest, starts, stop, copier)
            alive = {var: None for var in alive if var not in starts}  # their memory is taken
            made = [*part.outputs, *(eqn.outvars[0] for eqn in part.sums)]
            new += replaced(eqns, env)
            env.update(zip(made, outs, strict=True))
            alive |= dict.fromkeys(made)
            remarks.append(_remark(program, part, block, stop))
        self._remarks += remarks
        results = [read(env, atom) for atom in outputs]
        pairs = zip(self._jaxpr.outvars, results, strict=True)
        return _compat.with_equations(self._jaxpr, new, [_typed(*pair, new) for pair in pairs])


def _last_reads(found: Sequence[Part], outputs: Sequence[Atom]) -> dict[Var, int]:
    """Of each value, the last part that reads it."""
    last = {
        var: k for k, part in enumerate(found) for eqn in part.eqns for var in variables(eqn.invars)
    }
    return last | dict.fromkeys(variables(outputs), len(found))


def _typed(before: Atom, after: Atom, eqns: list[JaxprEqn]) -> Atom:
    """A result as weakly typed as it was; adds the equation that makes it so."""
    is_weak = before.aval.weak_type
    if _compat.is_literal(after) or after.aval.weak_type == is_weak:
        return after
    var = _compat.new_variable(after.aval.update(weak_type=is_weak))
    params = {"new_dtype": after.aval.dtype, "weak_type": is_weak, "sharding": None}
    eqns.append(_compat.new_equation(lax.convert_element_type_p, [after], [var], params, eqns[-1]))
    return var


def _remark(program: Labelled, loop: Loop, block: int, stop: Stop | None) -> Remark:
    until = "" if stop is None else ", up to the true size"
    return Remark(
        f"runs {len(loop.eqns)} equations for {block} of {program.rows} rows at a time{until}",
        _compat.source_line(*loop.eqns),
        "their values need not be in memory for all rows at once",
    )
