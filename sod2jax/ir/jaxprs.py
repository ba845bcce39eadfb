"""Reading jaxprs: walks over equations, what they use, and the dimensions that they speak of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir import closures, dims
from sod2jax.ir.closures import HiddenSize
from sod2jax.ir.dims import Dim
from sod2jax.ir.vocabulary import CALLBACKS

Env = Mapping[Var, Any]
"""What stands for variables."""

_SCOPES = {"call": "core_call", "closed_call": "closed_call", "remat2": "checkpoint"}


def equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Yields every equation of a jaxpr and of all jaxprs inside it."""
    for eqn in jaxpr.eqns:
        yield eqn
        for _, inner in _compat.sub_jaxprs(eqn):
            yield from equations(inner)


def read(env: Env, atom: Atom) -> Any:
    """What stands for an operand: itself if nothing else does."""
    return atom if _compat.is_literal(atom) else env.get(atom, atom)


def scope_of(call: JaxprEqn) -> str:
    """The name under which JAX lowers the body of a call; none where it gives none."""
    if call.primitive.name == "jit":
        return f"jit({call.params['name']})"
    return _SCOPES.get(call.primitive.name, "")


def variables(atoms: Iterable[Atom]) -> list[Var]:
    """The operands that are no literals."""
    return [atom for atom in atoms if not _compat.is_literal(atom)]


def used_in(eqns: Iterable[JaxprEqn], outputs: Iterable[Atom]) -> dict[Var, None]:
    """The variables that equations and outputs use, in order, each once."""
    used = dict.fromkeys(var for eqn in eqns for var in variables(eqn.invars))
    return used | dict.fromkeys(variables(outputs))


def dependents(eqns: Iterable[JaxprEqn], roots: Iterable[Var]) -> set[Var]:
    """The roots, and all variables that equations compute from them."""
    reached = set(roots)
    for eqn in eqns:
        if not reached.isdisjoint(variables(eqn.invars)):
            reached.update(eqn.outvars)
    return reached


def dims_of(atom: Atom) -> tuple[Dim, ...]:
    """The dimensions of an operand or result; none for what has no shape, as a token."""
    return tuple(map(dims.from_jax, getattr(atom.aval, "shape", ())))


def mentions(eqn: JaxprEqn) -> frozenset[str]:
    """The symbols that an equation and all equations inside it speak of.

    They stand in shapes, in parameters, and in what Python functions that are called close over.
    """
    shapes = [getattr(atom.aval, "shape", ()) for atom in (*eqn.invars, *eqn.outvars)]
    inside = [mentions(e) for _, body in _compat.sub_jaxprs(eqn) for e in body.eqns]
    with contextlib.suppress(HiddenSize):
        inside.append(closed_over(eqn))
    return dims.symbols_in([*shapes, *eqn.params.values()]).union(*inside)


def closed_over(eqn: JaxprEqn) -> frozenset[str]:
    """The symbols that the Python function of a callback closes over; none for other equations.

    Raises:
      HiddenSize: it closes over a number computed from sizes.
    """
    if eqn.primitive.name not in CALLBACKS:
        return frozenset()
    return closures.symbols(_compat.called(eqn))
