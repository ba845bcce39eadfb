"""A concrete trace run again on symbolic shapes, with fitted dimensions for its integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax import lax

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.errors import TraceError
from sod2jax.ir.vocabulary import CALLS
from sod2jax.tracing.generalise.form import jaxprs_of, map_ints, params_of


class Rebuilder:
    """Runs the jaxpr of one sample with other integers and constants.

    Every jaxpr is read in the order of ``form_of``, so integers and constants are simply taken from
    the front of their queues.

    Args:
      ints: for each integer of the form, a number or a JAX dimension.
      values: for each constant of the form, what to use.
    """

    def __init__(self, ints: Sequence[Any], values: Sequence[Any]):
        self._ints, self._values = iter(ints), iter(values)

    def run(self, jaxpr: Jaxpr, args: Sequence[Any]) -> list[Any]:
        """The outputs of a jaxpr; called once, on the outermost one."""
        return self._read(jaxpr)(args)

    def _read(self, jaxpr: Jaxpr) -> Callable[[Sequence[Any]], list[Any]]:
        """Takes what belongs to a jaxpr from the queues; returns a function that runs it."""
        for var in (*jaxpr.constvars, *jaxpr.invars):
            self._skip(var.aval)
        consts = [next(self._values) for _ in jaxpr.constvars]
        steps = [self._equation(eqn) for eqn in jaxpr.eqns]
        outputs = [self._operand(atom) for atom in jaxpr.outvars]

        def run(args: Sequence[Any]) -> list[Any]:
            env = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
            for eqn, operands, step in steps:
                with _compat.equation_scope(eqn):
                    results = step([read(env) for read in operands])
                env.update(zip(eqn.outvars, results, strict=True))
            return [read(env) for read in outputs]

        return run

    def _equation(self, eqn: JaxprEqn) -> tuple[Any, list[Any], Callable[[list[Any]], list[Any]]]:
        params, bodies = {}, []
        for name, param in params_of(eqn):
            inner = [self._read(body) for body in jaxprs_of(param)]
            bodies += inner
            if not inner:
                params[name] = map_ints(param, lambda _: next(self._ints))
        operands = [self._operand(atom) for atom in eqn.invars]
        for var in eqn.outvars:
            self._skip(var.aval)
        return eqn, operands, _step(eqn, params, bodies)

    def _operand(self, atom: Atom) -> Callable[[dict[Any, Any]], Any]:
        if not _compat.is_literal(atom):
            return lambda env: env[atom]
        self._skip(atom.aval)
        value = next(self._values)
        return lambda env: value

    def _skip(self, aval: Any) -> None:
        for _ in aval.shape:
            next(self._ints)


def _step(eqn: JaxprEqn, params: dict[str, Any], bodies: Sequence[Any]) -> Callable[..., list[Any]]:
    name = eqn.primitive.name
    if not bodies:
        return lambda operands: _compat.bind(eqn, *operands, **params)
    if name in _STRUCTURED:
        return lambda operands: _STRUCTURED[name](eqn, params, bodies, operands)
    if name in CALLS:
        return lambda operands: bodies[0](operands)
    if all(_is_scalar(body) for _, body in _compat.sub_jaxprs(eqn)):
        return lambda operands: _compat.bind(eqn, *operands, **params)
    raise TraceError(f"'{name}' at {_compat.source_line(eqn)} cannot be rebuilt at other sizes")


def _is_scalar(jaxpr: Jaxpr) -> bool:
    """Whether a jaxpr, such as that of a reducer, has no shape that could vary."""
    variables = [*jaxpr.invars, *(var for eqn in jaxpr.eqns for var in eqn.outvars)]
    literals = [atom for eqn in jaxpr.eqns for atom in eqn.invars if _compat.is_literal(atom)]
    return not literals and all(var.aval.ndim == 0 for var in variables)


def _while(eqn: JaxprEqn, params: Any, bodies: Sequence[Any], operands: list[Any]) -> list[Any]:
    # Parameters come in alphabetic order: body_jaxpr, body_nconsts, cond_jaxpr, cond_nconsts.
    body, cond = bodies
    split = params["cond_nconsts"]
    both = split + params["body_nconsts"]
    cond_consts, body_consts, init = operands[:split], operands[split:both], operands[both:]
    return lax.while_loop(
        lambda carry: cond([*cond_consts, *carry])[0],
        lambda carry: body([*body_consts, *carry]),
        init,
    )


def _scan(eqn: JaxprEqn, params: Any, bodies: Sequence[Any], operands: list[Any]) -> list[Any]:
    consts, carries = _compat.scan_counts(eqn)
    fixed, init, xs = operands[:consts], operands[consts : consts + carries], operands[consts:]
    xs = xs[carries:]

    def body(carry: Any, x: Any) -> tuple[list[Any], list[Any]]:
        out = bodies[0]([*fixed, *carry, *x])
        return out[:carries], out[carries:]

    carry, ys = lax.scan(
        body,
        init,
        xs,
        length=None if xs else params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *ys]


def _cond(eqn: JaxprEqn, params: Any, bodies: Sequence[Any], operands: list[Any]) -> list[Any]:
    index, *rest = operands
    return lax.switch(index, [lambda *xs, b=body: b(xs) for body in bodies], *rest)


_STRUCTURED = {"while": _while, "scan": _scan, "cond": _cond}
