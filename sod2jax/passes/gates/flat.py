"""Makes what a select chooses between visible: small calls inlined, selects of equals left out."""

from __future__ import annotations

from collections.abc import Sequence

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import read
from sod2jax.ir.surgery import PLAIN_CALLS, Copier, inlined, pruned, replaced_in_turn
from sod2jax.ir.vocabulary import COPIES
from sod2jax.passes.gates.work import is_heavy

# What a call may consist of to be worth inlining for its select alone, as `jnp.where` does.
_WHERE = frozenset("broadcast_in_dim convert_element_type reshape select_n squeeze".split())


def flat(jaxpr: Jaxpr) -> tuple[list[JaxprEqn], list[Atom]]:
    """Equations without the calls around selects and heavy work, and without needless selects.

    A batched ``cond`` selects its operands between themselves and what JAX's ``stop_gradient``
    makes of them: they are equal, and derivatives have been taken already.

    Returns:
      The equations, and the atoms that the outputs are.
    """
    opened = inlined(jaxpr, _is_inlined, Copier())
    return _without_needless_selects(opened.eqns, opened.outvars)


def _is_inlined(eqn: JaxprEqn) -> bool:
    if eqn.primitive.name not in PLAIN_CALLS or eqn.effects:
        return False
    ((_, body),) = _compat.sub_jaxprs(eqn)
    names = {inner.primitive.name for inner in body.eqns}
    is_where = "select_n" in names and names <= _WHERE
    return not body.constvars and (is_where or any(map(is_heavy, body.eqns)))


def _without_needless_selects(
    eqns: Sequence[JaxprEqn], outvars: Sequence[Atom]
) -> tuple[list[JaxprEqn], list[Atom]]:
    kept: list[JaxprEqn] = []
    chosen: dict[Var, Atom] = {}  # what stands for the results of selects
    sources: dict[Var, Atom] = {}  # what copies are equal to
    for eqn in replaced_in_turn(eqns, chosen):
        if eqn.primitive.name in COPIES:
            sources[eqn.outvars[0]] = read(sources, eqn.invars[0])
        if _chooses_among_equals(eqn, sources):
            chosen[eqn.outvars[0]] = read(sources, eqn.invars[1])
        else:
            kept.append(eqn)
    outputs = [read(chosen, atom) for atom in outvars]
    return pruned(kept, outputs), outputs


def _chooses_among_equals(eqn: JaxprEqn, sources: dict[Var, Atom]) -> bool:
    if eqn.primitive.name != "select_n" or any(map(_compat.is_literal, eqn.invars)):
        return False
    return len({read(sources, case) for case in eqn.invars[1:]}) == 1
