"""Monoids that reductions are made of: their operators, and the numbers that change nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax._compat import Jaxpr


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
_PRIMITIVES = {"add": "sum", "mul": "prod"} | {
    name: name for name in ("max", "min", "and", "or", "xor")
}


def monoid_of(jaxpr: Jaxpr) -> str | None:
    """The monoid of a reducer that is one primitive applied to its two arguments."""
    if len(jaxpr.eqns) != 1 or list(jaxpr.outvars) != list(jaxpr.eqns[0].outvars):
        return None
    (eqn,) = jaxpr.eqns
    if any(map(_compat.is_literal, eqn.invars)):
        return None
    own = len(set(jaxpr.invars)) == 2 and set(eqn.invars) == set(jaxpr.invars)
    return _PRIMITIVES.get(eqn.primitive.name) if own else None
