"""Runs a symbolic jaxpr on padded arrays, rule by rule. Knows no primitive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.errors import InvariantError
from sod2jax.ir import dims
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.padded import Padded

# Computes the current equation on padded operands, ``rule(ctx, eqn, *operands)``: exact in the true
# lanes, anything in the pad lanes.
PadRule = Callable[..., Sequence[Padded]]

_RULES: dict[str, PadRule] = {}
_ALWAYS: set[str] = set()


def register_pad_rule(*primitives: str, always: bool = False) -> Callable[[PadRule], PadRule]:
    """Decorator that registers a rule for primitives, by name.

    Args:
      primitives: their names.
      always: whether the rule must run without any padding, too: JAX does not know them, or there
        is more about them than shapes.

    Raises:
      InvariantError: a primitive has a rule already.
    """

    def decorate(rule: PadRule) -> PadRule:
        for name in primitives:
            if name in _RULES:
                raise InvariantError(f"primitive '{name}' has two rewrite rules")
            _RULES[name] = rule
        _ALWAYS.update(primitives if always else ())
        return rule

    return decorate


def rules() -> dict[str, PadRule]:
    """The table of rewrite rules by primitive name."""
    return dict(_RULES)


def interpret(
    ctx: Context, jaxpr: Jaxpr, constants: Sequence[Any], args: Sequence[Padded]
) -> list[Padded]:
    """Evaluates a jaxpr on padded arguments.

    Raises:
      UnsupportedPrimitiveError: an equation with symbolic dimensions has no rule.
      InvariantError: a rule returned a value of the wrong shape or type.
    """
    env: dict[Any, Padded] = {}

    def read(atom: Atom) -> Padded:
        if _compat.is_literal(atom):
            array = _compat.literal_array(atom)
            return Padded.exact(array, constant=array.item() if array.ndim == 0 else None)
        return ctx.latest(env[atom])

    env.update(zip(jaxpr.constvars, map(Padded.exact, constants), strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        operands = list(map(read, eqn.invars))
        with _compat.equation_scope(eqn):
            results = _apply(ctx, eqn, operands)
        for k, (var, result) in enumerate(zip(eqn.outvars, results, strict=True)):
            env[var] = result
            ctx.note_origin(result, eqn, operands, k)
    return list(map(read, jaxpr.outvars))


def _apply(ctx: Context, eqn: JaxprEqn, operands: Sequence[Padded]) -> Sequence[Padded]:
    outer = ctx.eqns
    ctx.eqns = (eqn, *outer)
    try:
        operands = ctx.placed(eqn, operands)
        rule = _RULES.get(eqn.primitive.name)
        constant = bool(operands) and all(p.constant is not None for p in operands)
        if not has_symbolic(eqn) and not (constant and rule):
            return [Padded.exact(a) for a in _compat.bind(eqn, *(p.array for p in operands))]
        if rule is None:
            raise ctx.refuse(
                "it has no rewrite rule; keep symbolic dimensions away from it, or use "
                'on_unsupported="exact"'
            )
        results = rule(ctx, eqn, *operands)
        for index, (var, result) in enumerate(zip(eqn.outvars, results, strict=True)):
            _check(ctx, eqn, index, var.aval, result)
        ctx.note_reads(operands, eqn)
        return list(map(ctx.ready, ctx.born(eqn, results)))
    finally:
        ctx.eqns = outer


def _check(ctx: Context, eqn: JaxprEqn, index: int, aval: Any, result: Padded) -> None:
    shape = tuple(map(dims.from_jax, aval.shape))
    sizes = tuple(map(ctx.extent_size, result.extents))
    if (
        result.shape == shape
        and np.shape(result.array) == sizes
        and result.array.dtype == aval.dtype
    ):
        return
    raise InvariantError(
        f"the rewrite rule of '{eqn.primitive.name}' at {_compat.source_line(eqn)} gave output "
        f"{index} as {result.array.dtype}{list(np.shape(result.array))} for {result.shape} laid "
        f"out as {result.extents} ({list(sizes)}); expected {aval.dtype}{list(shape)}"
    )


def has_symbolic(eqn: JaxprEqn) -> bool:
    """Whether an operand, result, parameter or sub-jaxpr has a symbolic dimension, or may have."""
    if eqn.primitive.name in _ALWAYS:
        return True
    avals = [atom.aval for atom in (*eqn.invars, *eqn.outvars)]
    return any(map(_is_symbolic_aval, avals)) or any(map(_mentions_symbol, eqn.params.values()))


def _is_symbolic_aval(aval: Any) -> bool:
    return any(map(_compat.is_symbolic, getattr(aval, "shape", ())))


def _mentions_symbol(param: Any) -> bool:
    if isinstance(param, (tuple, list)):
        return any(map(_mentions_symbol, param))
    if _compat.is_jaxpr(param):
        return _jaxpr_is_symbolic(param)
    return _compat.is_symbolic(param)


def _jaxpr_is_symbolic(jaxpr: Jaxpr) -> bool:
    inputs = [var.aval for var in (*jaxpr.invars, *jaxpr.constvars)]
    return any(map(_is_symbolic_aval, inputs)) or any(map(has_symbolic, jaxpr.eqns))
