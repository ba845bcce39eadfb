"""Reductions: pad lanes along reduced axes must hold the identity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.ir import dims
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import ANYTHING, Padded, RowReduction, is_padded


def lowest(dtype: Any) -> Any:
    """The identity of max: -inf, the smallest integer, or False."""
    return _extreme(dtype, -1)


def highest(dtype: Any) -> Any:
    """The identity of min: inf, the largest integer, or True."""
    return _extreme(dtype, 1)


def _extreme(dtype: Any, sign: int) -> Any:
    if np.dtype(dtype).kind == "b":
        return sign > 0
    if jnp.issubdtype(dtype, np.inexact):
        return sign * (math.inf if _has_infinity(dtype) else float(jnp.finfo(dtype).max))
    info = jnp.iinfo(dtype)
    return int(info.max if sign > 0 else info.min)


def _has_infinity(dtype: Any) -> bool:
    """Some 8-bit floats have none: infinity becomes NaN, or the largest number."""
    with np.errstate(all="ignore"):
        return bool(np.isinf(np.asarray(math.inf).astype(dtype).astype(np.complex64)))


def _ones(dtype: Any) -> Any:
    """The identity of bitwise and."""
    if np.dtype(dtype).kind == "b":
        return True
    return int(jnp.iinfo(dtype).max) if jnp.issubdtype(dtype, np.unsignedinteger) else -1


def _zero(dtype: Any) -> Any:
    return False if np.dtype(dtype).kind == "b" else 0


def _one(dtype: Any) -> Any:
    return True if np.dtype(dtype).kind == "b" else 1


# The number that changes nothing, by monoid.
IDENTITY: dict[str, Callable[[Any], Any]] = {
    "sum": _zero,
    "prod": _one,
    "max": lowest,
    "min": highest,
    "and": _ones,
    "or": _zero,
    "xor": _zero,
}
OPERATORS: dict[str | None, Callable[[Any, Any], Any]] = {
    "sum": lax.add,
    "prod": lax.mul,
    "max": lax.max,
    "min": lax.min,
    "and": lax.bitwise_and,
    "or": lax.bitwise_or,
    "xor": lax.bitwise_xor,
}
_REDUCTIONS = {f"reduce_{monoid}": monoid for monoid in IDENTITY}


@register_pad_rule(*_REDUCTIONS)
def _reduce(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Masks the reduced axes with the identity and reduces."""
    monoid, axes = _REDUCTIONS[eqn.primitive.name], eqn.params["axes"]
    fill = IDENTITY[monoid](operand.array.dtype)
    operand = ctx.mask(operand, axes, fill, f"the {monoid} would count them")
    (out,) = ctx.bind(operand.array)
    kept = [k for k in range(operand.rank) if k not in axes]
    row = None
    if monoid in ("sum", "max"):
        row = RowReduction(monoid, operand.array, frozenset(axes), operand.nonnegative, tuple(kept))
    fills = _kept_fills(operand, kept, monoid)
    nonnegative = operand.nonnegative and monoid in ("sum", "max", "min", "prod")
    extents = tuple(operand.extents[k] for k in kept)
    return [Padded(out, extents, fills, row=row, nonnegative=nonnegative)]


def _kept_fills(operand: Padded, kept: list[int], monoid: str) -> dict[int, Any]:
    """Rows of zeros sum to zero; rows of one number have it as their maximum and minimum."""
    same = {"sum": (0,), "max": None, "min": None}.get(monoid, ())
    fills = {}
    for to, axis in enumerate(kept):
        fill = operand.fills.get(axis, ANYTHING)
        known = fill.value is not None and not fill.or_nan_row
        if known and (same is None or fill.value in same):
            fills[to] = fill
    return fills


_MONOIDS = {"add": "sum", "mul": "prod"} | {
    name: name for name in ("max", "min", "and", "or", "xor")
}


def monoid_of(jaxpr: Jaxpr) -> str | None:
    """The monoid of a reducer that is one primitive applied to its two arguments."""
    if len(jaxpr.eqns) != 1 or list(jaxpr.outvars) != list(jaxpr.eqns[0].outvars):
        return None
    (eqn,) = jaxpr.eqns
    own = len(set(jaxpr.invars)) == 2 and set(eqn.invars) == set(jaxpr.invars)
    return _MONOIDS.get(eqn.primitive.name) if own else None


@register_pad_rule("reduce")
def _reduce_by_jaxpr(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """The same for a reducer given as a jaxpr, if its identity is known or not needed."""
    axes, half = eqn.params["dimensions"], len(operands) // 2
    values, initial = list(operands[:half]), operands[half:]
    for axis in range(values[0].rank):
        values = ctx.unify([(value, axis) for value in values])
    if any(is_padded(values[0].extents[axis]) for axis in axes):
        monoid = monoid_of(eqn.params["jaxpr"]) if half == 1 else None
        if monoid is None:
            raise ctx.refuse(
                "no number is known that the reducer ignores; reduce by sum, max, min, prod, "
                "and, or or xor, or along axes of fixed size"
            )
        arrays = [_from_initial(ctx, values[0], initial[0].array, axes, monoid)]
    else:
        arrays = ctx.bind(*(p.array for p in (*values, *initial)))
    kept = tuple(e for k, e in enumerate(values[0].extents) if k not in axes)
    return [Padded(array, kept) for array in arrays]


def _from_initial(
    ctx: Context, value: Padded, initial: Any, axes: Sequence[int], monoid: str
) -> Any:
    """Reduces the true lanes and ``initial``, which XLA leaves out where there is one lane."""
    fill = IDENTITY[monoid](value.array.dtype)
    value = ctx.mask(value, axes, fill, f"the {monoid} would count them")
    (out,) = ctx.bind(value.array, lax.full((), fill, value.array.dtype))
    count = ctx.true(dims.product(value.shape[axis] for axis in axes))
    started = OPERATORS[monoid](out, lax.broadcast(initial, out.shape))
    return lax.select(lax.eq(jnp.int32(count), np.int32(1)), out, started)
