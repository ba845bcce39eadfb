"""Programs whose loops end: they may be run on arrays that nobody gave.

A loop that ends on the arrays that a user has need not end on random ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.vocabulary import CALLS

# Values of a part of a program, after the rounds that are left.
State = tuple[Any, ...]


def limited(jaxpr: Jaxpr, most: int) -> Callable[..., tuple[list[Any], Any]]:
    """A function that runs a closed jaxpr, and cuts its loops short.

    Args:
      jaxpr: the program.
      most: the rounds of ``while`` loops, of all together.

    Returns:
      A function of the program's inputs, to its outputs and whether its loops ended by themselves.
    """

    def function(*inputs: Any) -> tuple[list[Any], Any]:
        left, *outputs = _run(jaxpr, inputs, jnp.int32(most))
        return outputs, left > 0

    return function


def _run(jaxpr: Jaxpr, inputs: Sequence[Any], left: Any) -> State:
    env: dict[Var, Any] = dict(zip(jaxpr.constvars, _compat.constants(jaxpr), strict=True))
    env.update(zip(jaxpr.invars, inputs, strict=True))

    def value(atom: Atom) -> Any:
        if not _compat.is_literal(atom):
            return env[atom]
        return atom.val

    for eqn in jaxpr.eqns:
        left, *outputs = _equation(eqn, [value(atom) for atom in eqn.invars], left)
        env.update(zip(eqn.outvars, outputs, strict=True))
    return left, *map(value, jaxpr.outvars)


def _equation(eqn: JaxprEqn, inputs: Sequence[Any], left: Any) -> State:
    if eqn.primitive.name in _LOOPING:
        return _LOOPING[eqn.primitive.name](eqn, inputs, left)
    body = _called(eqn)
    if body is not None:
        return _run(body, inputs, left)
    return left, *_compat.bind(eqn, *inputs)


def _called(eqn: JaxprEqn) -> Jaxpr | None:
    """The program that a call runs on its operands."""
    if eqn.primitive.name not in CALLS:
        return None
    bodies = [body for _, body in _compat.sub_jaxprs(eqn)]
    fits = bodies and len(bodies[0].invars) == len(eqn.invars)
    return bodies[0] if fits and len(bodies[0].outvars) == len(eqn.outvars) else None


def _while(eqn: JaxprEqn, inputs: Sequence[Any], left: Any) -> State:
    of_cond, of_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    for_cond, for_body = inputs[:of_cond], inputs[of_cond : of_cond + of_body]

    def goes_on(state: State) -> Any:
        return _run(eqn.params["cond_jaxpr"], (*for_cond, *state[1:]), state[0])[1]

    def step(state: State) -> State:
        left, *carry = _run(eqn.params["body_jaxpr"], (*for_body, *state[1:]), state[0] - 1)
        going = goes_on(state)  # one for each lane where the loop was mapped
        kept = [
            x if going.ndim == 0 else _where(going, x, y)
            for x, y in zip(carry, state[1:], strict=True)
        ]
        return left, *kept

    return lax.while_loop(
        lambda state: goes_on(state).any() & (state[0] > 0),
        step,
        (left, *inputs[of_cond + of_body :]),
    )


def _where(chosen: Any, x: Any, y: Any) -> Any:
    """``x`` in the lanes, of leading axes, that are chosen."""
    return lax.select(lax.broadcast_in_dim(chosen, x.shape, range(chosen.ndim)), x, y)


def _scan(eqn: JaxprEqn, inputs: Sequence[Any], left: Any) -> State:
    of_body, carried = _compat.scan_counts(eqn)
    constants, carry = inputs[:of_body], inputs[of_body : of_body + carried]

    def step(state: State, xs: Sequence[Any]) -> tuple[State, State]:
        now, *outputs = _run(eqn.params["jaxpr"], (*constants, *state[1:], *xs), state[0])
        return (now, *outputs[:carried]), tuple(outputs[carried:])

    (left, *carry), stacked = lax.scan(
        step,
        (left, *carry),
        tuple(inputs[of_body + carried :]),
        length=eqn.params["length"],
        reverse=eqn.params["reverse"],
    )
    return left, *carry, *stacked


def _cond(eqn: JaxprEqn, inputs: Sequence[Any], left: Any) -> State:
    def branch(body: Jaxpr) -> Callable[..., State]:
        return lambda now, *operands: _run(body, operands, now)

    index, *operands = inputs
    return lax.switch(index, [branch(body) for body in eqn.params["branches"]], left, *operands)


_LOOPING: dict[str, Callable[[JaxprEqn, Sequence[Any], Any], State]] = {
    "while": _while,
    "scan": _scan,
    "cond": _cond,
}
