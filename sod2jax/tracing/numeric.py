"""What Python and NumPy compute from symbolic sizes, as values of the program.

``n ** -0.5``, ``math.sqrt(n)``, ``np.log(n)`` and ``np.arange(n)`` want a number where a trace has
a symbolic dimension. A ``Numeric`` stands for the result: it computes with the program's own sizes
in NumPy's dtypes (64 bits), and becomes what JAX makes of a Python number or a NumPy array as soon
as it meets one of JAX's: the same dtype, the same weak type.
"""

from __future__ import annotations

import contextlib
import math
import operator
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.tracing import frames, hooks
from sod2jax.tracing.hooks import Patch, while_tracing

# Functions of ``math``, and NumPy's functions of one number, that have the same name in JAX.
_MATH = "cbrt cos cosh exp exp2 expm1 log log10 log1p log2 pow sin sinh sqrt tan tanh"
_UFUNCS = "cbrt cos cosh exp exp2 expm1 log log10 log1p log2 reciprocal sin sinh sqrt tan tanh"
# NumPy's functions that make arrays from sizes.
_CREATION = "arange array asarray empty eye full identity indices linspace ones tri zeros"
_OPERATORS = {
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
_COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}


class Numeric:
    """A Python number or a NumPy array that depends on symbolic sizes.

    Attributes:
      value: a traced array with NumPy's dtype; of weak type where it stands for a Python number.
    """

    def __init__(self, value: Any):
        self.value = value

    def __jax_array__(self) -> Any:
        """The value as JAX takes a NumPy array or a Python number: 64 bits only if enabled."""
        dtype = jax.dtypes.canonicalize_dtype(self.value.dtype)
        with _as_numpy():
            return _compat.converted(self.value, dtype, self.value.weak_type)

    dimension_as_value = __jax_array__  # what a trace takes in its place

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        _doubt("the values of an array")
        raise TypeError("an array that depends on symbolic sizes has no values while tracing")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        if kwargs or method != "__call__":
            return NotImplemented
        result = _apply(ufunc, inputs, weak=False)
        if out is None:
            return result
        (target,) = out
        target.value = jnp.asarray(result.value, target.value.dtype)
        return target

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        module = jnp
        for part in func.__module__.split(".")[1:]:
            module = getattr(module, part, module)
        return _call(getattr(module, func.__name__), args, kwargs)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.value, name)
        if callable(attribute):
            return lambda *args, **kwargs: _call(attribute, args, kwargs)
        return Numeric(attribute) if isinstance(attribute, jax.Array) else attribute

    def __getitem__(self, index: Any) -> Numeric:
        return _call(lambda x, i: x[i], (self, index), {})

    def __setitem__(self, index: Any, new: Any) -> None:
        self.value = _call(lambda x, i, y: x.at[i].set(y), (self, index, new), {}).value

    def __iter__(self) -> Iterator[Numeric]:
        return (self[k] for k in range(operator.index(self.value.shape[0])))

    def __bool__(self) -> bool:
        _doubt("the value of a number")
        raise TypeError("a number that depends on symbolic sizes is not known while tracing")

    __float__ = __int__ = __index__ = __complex__ = __len__ = __bool__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


def _doubt(what: str) -> None:
    """Somebody may catch the error that follows; JAX itself does where it only tries."""
    recorder = hooks.active()
    if recorder is not None and not frames.is_jax(frames.asking()):
        recorder.doubt(f"{what} made of sizes, at {frames.users_line()}")


_compat.register_host_array(Numeric)


