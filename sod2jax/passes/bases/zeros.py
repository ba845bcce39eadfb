"""What is known of numbers: what stands where a value is 0, and what is never negative."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.ir.vocabulary import CASTS, GATHERS, LAYOUT, REDUCTIONS
from sod2jax.passes.bases.values import PLAIN, Value

_NON_NEGATIVE = frozenset("abs dim_as_value exp exp2 logistic square sqrt".split())
# Of lanes of the first operand, wherever they are read.
_READS = LAYOUT | GATHERS | {"dynamic_slice", "slice"}
_KEEPS_SIGN = _READS | REDUCTIONS | CASTS | frozenset("add copy div max min mul select_n".split())
_COMPARE = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
_MIRRORED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "and": np.logical_and,
    "convert_element_type": lambda x: x,
    "copy": lambda x: x,
    "div": np.divide,
    "exp": np.exp,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "neg": np.negative,
    "not": np.logical_not,
    "sqrt": np.sqrt,
    "square": np.square,
    "sub": np.subtract,
}


def literal(atom: Any) -> Value:
    """What is known of a number that stands in the program."""
    array = _compat.literal_array(atom)
    number = array.item() if array.ndim == 0 and array.dtype != object else None
    if not isinstance(number, (bool, int, float)):
        return PLAIN
    return Value(at_zero=number, positive=number >= 0)


def is_positive(eqn: JaxprEqn, operands: Sequence[Value]) -> bool:
    """Whether the result of an equation is 0 or more, but for NaN."""
    name = eqn.primitive.name
    if name == "integer_pow" and eqn.params["y"] % 2 == 0:
        return True
    operands = operands[1:] if name == "select_n" else operands
    operands = operands[:1] if name in _READS else operands
    return name in _NON_NEGATIVE or (
        name in _KEEPS_SIGN and all(operand.positive for operand in operands)
    )


def at_zero(name: str, operands: Sequence[Value]) -> Any:
    """What an elementwise equation gives where the spectral value is 0."""
    numbers = [operand.at_zero for operand in operands]
    if name == "select_n":
        which = numbers[0]
        return None if which is None else numbers[1 + int(which)]
    if name in _COMPARE:
        return _compared(name, operands)
    if name == "and" and any(number is not None and not number for number in numbers):
        return False
    if name == "or" and any(number is True for number in numbers):
        return True
    if name == "mul" and any(number == 0 for number in numbers):
        unknown = [o for o in operands if o.spectral and o.at_zero is None]
        return None if unknown or not all(map(_is_finite, numbers)) else 0.0
    if any(number is None for number in numbers):
        return None
    if name == "integer_pow" or name not in _FUNCTIONS:
        return None
    with np.errstate(all="ignore"):
        return _FUNCTIONS[name](*map(np.float64, numbers)).item()


def _is_finite(number: Any) -> bool:
    return number is None or bool(np.isfinite(number))


def _compared(name: str, operands: Sequence[Value]) -> Any:
    left, right = operands
    if left.at_zero is not None and right.at_zero is not None:
        return bool(_COMPARE[name](left.at_zero, right.at_zero))
    if left.at_zero is None:
        left, right, name = right, left, _MIRRORED[name]
    if left.at_zero is None or left.at_zero > 0 or not right.positive:
        return None
    return {"gt": False, "le": True}.get(name)  # 0 is not more than what is 0 or more
