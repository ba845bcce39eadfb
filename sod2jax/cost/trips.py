"""How often a ``while`` runs."""

from __future__ import annotations

from typing import Any

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.rdp import ValueRange


def trip_count(eqn: JaxprEqn, value_range: ValueRange) -> Dim | None:
    """How often a ``while`` runs its body at most: for ``carry < bound`` counted up by a number."""
    cond, body = eqn.params["cond_jaxpr"], eqn.params["body_jaxpr"]
    n_cond, n_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    counter = _counter(eqn)
    if counter is None:
        return None
    at, bound, step = counter
    last = _outside(bound, cond, body, eqn)
    ends = [_range(atom, value_range) for atom in (eqn.invars[n_cond + n_body + at], last)]
    if None in ends:
        return None
    (first, _), (_, limit) = ends  # type: ignore[misc]
    distance = dims.normalise(limit - first)
    rounded = dims.normalise(dims.floordiv(distance + step - 1, step))  # type: ignore[arg-type]
    return max(rounded, 0) if isinstance(rounded, int) else rounded


def is_counted(eqn: JaxprEqn) -> bool:
    """Whether a ``while`` counts up to a bound: it ends whatever the values are."""
    counter = _counter(eqn)
    if counter is None:
        return False
    _, bound, _ = counter
    body = eqn.params["body_jaxpr"]
    return _outside(bound, eqn.params["cond_jaxpr"], body, eqn) is not None


def _counter(eqn: JaxprEqn) -> tuple[int, Atom, int] | None:
    """The carry that a ``while`` counts in, its bound in the condition, and its steps."""
    cond, body = eqn.params["cond_jaxpr"], eqn.params["body_jaxpr"]
    n_cond, n_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    if len(cond.eqns) != 1 or cond.eqns[0].primitive.name != "lt" or cond.outvars[0].aval.shape:
        return None
    counter, bound = cond.eqns[0].invars
    carries = cond.invars[n_cond:]
    if _compat.is_literal(counter) or counter not in carries:
        return None
    at = carries.index(counter)
    step = _increment(body, body.invars[n_body + at], body.outvars[at])
    return None if step is None else (at, bound, step)


def _outside(bound: Any, cond: Any, body: Any, eqn: JaxprEqn) -> Any:
    """The operand of the loop that a bound in its condition is, in every iteration."""
    if _compat.is_literal(bound) or bound not in cond.invars:
        return bound if _compat.is_literal(bound) else None
    n_cond, n_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    at = cond.invars.index(bound)
    if at < n_cond:
        return eqn.invars[at]
    unchanged = body.outvars[at - n_cond] is body.invars[at - n_cond + n_body]
    return eqn.invars[at + n_body] if unchanged else None


def _increment(body: Any, before: Any, after: Any) -> int | None:
    for eqn in body.eqns:
        if after in eqn.outvars and eqn.primitive.name == "add" and before in eqn.invars:
            number = next(filter(_compat.is_literal, eqn.invars), None)
            step = 0 if number is None else int(_compat.literal_array(number))
            return step if step > 0 else None
    return None


def _range(atom: Atom, value_range: ValueRange) -> tuple[Dim, Dim] | None:
    if atom is None:
        return None
    if _compat.is_literal(atom):
        number = int(_compat.literal_array(atom))
        return number, number
    return value_range(atom)
