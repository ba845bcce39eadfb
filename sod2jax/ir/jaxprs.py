"""Surgery on jaxprs that every stage may need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.vocabulary import CALLS


def inlined(jaxpr: Jaxpr, chosen: Callable[[Any], bool]) -> Any:
    """A closed jaxpr with the bodies of calls in place of the calls that are chosen."""
    known: dict[Any, Any] = {}  # variables that are called otherwise now
    constvars, consts = list(jaxpr.constvars), list(_compat.constants(jaxpr))
    eqns: list[JaxprEqn] = []

    def current(atom: Atom) -> Any:
        return atom if _compat.is_literal(atom) else known.get(atom, atom)

    def add(body: Any) -> None:
        for eqn in body.eqns:
            operands = list(map(current, eqn.invars))
            if eqn.primitive.name not in CALLS or not chosen(eqn):
                eqns.append(eqn.replace(invars=operands))
                continue
            ((_, inner),) = _compat.sub_jaxprs(eqn)
            constvars.extend(inner.constvars)
            consts.extend(_compat.constants(inner))
            known.update(zip(inner.invars, operands, strict=True))
            add(inner)
            known.update(zip(eqn.outvars, map(current, inner.outvars), strict=True))

    add(jaxpr)
    outvars = list(map(current, jaxpr.outvars))
    return _compat.with_constants(_compat.with_equations(jaxpr, eqns, outvars), constvars, consts)


def dims_of(atom: Atom) -> tuple[Dim, ...]:
    """The dimensions of an operand or result; none for what has no shape, as a token."""
    return tuple(map(dims.from_jax, getattr(atom.aval, "shape", ())))


def equations(jaxpr: Jaxpr) -> Iterator[Any]:
    """Yields every equation of a jaxpr and of all jaxprs inside it."""
    for eqn in jaxpr.eqns:
        yield eqn
        for _, inner in _compat.sub_jaxprs(eqn):
            yield from equations(inner)
