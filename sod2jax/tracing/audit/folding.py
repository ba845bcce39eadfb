"""What depends on sizes only, evaluated by NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sod2jax.tracing.audit.moves import MOVES

_SAME_NAME = """
    abs add ceil cos cosh exp exp2 expm1 floor log log1p sign sin sinh sqrt cbrt square tan tanh
"""
_UFUNCS: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in _SAME_NAME.split()},
    "and": np.bitwise_and,
    "div": lambda x, y: np.trunc(x / y) if x.dtype.kind in "iu" else x / y,
    "eq": np.equal,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "not": np.invert,
    "or": np.bitwise_or,
    "pow": np.power,
    "rem": np.fmod,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sub": np.subtract,
    "xor": np.bitwise_xor,
}


def evaluated(
    name: str, params: Mapping[str, Any], operands: Sequence[Any], shape: Sequence[int], dtype: Any
) -> np.ndarray | None:
    """The result of an equation on known operands; None for primitives that this leaves out.

    Args:
      name: of the primitive.
      params: its parameters, with sizes for dimensions.
      operands: the elements of each.
      shape: of the result.
      dtype: of the result.
    """
    with np.errstate(all="ignore"):
        value = _value(name, params, operands, tuple(shape))
        return None if value is None else np.broadcast_to(value, shape).astype(dtype)


def _value(name: str, params: Mapping[str, Any], xs: Sequence[Any], shape: tuple[int, ...]) -> Any:
    if name in _UFUNCS:
        return _UFUNCS[name](*xs)
    if name in MOVES and name != "pad":
        return MOVES[name](xs[0], params, shape)
    match name:
        case "dim_as_value":
            return params["dim"]
        case "convert_element_type":
            return xs[0]
        case "integer_pow":
            return xs[0] ** params["y"] if params["y"] >= 0 else 1 / xs[0] ** -params["y"]
        case "iota":
            axis = params["dimension"]
            line = np.arange(shape[axis])
            return line.reshape([-1 if k == axis else 1 for k in range(len(shape))])
        case "select_n" if len(xs) == 3:
            return np.where(xs[0], xs[2], xs[1])
        case "clamp":
            return np.minimum(np.maximum(xs[1], xs[0]), xs[2])
        case "concatenate":
            return np.concatenate(xs, params["dimension"])
    return None
