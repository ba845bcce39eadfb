"""Operators of Python, and methods of arrays, as functions of NumPy and of JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

ARITHMETIC = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.mod,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
BINARY = {**ARITHMETIC, **COMPARISONS}
UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}

# What is known of an array without its elements.
OF_AVALS = ("dtype", "ndim", "shape", "size")


def of_jax(function: Any) -> Callable[..., Any]:
    """JAX's function of the name of one of NumPy's."""
    module = jnp
    for name in function.__module__.split(".")[1:]:
        module = getattr(module, name, module)
    return getattr(module, function.__name__)


def method(name: str, array: Any, *args: Any, **kwargs: Any) -> Any:
    """What a method of an array gives."""
    return getattr(array, name)(*args, **kwargs)


def changed(x: Any, index: Any, new: Any) -> Any:
    """An array of JAX with other elements at an index."""
    return x.at[index].set(new)


def changed_on_host(x: Any, index: Any, new: Any) -> Any:
    """As ``changed``, of NumPy's."""
    x = x.copy()
    x[index] = new
    return x
