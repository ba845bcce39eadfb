"""Collectives over an axis that ``vmap`` has named: reductions over a positional axis.

``vmap`` gives ``psum`` the position of its axis in place of the name. Names that are left belong to
a mesh.
"""

from __future__ import annotations

from typing import Any

import jax
from jax import lax

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.ir import surgery
from sod2jax.ir.program import Program

_REDUCERS: dict[str, Any] = {
    "psum": lax.reduce_sum,
    "pmax": lax.reduce_max,
    "pmin": lax.reduce_min,
}


def reduced(program: Program) -> Program:
    """The program with reductions in place of collectives over positions."""
    jaxpr = _reduced(program.jaxpr)
    return program if jaxpr is program.jaxpr else program.with_jaxpr(jaxpr)


def _reduced(jaxpr: Jaxpr) -> Jaxpr:
    return surgery.mapped(jaxpr, lambda eqn: _reduction(surgery.with_bodies(eqn, _reduced)))


def _reduction(eqn: JaxprEqn) -> JaxprEqn:
    """An equation with another primitive, if it is such a collective."""
    reducer, axes = _REDUCERS.get(eqn.primitive.name), eqn.params.get("axes")
    if reducer is None or not all(isinstance(axis, int) for axis in axes):
        return eqn
    if not axes:
        return _compat.new_equation(lax.copy_p, eqn.invars, eqn.outvars, {}, like=eqn)
    (aval,) = [atom.aval for atom in eqn.invars]
    like = jax.ShapeDtypeStruct((1,) * len(aval.shape), aval.dtype)
    (made,) = jax.make_jaxpr(lambda x: reducer(x, axes))(like).eqns
    return _compat.new_equation(made.primitive, eqn.invars, eqn.outvars, made.params, like=eqn)
