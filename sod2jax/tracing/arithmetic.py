"""Arithmetic and functions of Python and NumPy on sizes, as they are while a trace of ours runs."""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax.tracing import callers, hooks, size_arrays
from sod2jax.tracing.hooks import Patch, while_tracing
from sod2jax.tracing.numeric import (
    Numeric,
    applied,
    called,
    in_dtype,
    is_numeric,
    number,
    operation,
    whole,
)

# Functions of ``math`` that give floats, and NumPy's functions of one number.
_MATH = (
    "asinh atan atan2 cbrt copysign cos cosh degrees erf erfc exp exp2 expm1 fabs fmod hypot log "
    "log10 log1p log2 pow radians sin sinh sqrt tan tanh"
)
_INTEGERS = "comb gcd isqrt lcm perm"
_UFUNCS = "cbrt cos cosh exp exp2 expm1 log log10 log1p log2 reciprocal sin sinh sqrt tan tanh"
# NumPy's functions that make arrays from sizes.
_CREATION = (
    "arange array asarray broadcast_to empty eye full identity indices linspace ones repeat tile "
    "tri zeros"
)
# NumPy's functions that make an array of their first argument, but those above.
_OF_ARRAYS = "cumprod cumsum diff max mean min prod sort sum"


def _ufunc_method(name: str) -> Callable[[Any], Numeric]:
    ufunc = getattr(np, name)
    return lambda dim: applied(ufunc, (dim,), ufunc, weak=False)


# Methods of sizes: NumPy calls one for a ufunc on an object, as ``n.sqrt()`` for ``np.sqrt(n)``.
METHODS: dict[str, Callable[[Any], Any]] = {name: _ufunc_method(name) for name in _UFUNCS.split()}
METHODS["bit_length"] = functools.partial(whole, int.bit_length)


def _dimension_operator(name: str, reflected: bool) -> Callable[..., Any]:
    operate = operation(name, reflected)

    def method(original: Callable[..., Any], dim: Any, other: Any) -> Any:
        real = isinstance(other, (float, np.floating, Numeric)) or _is_array(other)
        exact = isinstance(other, (int, np.integer)) or _compat.is_symbolic(other)
        if name == "pow" and exact and (reflected or _compat.is_symbolic(other)):
            return _power(original, dim, other, reflected)
        negative_power = name == "pow" and isinstance(other, int) and other < 0
        if real or negative_power or (exact and name == "truediv"):
            return operate(dim, float(other) if negative_power else other)
        return original(dim, other)

    return method


def _is_array(value: Any) -> bool:
    """Whether it is one of NumPy's, of numbers: its arithmetic has 64 bits, unlike JAX's."""
    return isinstance(value, np.ndarray) and value.dtype != object


def _power(original: Callable[..., Any], dim: Any, other: Any, reflected: bool) -> Any:
    """A power with a size in the exponent: a dimension if one is known, else a value."""
    try:
        return whole(operator.pow, *((other, dim) if reflected else (dim, other)))
    except TypeError:
        return original(dim, other)


def _bits(name: str, reflected: bool) -> Callable[[Any], Any]:
    function = getattr(operator, f"__{name}__")

    def method(dim: Any, other: Any) -> Any:
        if hooks.active() is None or not isinstance(other, int | np.integer | _compat.Dimension):
            return NotImplemented
        if _compat.is_symbolic(other):
            return whole(function, *((other, dim) if reflected else (dim, other)))
        if (reflected and "shift" in name) or other < 0:
            return whole(function, *((other, dim) if reflected else (dim, other)))
        if name == "and" and other & (other + 1) == 0:
            return dim % (other + 1)
        shifts = {"lshift": operator.mul, "rshift": operator.floordiv}
        return shifts[name](dim, 1 << other) if name in shifts else whole(function, dim, other)

    return lambda _: method


# Arithmetic of the bits of sizes, which JAX's dimensions lack.
BITS = {
    f"__{r}{name}__": _bits(name, bool(r))
    for name in ("and", "lshift", "or", "rshift", "xor")
    for r in ("", "r")
}
BITS["__invert__"] = lambda _: lambda dim: -dim - 1

# Arithmetic of sizes that leaves the integers: ``n / 2``, ``n * 0.5``, ``n ** -1``.
OPERATORS = {
    f"__{r}{name}__": _dimension_operator(name, bool(r))
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
    for r in ("", "r")
}


# Functions of other modules, replaced while a trace of ours runs.


def _math_function(original: Callable[..., Any], *operands: Any) -> Any:
    known = not any(map(is_numeric, operands))
    return original(*operands) if known else number(original, operands)


def _integer_function(name: str) -> Callable[..., Any]:
    def call(original: Callable[..., Any], *operands: Any) -> Any:
        known = not any(map(_compat.is_symbolic, operands))
        return original(*operands) if known else whole(original, *operands)

    return call


def _creation_function(name: str) -> Callable[..., Any]:
    def call(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        leaves = jax.tree.leaves((args, kwargs), is_leaf=lambda x: isinstance(x, Numeric))
        # An array of sizes, as a shape is, stays one of Python objects.
        ours = is_numeric if name not in ("array", "asarray") else lambda x: type(x) is Numeric
        if not any(map(ours, leaves)):
            return array_of_sizes(original, *args, **kwargs)
        caller = sys._getframe(2)
        package = caller.f_globals.get("__name__", "").partition(".")[0]
        if package in ("jax", "numpy") or not callers.calls(caller, original):
            return original(*args, **kwargs)
        return called(getattr(jnp, name), args, kwargs, original, name)

    return call


def array_of_sizes(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Sizes become NumPy's integers where they become elements of one of its arrays."""
    first = args[0] if args else None
    if not isinstance(first, list | tuple) or not any(map(_compat.is_symbolic, first)):
        return size_arrays.seen(original(*args, **kwargs))
    array = np.empty(len(first), object)
    array[:] = list(map(_compat.as_numpy, first))
    return size_arrays.seen(original(array, *args[1:], **kwargs))


def _in_dtype(place: int) -> Callable[..., Any]:
    """Makes arrays of a number; its digits are cut by the dtype, before JAX makes it shorter."""

    def call(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        dtype = kwargs.get("dtype", args[place] if len(args) > place else None)
        if dtype is None or not any(type(x) is Numeric for x in (*args, *kwargs.values())):
            return original(*args, **kwargs)
        wanted = np.dtype(jax.dtypes.canonicalize_dtype(dtype))
        args = tuple(in_dtype(x, wanted) if type(x) is Numeric else x for x in args)
        kwargs = {k: in_dtype(x, wanted) if type(x) is Numeric else x for k, x in kwargs.items()}
        return original(*args, **kwargs)

    return call


# Only calls with a symbolic size among the arguments are affected, and among NumPy's only those
# that Python code outside of JAX and NumPy makes.
PATCHES = (
    *(Patch(math, name, while_tracing(_math_function)) for name in _MATH.split()),
    *(Patch(math, name, while_tracing(_integer_function(name))) for name in _INTEGERS.split()),
    *(Patch(np, name, while_tracing(_creation_function(name))) for name in _CREATION.split()),
    *(Patch(np, name, while_tracing(array_of_sizes)) for name in _OF_ARRAYS.split()),
    *(Patch(jnp, name, while_tracing(_in_dtype(1))) for name in ("array", "asarray")),
    *(Patch(module, "full", while_tracing(_in_dtype(2))) for module in (jnp, lax)),
    *(Patch(module, "full_like", while_tracing(_in_dtype(2))) for module in (jnp, lax)),
)
