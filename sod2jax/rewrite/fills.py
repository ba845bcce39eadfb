"""What an elementwise operation makes of pad lanes: the transfer of the fill lattice.

Constants are folded only to values that are exact in every dtype (0, 1, -1, infinities, booleans),
so that rounding can never make a known fill wrong.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sod2jax.ir.vocabulary import COPIES
from sod2jax.rewrite.padded import ANYTHING, FINITE, Extent, Fill, Padded, constant_fill, is_padded

_FOLD: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "add": operator.add,
    "add_any": operator.add,
    "and": operator.and_,
    "convert_element_type": lambda x: x,
    "copy": lambda x: x,
    "div": lambda x, y: _divide(x, y),
    "eq": operator.eq,
    "exp": lambda x: {0: 1, -math.inf: 0, math.inf: math.inf}.get(x),
    "exp2": lambda x: {0: 1, -math.inf: 0, math.inf: math.inf}.get(x),
    "ge": operator.ge,
    "gt": operator.gt,
    "is_finite": math.isfinite,
    "le": operator.le,
    "logistic": lambda x: {-math.inf: 0, math.inf: 1}.get(x),
    "lt": operator.lt,
    "max": max,
    "min": min,
    "mul": operator.mul,
    "ne": operator.ne,
    "neg": operator.neg,
    "not": lambda x: not x if isinstance(x, bool) else None,
    "or": operator.or_,
    "select_n": lambda which, *cases: cases[int(which)],
    "sign": lambda x: (x > 0) - (x < 0),
    "sqrt": lambda x: {0: 0, 1: 1, math.inf: math.inf}.get(x),
    "square": lambda x: x * x,
    "stop_gradient": lambda x: x,
    "sub": operator.sub,
    "tanh": lambda x: {0: 0, math.inf: 1, -math.inf: -1}.get(x),
}

# A NaN operand gives a NaN result.
_NAN_IN_NAN_OUT = frozenset(
    "abs add add_any copy cos div exp exp2 expm1 log log1p logistic max min mul neg rsqrt sign sin "
    "sqrt square stop_gradient sub tanh".split()
)
# Finite operands give a finite result.
_FINITE_IN_FINITE_OUT = frozenset(
    "abs atan clamp copy cos erf floor ceil round logistic max min neg select_n sign sin "
    "stop_gradient tanh".split()
)
_NONNEGATIVE = frozenset("abs exp exp2 logistic square".split())
_EXACT_EVERYWHERE = (-1, 0, 1, math.inf, -math.inf)


def _divide(x: Any, y: Any) -> Any:
    """The quotient, where rounding cannot matter: large integers are not exact as floats."""
    whole = isinstance(x, int) and isinstance(y, int)
    return None if y == 0 or (whole and x % y) else x / y


def elementwise(
    name: str, operands: Sequence[Padded], extents: Sequence[Extent], dtype: Any
) -> dict[str, Any]:
    """What is known of the result of an elementwise primitive, as attributes of ``Padded``."""
    fills = {}
    for axis, layout in enumerate(extents):
        if is_padded(layout):
            fill = _along(name, operands, axis, dtype)
            if fill != ANYTHING:
                fills[axis] = fill
    real = jnp.issubdtype(dtype, np.floating)  # integers wrap around
    facts = {"fills": fills, "nonnegative": real and name in _NONNEGATIVE}
    if operands and all(p.constant is not None for p in operands):
        facts["constant"] = _fold(name, [constant_fill(p.constant) for p in operands], dtype).value
    same = _unchanged_operand(name, operands)
    return facts if same is None else facts | {"row": same.row, "nonnegative": same.nonnegative}


def folded(name: str, values: Sequence[Any], dtype: Any) -> Any:
    """What an elementwise primitive makes of constants; None if that is not known exactly."""
    return _fold(name, list(map(constant_fill, values)), dtype).value


def _along(name: str, operands: Sequence[Padded], axis: int, dtype: Any) -> Fill:
    states = [_operand_fill(p, axis) for p in operands]
    if all(s is not None and s.value is not None for s in states):
        return _fold(name, states, dtype)
    absorbed = _absorb(name, states, dtype)
    if absorbed is not None:
        return absorbed
    if name in ("sub", "div") and operands[1].row is not None:
        return _against_row_reduction(name, operands[0], operands[1], axis)
    finite = all(s is not None and s.finite for s in states)
    return FINITE if finite and name in _FINITE_IN_FINITE_OUT else ANYTHING


def _operand_fill(value: Padded, axis: int) -> Fill | None:
    """The fill of an operand along an output axis; None where pad lanes hold what true lanes do."""
    if value.constant is not None:
        return constant_fill(value.constant)
    if value.rank == 0 or not is_padded(value.extents[axis]):
        return None
    return value.fill(axis)


def _fold(name: str, states: Sequence[Fill | None], dtype: Any) -> Fill:
    nan_rows = any(s.or_nan_row for s in states)  # type: ignore[union-attr]
    if name not in _FOLD or (nan_rows and name not in _NAN_IN_NAN_OUT):
        return ANYTHING
    values = [s.value for s in states]  # type: ignore[union-attr]
    if any(v is None or isinstance(v, complex) for v in values):
        return ANYTHING
    value = _FOLD[name](*values)
    if value not in _EXACT_EVERYWHERE:
        return ANYTHING
    with np.errstate(invalid="ignore"):
        held = np.asarray(value).astype(dtype)
    if jnp.issubdtype(dtype, np.bool_):
        return constant_fill(bool(held))
    return constant_fill(value, nan_rows) if held == value else ANYTHING


def _absorb(name: str, states: Sequence[Fill | None], dtype: Any) -> Fill | None:
    """Zero times something finite, False and anything, True or anything, a select of equals."""
    values = [None if s is None else s.value for s in states]
    integral = not jnp.issubdtype(dtype, np.inexact)
    if name == "mul" and 0 in values:
        rest = [s for s, v in zip(states, values, strict=True) if v != 0]
        if integral or all(s is not None and s.finite for s in rest):
            nan_rows = any(s is not None and s.or_nan_row for s in states)
            return constant_fill(0 if integral else 0.0, nan_rows)
    boolean = jnp.issubdtype(dtype, np.bool_)
    if name == "and" and boolean and False in values:
        return constant_fill(False)
    if name == "or" and boolean and True in values:
        return constant_fill(True)
    if name == "select_n":
        return _select(states, values)
    return None


def _select(states: Sequence[Fill | None], values: Sequence[Any]) -> Fill | None:
    cases = states[1:]
    if values[0] is not None:
        chosen = cases[int(values[0])]
        # The true lanes of a row may come from another case, and then they are not all NaN.
        return None if chosen is None or chosen.or_nan_row else chosen
    strict = all(s is not None and s.value is not None and not s.or_nan_row for s in cases)
    return cases[0] if strict and len(set(values[1:])) == 1 else None


def _against_row_reduction(name: str, value: Padded, other: Padded, axis: int) -> Fill:
    """``x - max(x)`` keeps -inf, and ``x / sum(x)`` keeps 0, in the pad lanes of each row.

    With m the maximum of a row, -inf - m is -inf unless m is NaN or -inf, and then every true lane
    of the row gives NaN. With t the sum of a row of non-negative numbers, 0 / t is 0 unless t is
    NaN or 0, and then every true lane gives NaN, too. Integers have no NaN, and complex numbers no
    maximum.
    """
    row, fill = other.row, value.fill(axis)
    if not jnp.issubdtype(value.array.dtype, np.floating):
        return ANYTHING
    if row is None or not row.is_rows_of(value.array, axis):
        return ANYTHING
    if name == "sub" and row.kind == "max" and fill.is_known(-math.inf):
        return constant_fill(-math.inf, or_nan_row=True)
    if name == "div" and row.kind == "sum" and row.nonnegative and fill.is_known(0):
        return constant_fill(0.0, or_nan_row=True)
    return ANYTHING


def _unchanged_operand(name: str, operands: Sequence[Padded]) -> Padded | None:
    """The operand that the result equals in every lane, if there is one."""
    if name in COPIES:
        return operands[0]
    if name == "max" and operands[0].constant == -math.inf:
        return operands[1]
    if name == "max" and operands[1].constant == -math.inf:
        return operands[0]
    return None
