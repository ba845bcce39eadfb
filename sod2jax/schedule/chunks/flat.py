"""A jaxpr as one list of equations: calls inlined, each value computed once, nothing unread."""

from __future__ import annotations

from collections.abc import Hashable

from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import read
from sod2jax.ir.surgery import PLAIN_CALLS, Copier, inlined, pruned, replaced_in_turn
from sod2jax.passes.branches.value_numbering import Numbering
from sod2jax.schedule.chunks.splits import split_products


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
    return split_products(pruned(eqns, outputs), outputs), outputs
