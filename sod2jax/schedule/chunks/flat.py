"""A jaxpr as one list of equations: calls inlined, each value computed once, nothing unread."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import read, variables
from sod2jax.ir.surgery import PLAIN_CALLS, Copier, inlined, pruned, replaced, replaced_in_turn
from sod2jax.passes.branches.value_numbering import Numbering
from sod2jax.schedule.chunks.splits import as_slices, split_products


def flat(jaxpr: Jaxpr) -> tuple[list[JaxprEqn], list[Atom]]:
    """The equations of a jaxpr, and the atoms that its outputs are.

    Autodiff computes some values twice: each would be kept, or computed again, for itself.
    """
    opened = inlined(jaxpr, lambda eqn: eqn.primitive.name in PLAIN_CALLS, Copier())
    numbering = Numbering(opened.eqns)
    first: dict[Hashable, Var] = {}
    same: dict[Var, Var] = {}
    eqns = []
    for eqn in replaced_in_turn(opened.eqns, same):
        numbers = [numbering.of(var) for var in eqn.outvars]
        if not eqn.effects and all(number in first for number in numbers):
            same.update((v, first[n]) for v, n in zip(eqn.outvars, numbers, strict=True))
            continue
        first.update(zip(numbers, eqn.outvars, strict=True))
        eqns.append(eqn)
    outputs = [read(same, atom) for atom in opened.outvars]
    kept = pruned(as_slices(pruned(eqns, outputs)), outputs)
    return _own_broadcasts(split_products(kept, outputs)), outputs


def _own_broadcasts(eqns: Sequence[JaxprEqn]) -> list[JaxprEqn]:
    """The equations with a broadcast for each that reads it: none is kept, or computed, for others.

    Outputs are read from the first one.
    """
    makers = {e.outvars[0]: e for e in eqns if e.primitive.name == "broadcast_in_dim"}
    taken: set[Var] = set()
    new = []
    for eqn in eqns:
        env: dict[Var, Atom] = {}
        for var in dict.fromkeys(variables(eqn.invars)):
            maker = makers.get(var)
            if maker is None or var not in taken:
                taken.add(var)
                continue
            copy = _compat.new_variable(var.aval)
            new.append(maker.replace(outvars=[copy]))
            env[var] = copy
        new += replaced([eqn], env)
    return new
