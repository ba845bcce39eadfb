"""Calls whose body is that of a ``jax.numpy`` function with a sharper value rule than its parts.

``a // b`` is lowered to a truncating ``div``, a comparison of signs and a select; ranges of the
parts lose that the select acts only where the quotient is negative. So a body is compared with the
jaxpr that this JAX makes of the function itself: neither a name nor a copy of JAX's lowering is
relied upon.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.ir.jaxprs import dims_of
from sod2jax.rdp import arithmetic
from sod2jax.rdp.rule import Context
from sod2jax.rdp.rules.elementwise import apply
from sod2jax.rdp.values import ValueFact, is_integer

_FUNCTIONS = {
    jnp.floor_divide: arithmetic.floor_quotient,
    jnp.remainder: arithmetic.floor_remainder,
}


def exact_value(
    ctx: Context, eqn: JaxprEqn, body: Any, operands: Sequence[ValueFact]
) -> ValueFact | None:
    """The value of a call whose body is a known function; None for any other."""
    atoms = (*eqn.invars, *eqn.outvars)
    if len(eqn.invars) != 2 or len(eqn.outvars) != 1:
        return None
    if not all(is_integer(atom.aval.dtype) for atom in atoms):
        return None
    shape = _fingerprint(body)
    if not any(name == "rem" for name, *_ in shape[0]):
        return None
    with _compat.equation_scope(eqn):
        for function, arithmetic_of in _FUNCTIONS.items():
            if _reference(function, *map(_sample, eqn.invars)) == shape:
                return apply(arithmetic_of, ctx, eqn, tuple(operands))
    return None


def _sample(atom: Atom) -> jax.ShapeDtypeStruct:
    """A concrete stand-in: only which axes are 1 decides how a function is lowered."""
    shape = tuple(1 if dim == 1 else 2 for dim in dims_of(atom))
    return jax.ShapeDtypeStruct(shape, atom.aval.dtype, weak_type=atom.aval.weak_type)


@functools.lru_cache(maxsize=256)
def _reference(function: Any, *samples: jax.ShapeDtypeStruct) -> Any:
    return _fingerprint(jax.make_jaxpr(lambda *args: function(*args))(*samples))


def _fingerprint(jaxpr: Jaxpr) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """(steps, results) of a jaxpr with calls inlined and conversions to the same type left out.

    A step is (primitive, types, operands); an operand is an input, a literal or an earlier step.
    """
    steps: list[tuple[Any, ...]] = []

    def walk(jaxpr: Jaxpr, ins: Sequence[Any]) -> list[Any]:
        env = dict(zip(jaxpr.invars, ins, strict=True))

        def read(atom: Atom) -> Any:
            if _compat.is_literal(atom):
                return "literal", _compat.literal_array(atom).item()
            return env.get(atom, ("constant", str(atom)))

        for eqn in jaxpr.eqns:
            operands = tuple(map(read, eqn.invars))
            bodies = [body for _, body in _compat.sub_jaxprs(eqn)]
            if eqn.primitive.name == "jit" and len(bodies) == 1:
                env.update(zip(eqn.outvars, walk(bodies[0], operands), strict=True))
                continue
            types = tuple(str(atom.aval.dtype) for atom in (*eqn.invars, *eqn.outvars))
            if eqn.primitive.name == "convert_element_type" and types[0] == types[1]:
                env[eqn.outvars[0]] = operands[0]
                continue
            steps.append((eqn.primitive.name, types, operands))
            env.update({var: ("step", len(steps), k) for k, var in enumerate(eqn.outvars)})
        return list(map(read, jaxpr.outvars))

    results = walk(jaxpr, [("input", k) for k in range(len(jaxpr.invars))])
    return tuple(steps), tuple(results)
