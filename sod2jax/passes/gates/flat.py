"""Makes what a select chooses between visible: small calls inlined, selects of equals left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.ir.vocabulary import CALLS, COPIES
from sod2jax.passes.branches.surgery import read
from sod2jax.passes.gates.work import is_heavy

# The others say something of their body to the compiler.
_INLINED = CALLS - {"composite", "remat2", "remat_opt", "xla_metadata_call"}
# What a call may consist of to be worth inlining for its select alone, as `jnp.where` does.
_WHERE = frozenset("broadcast_in_dim convert_element_type reshape select_n squeeze".split())


def flat(eqns: Iterable[JaxprEqn], outvars: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Equations without the calls around selects and heavy work, and without needless selects.

    A batched ``cond`` selects its operands between themselves and what JAX's ``stop_gradient``
    makes of them: they are equal, and derivatives have been taken already.

    Returns:
      The equations, and the atoms that the outputs are.
    """
    known: dict[Any, Any] = {}
    done = list(_flat(eqns, known, {}))
    outputs = [read(known, atom) for atom in outvars]
    return live(done, outputs), outputs


def _flat(
    eqns: Iterable[JaxprEqn], known: dict[Any, Any], sources: dict[Any, Any]
) -> Iterable[Any]:
    """Flat equations; ``known`` gets what replaces variables, ``sources`` their equals."""
    for eqn in eqns:
        eqn = _reading(eqn, known)
        if _is_inlined(eqn):
            yield from _flat(_body(eqn, known), known, sources)
            continue
        if eqn.primitive.name in COPIES:
            sources[eqn.outvars[0]] = read(sources, eqn.invars[0])
        roots = {id(read(sources, a)): a for a in eqn.invars[1:]}
        is_select = eqn.primitive.name == "select_n"
        if is_select and len(roots) == 1 and not any(map(_compat.is_literal, eqn.invars)):
            known[eqn.outvars[0]] = read(sources, eqn.invars[1])
            continue
        yield eqn


def _reading(eqn: JaxprEqn, known: dict[Any, Any]) -> Any:
    """The equation on what its operands are known to be."""
    invars = [read(known, atom) for atom in eqn.invars]
    if all(a is b for a, b in zip(invars, eqn.invars, strict=True)):
        return eqn
    return _compat.new_equation(eqn.primitive, invars, eqn.outvars, eqn.params, eqn, eqn.effects)


def _is_inlined(eqn: JaxprEqn) -> bool:
    if eqn.primitive.name not in _INLINED or eqn.effects:
        return False
    ((_, body),) = _compat.sub_jaxprs(eqn)
    names = {inner.primitive.name for inner in body.eqns}
    is_where = "select_n" in names and names <= _WHERE
    return not body.constvars and (is_where or any(map(is_heavy, body.eqns)))


def _body(eqn: JaxprEqn, known: dict[Any, Any]) -> Iterable[Any]:
    """The equations of a call, on its operands, with results of their own."""
    ((_, body),) = _compat.sub_jaxprs(eqn)
    env = dict(zip(body.invars, eqn.invars, strict=True))
    for inner in body.eqns:
        invars = [read(env, atom) for atom in inner.invars]
        outvars = [_compat.new_variable(var.aval) for var in inner.outvars]
        env.update(zip(inner.outvars, outvars, strict=True))
        like = eqn if _compat.source_line(inner) == "unknown source" else inner
        yield _compat.new_equation(
            inner.primitive, invars, outvars, inner.params, like, inner.effects
        )
    results = [read(known, read(env, atom)) for atom in body.outvars]
    known.update(zip(eqn.outvars, results, strict=True))


def live(eqns: Sequence[JaxprEqn], outvars: Sequence[Any]) -> list[Any]:
    """Equations that outputs or effects need, in their order."""
    needed = {atom for atom in outvars if not _compat.is_literal(atom)}
    kept = []
    for eqn in reversed(eqns):
        if eqn.effects or any(var in needed for var in eqn.outvars):
            kept.append(eqn)
            needed.update(atom for atom in eqn.invars if not _compat.is_literal(atom))
    return kept[::-1]


def ordered(eqns: Sequence[JaxprEqn]) -> list[Any]:
    """Equations so that each stands behind those that it reads; otherwise in their order."""
    makers = {var: eqn for eqn in eqns for var in eqn.outvars}
    done: dict[int, Any] = {}
    for start in eqns:
        stack = [start]
        while stack:
            eqn = stack[-1]
            missing = [
                makers[atom]
                for atom in eqn.invars
                if not _compat.is_literal(atom) and atom in makers and id(makers[atom]) not in done
            ]
            if id(eqn) not in done and missing:
                stack += missing
                continue
            done.setdefault(id(stack.pop()), eqn)
    return list(done.values())