@contextlib.contextmanager
def _as_numpy() -> Iterator[None]:
    """JAX with NumPy's dtypes and broadcasting."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        yield


def _is_numeric(value: Any) -> bool:
    return isinstance(value, Numeric) or _compat.is_symbolic(value)


def _operator(ufunc: np.ufunc, reflected: bool) -> Callable[[Any, Any], Any]:
    def operate(a: Any, b: Any) -> Any:
        pair = (b, a) if reflected else (a, b)
        return _apply(ufunc, pair, weak=True)

    return operate


for _name, _ufunc in _OPERATORS.items():
    setattr(Numeric, f"__{_name}__", _operator(_ufunc, reflected=False))
    setattr(Numeric, f"__r{_name}__", _operator(_ufunc, reflected=True))
for _name, _ufunc in _COMPARISONS.items():
    setattr(Numeric, f"__{_name}__", _operator(_ufunc, reflected=False))
for _name, _ufunc in _UNARY.items():
    setattr(Numeric, f"__{_name}__", lambda a, f=_ufunc: _apply(f, (a,), weak=True))


def _apply(ufunc: np.ufunc, inputs: Any, weak: bool) -> Any:
    """A ufunc with NumPy's promotion, or JAX's where an operand is a JAX array.

    Args:
      ufunc: the function.
      inputs: its operands.
      weak: whether Python numbers give a Python number, as operators do.
    """
    function = getattr(jnp, ufunc.__name__)
    if any(isinstance(x, jax.Array) for x in inputs):
        return function(*(x.__jax_array__() if isinstance(x, Numeric) else x for x in inputs))
    with _as_numpy():
        values = [_value(x) for x in inputs]
        ones = [_one(v) for v in values]
        python = weak and not any(isinstance(one, np.generic) for one in ones)
        out = np.asarray(ufunc(*ones)).dtype
        common = np.result_type(*ones)
        work = common if out.kind == "b" or common.kind in "fc" else out
        result = jnp.asarray(function(*(jnp.asarray(v, work) for v in values)), out)
        return Numeric(_compat.converted(result, out, python and out.kind != "b"))


def _one(value: Any) -> Any:
    """A one of NumPy's type, or of Python's, which NumPy promotes as JAX does weak types."""
    one = np.ones((), value.dtype)[()]
    return one.item() if value.weak_type else one


def _value(operand: Any) -> Any:
    """An operand as a traced array, of weak type for Python numbers and sizes."""
    if isinstance(operand, Numeric):
        return operand.value
    if _compat.is_symbolic(operand):
        value = jnp.asarray(operand)
        return _compat.converted(value, np.dtype(np.int64), True)
    return jnp.asarray(operand)


def _call(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """One of JAX's functions on 64-bit values; plain JAX as soon as an argument is JAX's own."""
    leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=lambda x: isinstance(x, Numeric))
    if any(isinstance(x, jax.Array) for x in leaves):
        leaves = [x.__jax_array__() if isinstance(x, Numeric) else x for x in leaves]
        args, kwargs = jax.tree.unflatten(tree, leaves)
        return function(*args, **kwargs)
    with _as_numpy():
        leaves = [x.value if isinstance(x, Numeric) else x for x in leaves]
        args, kwargs = jax.tree.unflatten(tree, leaves)
        return jax.tree.map(_wrapped, function(*args, **kwargs))


def _wrapped(value: Any) -> Any:
    return Numeric(value) if isinstance(value, jax.Array) else value


def delivered(tree: Any) -> Any:
    """A tree with JAX arrays for the ``Numeric`` leaves."""
    return jax.tree.map(lambda x: x.__jax_array__() if isinstance(x, Numeric) else x, tree)


def number(function: Callable[..., Any], *operands: Any) -> Numeric:
    """A Python float computed from sizes, as ``math.sqrt(n)`` is."""
    with _as_numpy():
        values = [jnp.asarray(_value(x), np.float64) for x in operands]
        return Numeric(_compat.converted(function(*values), np.dtype(np.float64), True))


def _ufunc_method(name: str) -> Callable[[Any], Numeric]:
    return lambda dim: _apply(getattr(np, name), (dim,), weak=False)


# What NumPy calls for a ufunc on an object: ``np.sqrt(n)`` calls ``n.sqrt()``.
UFUNC_METHODS = {name: _ufunc_method(name) for name in _UFUNCS.split()}


def _dimension_operator(name: str, operate: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def method(original: Callable[..., Any], dim: Any, other: Any) -> Any:
        real = isinstance(other, (float, np.floating, Numeric))
        exact = isinstance(other, (int, np.integer)) or _compat.is_symbolic(other)
        negative_power = name == "__pow__" and isinstance(other, int) and other < 0
        if real or negative_power or (exact and "truediv" in name):
            return operate(dim, float(other) if negative_power else other)
        return original(dim, other)

    return method


# Arithmetic of sizes that leaves the integers: ``n / 2``, ``n * 0.5``, ``n ** -1``.
OPERATORS = {
    f"__{r}{name}__": _dimension_operator(f"__{r}{name}__", _operator(_OPERATORS[name], bool(r)))
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
    for r in ("", "r")
}


# Functions of other modules, replaced while a trace of ours runs.


def _logarithm(x: Any, base: Any = None) -> Any:
    return jnp.log(x) if base is None else jnp.log(x) / jnp.log(base)


def _math_function(name: str) -> Callable[..., Any]:
    ours = _logarithm if name == "log" else getattr(jnp, name)

    def call(original: Callable[..., Any], *operands: Any) -> Any:
        if not any(map(_is_numeric, operands)):
            return original(*operands)
        return number(ours, *operands)

    return call


def _creation_function(name: str) -> Callable[..., Any]:
    def call(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(2).f_globals.get("__name__", "").partition(".")[0]
        leaves = jax.tree.leaves((args, kwargs), is_leaf=lambda x: isinstance(x, Numeric))
        # An array of sizes, as a shape is, stays one of Python objects.
        ours = _is_numeric if name not in ("array", "asarray") else lambda x: type(x) is Numeric
        if caller in ("jax", "numpy") or not any(map(ours, leaves)):
            return original(*args, **kwargs)
        return _call(getattr(jnp, name), args, kwargs)

    return call


# Only calls with a symbolic size among the arguments are affected, and among NumPy's only those
# from outside JAX and NumPy.
PATCHES = (
    *(Patch(math, name, while_tracing(_math_function(name))) for name in _MATH.split()),
    *(Patch(np, name, while_tracing(_creation_function(name))) for name in _CREATION.split()),
)
