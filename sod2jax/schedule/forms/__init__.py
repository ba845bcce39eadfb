"""Equations in the form that the target's compiler runs fastest, one file for each family.

What a form changes is rounding at most: the order of a sum. Where the compiler does not run an
equation in a slow way, it stays as it is.
"""

from __future__ import annotations

from typing import Any

import jax

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn, Var
from sod2jax.errors import InvariantError
from sod2jax.ir.jaxprs import read
from sod2jax.ir.surgery import PLAIN_CALLS, Copier, replaced_in_turn, with_bodies
from sod2jax.passes.remark import Remark
from sod2jax.schedule.forms import arg_reduction, contraction, convolution, outer_sum, pooling
from sod2jax.schedule.forms.form import Form, form_of
from sod2jax.schedule.forms.operand_order import exchanged, readers
from sod2jax.target import Target

__all__ = ["arg_reduction", "contraction", "convolution", "outer_sum", "pooling", "reformed"]


def reformed(jaxpr: Jaxpr, target: Target) -> tuple[Jaxpr, tuple[Remark, ...]]:
    """A static program with the forms of its equations, in bodies, too; and which they are.

    It is the same object if there are none.
    """
    remarks: list[Remark] = []
    return _reformed(jaxpr, target, remarks), tuple(remarks)


def _reformed(jaxpr: Jaxpr, target: Target, remarks: list[Remark], in_body: bool = False) -> Jaxpr:
    copier, original = Copier(), jaxpr
    if target.platform == "cpu":
        jaxpr, exchanges = exchanged(jaxpr)
        remarks += exchanges
    changed = jaxpr is not original
    reads = readers(jaxpr)
    new: list[JaxprEqn] = []
    env: dict[Var, Any] = {}
    for as_it_was, old in zip(jaxpr.eqns, replaced_in_turn(jaxpr.eqns, env), strict=True):
        inside = in_body or old.primitive.name not in PLAIN_CALLS
        eqn = with_bodies(old, lambda body, i=inside: _reformed(body, target, remarks, i))
        form = form_of(target.platform, eqn, in_body)
        if form is not None and form.is_sole_reader and reads[as_it_was.invars[0]] > 1:
            form = None
        changed |= eqn is not old or form is not None
        if form is None:
            new.append(eqn)
            continue
        body, outs = copier.body(_traced(form, eqn), eqn.invars, eqn)
        new += body
        env.update(zip(eqn.outvars, outs, strict=True))
        remarks.append(Remark(form.what, _compat.source_line(eqn), form.reason))
    if not changed:
        return original
    return _compat.with_equations(jaxpr, new, [read(env, atom) for atom in jaxpr.outvars])


def _traced(form: Form, eqn: JaxprEqn) -> Jaxpr:
    """The operations of a form on the equation's operands.

    Raises:
      InvariantError: their result is of another type than the equation's.
    """
    specs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        traced = jax.make_jaxpr(form.run)(*specs)
    if traced.consts:
        raise InvariantError(f"the form of {eqn.primitive} closes over arrays")
    seen = [(v.aval.shape, v.aval.dtype) for v in traced.outvars]
    wanted = [(v.aval.shape, v.aval.dtype) for v in eqn.outvars]
    if seen != wanted:
        raise InvariantError(f"the form of {eqn.primitive} gives {seen}, not {wanted}")
    return traced
