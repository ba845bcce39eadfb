"""Comparisons of sizes with numbers that are no ``int``: NumPy's, floats, fractions.

JAX takes ``int(5.5)`` for the number, and answers with a ``bool`` where NumPy has one of its own.
"""

from __future__ import annotations

import decimal
import fractions
import functools
import math
import numbers
import operator
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sod2jax import _compat
from sod2jax.tracing.bound import Bound
from sod2jax.tracing.recorder import attentive

# What to compare a size with in the place of a number that is not whole.
_NEXT_WHOLE: dict[str, Callable[[Any], int]] = {
    "lt": math.ceil,
    "le": math.floor,
    "gt": math.floor,
    "ge": math.ceil,
}


_PYTHONS = (bool, complex, decimal.Decimal, float, fractions.Fraction, int, str, type(None))
_KNOWN = frozenset(_PYTHONS)
_ARRAYS = (Bound, jax.Array, np.generic, np.ndarray)
# What classes inherit that say nothing of their own.
_EQUALITIES = (object.__eq__, *(kind.__eq__ for kind in _KNOWN))


def is_whole(number: Any) -> bool:
    """Whether it is a number, of another class than ``int``, that is equal to an integer."""
    if isinstance(number, int | np.integer) or not isinstance(number, numbers.Number | np.bool_):
        return False
    if number != number or abs(number) == math.inf:  # type: ignore[operator]
        return False
    return number == int(number.real)  # type: ignore[union-attr]


def compares_itself(value: Any) -> bool:
    """Whether the class of something, no number that is known here, says what it is equal to."""
    kind = type(value)
    if kind in _KNOWN or issubclass(kind, _ARRAYS) or _compat.is_symbolic(value):
        return False
    return kind.__eq__ not in _EQUALITIES


def answer(found: Any, *operands: Any) -> Any:
    """A bool, or NumPy's where an operand is one of its numbers."""
    ours = (_compat.NumPyDimension, np.generic)
    is_numpy = isinstance(found, bool) and any(issubclass(type(x), ours) for x in operands)
    return np.bool_(found) if is_numpy else found


def _order(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    function, next_whole = getattr(operator, name), _NEXT_WHOLE[name]

    def call(a: Any, b: Any) -> Any:
        if attentive() is None or not isinstance(b, numbers.Real | decimal.Decimal | np.bool_):
            return original(a, b)
        if isinstance(b, int | np.integer):  # or a size
            return answer(original(a, b), a, b)
        if b != b or abs(b) == math.inf:
            return answer(bool(function(0, b)), a, b)
        return answer(original(a, int(next_whole(b))), a, b)

    return call


# The orders of a size, as methods of its class.
ORDERS = {f"__{name}__": functools.partial(_order, name) for name in _NEXT_WHOLE}
