"""Conds: which equations are, where they are, and how they are built again."""

from __future__ import annotations

from collections.abc import Sequence

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import equations, read, used_in, variables
from sod2jax.ir.surgery import pruned, replaced

Branch = tuple[list[JaxprEqn], list[Atom]]
"""Equations and outputs, over the operands of the cond."""


def is_cond(eqn: JaxprEqn) -> bool:
    """Whether an equation is a conditional whose index is computed at run time."""
    return eqn.primitive.name == "cond" and eqn.params.get("branches_platforms") is None


def has_cond(jaxpr: Jaxpr) -> bool:
    """Whether there is a conditional anywhere in a jaxpr."""
    return any(map(is_cond, equations(jaxpr)))


def positions(eqns: Sequence[JaxprEqn]) -> list[int]:
    """Positions of the conds among some equations."""
    return [k for k, eqn in enumerate(eqns) if is_cond(eqn)]


def is_plain(eqn: JaxprEqn) -> bool:
    """Whether a conditional may be rebuilt: no effects, and no constants in its branches."""
    return not eqn.effects and not any(branch.constvars for branch in eqn.params["branches"])


def is_around_cond(eqn: JaxprEqn) -> bool:
    """Whether an equation is a ``jit`` call, without constants, that has a cond directly inside."""
    if eqn.primitive.name != "jit" or eqn.params["jaxpr"].constvars:
        return False
    return any(is_cond(inner) or is_around_cond(inner) for inner in eqn.params["jaxpr"].eqns)


def cond_of(
    index: Atom,
    operands: Sequence[Atom],
    branches: Sequence[Branch],
    outvars: Sequence[Var],
    like: JaxprEqn,
) -> JaxprEqn:
    """A cond whose branches are given by equations that use the operands directly.

    Operands that no branch uses, and equations that no output needs, are left out. It has the names
    that ``like`` and all equations share, so that these keep theirs inside.
    """
    branches = [(pruned(eqns, outs), outs) for eqns, outs in branches]
    scope = _compat.common_scope([like, *(eqn for eqns, _ in branches for eqn in eqns)])
    used = {var for eqns, outs in branches for var in used_in(eqns, outs)}
    kept = [var for var in dict.fromkeys(variables(operands)) if var in used]
    template = like.params["branches"][0]
    jaxprs = []
    for eqns, outs in branches:
        env = {var: _compat.new_variable(var.aval) for var in kept}
        body = [_compat.inside(eqn, scope) for eqn in replaced(eqns, env)]
        ends = [read(env, atom) for atom in outs]
        jaxprs.append(_compat.closed_jaxpr(list(env.values()), ends, body, like=template))
    params = {**like.params, "branches": tuple(jaxprs)}
    cond = _compat.new_equation(like.primitive, [index, *kept], outvars, params, like=like)
    return _compat.with_scope(cond, scope)
