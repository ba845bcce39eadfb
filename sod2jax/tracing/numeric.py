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
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.ir import dims
from sod2jax.tracing import caps, domains, frames, hooks, host
from sod2jax.tracing.bound import Bound, NumberWanted, check_attribute, doubt, scope
from sod2jax.tracing.host import HostNumber
from sod2jax.tracing.recorder import busy, stale

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


class Numeric(Bound):
    """A Python number or a NumPy array that depends on symbolic sizes.

    Attributes:
      value: a traced array with NumPy's dtype; of weak type where it stands for a Python number.
      host: how the host computes it, if it is one number.
    """

    def __init__(self, value: Any, host: HostNumber | None = None):
        super().__init__()
        self.value, self.host = value, host

    @property
    def value(self) -> Any:
        """The traced array, in its own trace."""
        return self.current()._value

    @value.setter
    def value(self, new: Any) -> None:
        self._value = new

    def stands_for(self) -> type:
        """As NumPy has it: an array, a NumPy scalar, or a Python number."""
        if self._value.ndim:
            return np.ndarray
        weak = self._value.weak_type or self._value.dtype == bool
        return type(np.zeros((), self._value.dtype).item()) if weak else self._value.dtype.type

    def __jax_array__(self) -> Any:
        """The value as JAX takes a NumPy array or a Python number: 64 bits only if enabled."""
        dtype = jax.dtypes.canonicalize_dtype(self.value.dtype)
        with _as_numpy():
            return _compat.converted(self.value, dtype, self.value.weak_type)

    dimension_as_value = __jax_array__  # what a trace takes in its place

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self.current()
        doubt("the values of an array")
        raise TypeError("an array that depends on symbolic sizes has no values while tracing")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        if kwargs or method != "__call__":
            return NotImplemented
        result = applied(ufunc, inputs, ufunc, weak=False)
        if out is None:
            return result
        (target,) = out
        target.value, target.host = jnp.asarray(result.value, target.value.dtype), None
        return target

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        module = jnp
        for part in func.__module__.split(".")[1:]:
            module = getattr(module, part, module)
        return called(getattr(module, func.__name__), args, kwargs)

    def __getattr__(self, name: str) -> Any:
        check_attribute(name, self.stands_for(), hasattr(self.value, name), sys._getframe(1))
        attribute = getattr(self.value, name)
        if callable(attribute):
            return lambda *args, **kwargs: called(attribute, args, kwargs)
        return Numeric(attribute) if isinstance(attribute, jax.Array) else attribute

    def __getitem__(self, index: Any) -> Numeric:
        return called(lambda x, i: x[i], (self, index), {})

    def __setitem__(self, index: Any, new: Any) -> None:
        self.value = called(lambda x, i, y: x.at[i].set(y), (self, index, new), {}).value
        self.host = None

    def __iter__(self) -> Iterator[Numeric]:
        return (self[k] for k in range(operator.index(self.value.shape[0])))

    def __ceil__(self) -> Any:
        return whole(math.ceil, self)

    def __floor__(self) -> Any:
        return whole(math.floor, self)

    def __trunc__(self) -> Any:
        return whole(math.trunc, self)

    def __round__(self, digits: int | None = None) -> Any:
        if digits is not None:
            raise _unknown()
        return whole(round, self)

    def __bool__(self) -> bool:
        return bool(self._known())

    def __float__(self) -> float:
        return float(self._known())

    def __int__(self) -> int:
        return int(self._known())

    def __index__(self) -> int:
        return operator.index(self._known())

    def _known(self) -> Any:
        """The number, where all sizes of the trace's region make the same."""
        number = self.current().host
        known = None if number is None else host.constant(number, hooks.active().region)
        if known is None:
            raise _unknown(number)
        return known

    def __complex__(self) -> complex:
        raise _unknown()

    def __len__(self) -> int:
        raise _unknown()


_compat.register_host_array(Numeric)


def _unknown(number: HostNumber | None = None) -> TypeError:
    """The error of a number that has no value; somebody may catch it."""
    doubt("the value of a number")
    message = "a number that depends on symbolic sizes is not known while tracing"
    return NumberWanted(message, None if number is None else number.dims)


@contextlib.contextmanager
def _as_numpy() -> Iterator[None]:
    """JAX with NumPy's dtypes and broadcasting."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        yield


def in_dtype(number: Any, dtype: np.dtype) -> Any:
    """A number as an array of one of JAX's dtypes, converted from all its digits."""
    with _as_numpy():
        return _compat.converted(_value(number), dtype, False)


def is_numeric(value: Any) -> bool:
    """Whether a value is a symbolic size, or depends on one."""
    return isinstance(value, Numeric) or _compat.is_symbolic(value)


def operation(name: str, reflected: bool) -> Callable[[Any, Any], Any]:
    """An operator of Python on numbers of which one is ``Numeric``, or a size."""
    ufunc, python = {**_OPERATORS, **_COMPARISONS}[name], getattr(operator, f"__{name}__")

    def operate(a: Any, b: Any) -> Any:
        pair = (b, a) if reflected else (a, b)
        return applied(ufunc, pair, python, weak=True)

    return operate


def _unary(name: str) -> Callable[[Any], Any]:
    python = getattr(operator, f"__{name}__")
    return lambda a: applied(_UNARY[name], (a,), python, weak=True)


for _name in _OPERATORS:
    setattr(Numeric, f"__{_name}__", operation(_name, reflected=False))
    setattr(Numeric, f"__r{_name}__", operation(_name, reflected=True))
for _name in _COMPARISONS:
    setattr(Numeric, f"__{_name}__", operation(_name, reflected=False))
for _name in _UNARY:
    setattr(Numeric, f"__{_name}__", _unary(_name))


def applied(ufunc: np.ufunc, inputs: Any, on_host: Callable[..., Any], weak: bool) -> Any:
    """A ufunc with NumPy's promotion, or JAX's where an operand is a JAX array.

    Args:
      ufunc: the function.
      inputs: its operands.
      on_host: what the host calls with numbers in their place.
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
        result = _compat.converted(result, out, python and out.kind != "b")
        hosted = _hosted(on_host, inputs)
    if python:
        _doubt_domain(hosted)
    return Numeric(result, hosted)


def _doubt_domain(number: HostNumber | None) -> None:
    """Python's arithmetic has no result at some sizes, where that of JAX has one."""
    recorder = hooks.active()
    if number is None or recorder is None:
        return
    if not dims.symbols_in(list(number.dims)).isdisjoint(recorder.data_dependent):
        return  # such sizes may be 0 wherever they are divided by, and each run checks that
    with busy(recorder):
        if domains.may_fail(number, recorder.region):
            recorder.doubt(f"arithmetic that fails at some sizes, at {frames.users_line()}")


def _hosted(function: Callable[..., Any], operands: Sequence[Any]) -> HostNumber | None:
    """What the host computes, if its operands are sizes and numbers."""
    read = [x.current().host if isinstance(x, Numeric) else x for x in operands]
    return None if any(x is None for x in read) else HostNumber.of(function, read)


def whole(function: Callable[..., Any], *operands: Any) -> Any:
    """A Python integer computed from sizes, as a dimension.

    Raises:
      TypeError: no dimension is known to be that integer at all sizes of the trace.
    """
    number = _hosted(function, operands)
    dim = None if number is None else _dimension(number)
    if dim is None and number is not None and all(map(caps.capped, map(_symbolic, number.dims))):
        dim = _dimension(number)  # Python's own arithmetic says so, where sizes are bounded
    if dim is None:
        raise _unknown(number)
    return dim if isinstance(dim, int) else _symbolic(dim)


def _dimension(number: HostNumber) -> Any:
    with busy(hooks.active()):
        return host.dimension(number, hooks.active().region)


def _symbolic(dim: Any) -> Any:
    """A dimension as JAX has it."""
    return _compat.dimensions([dims.jax_text(dim)], hooks.active().scope)[0]


def kind(operand: Any) -> Any:
    """A number that JAX promotes as it does an operand; it has the value 1 for ``Numeric``."""
    if isinstance(operand, Numeric):
        return _one(operand.value)
    return 1 if _compat.is_symbolic(operand) else operand


def _one(value: Any) -> Any:
    """A one of NumPy's type, or of Python's, which NumPy promotes as JAX does weak types."""
    one = np.ones((), value.dtype)[()]
    return one.item() if value.weak_type else one


def _value(operand: Any) -> Any:
    """An operand as a traced array, of weak type for Python numbers and sizes."""
    if isinstance(operand, Numeric):
        return operand.value
    if _compat.is_symbolic(operand):
        if operand.scope is not scope():
            raise stale(f"the size '{operand}'", frames.users_line())
        weak = type(operand) is not _compat.NumPyDimension
        return _compat.converted(jnp.asarray(operand), np.dtype(np.int64), weak)
    return jnp.asarray(operand)


def called(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """One of JAX's functions on 64-bit values, for NumPy's, which takes nothing that is traced."""
    leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=lambda x: isinstance(x, Numeric))
    for traced in filter(_compat.is_unknown, leaves):
        doubt("NumPy's code on arrays")
        traced.__array__()
    with _as_numpy():
        leaves = [x.value if isinstance(x, Numeric) else x for x in leaves]
        args, kwargs = jax.tree.unflatten(tree, leaves)
        return jax.tree.map(_wrapped, function(*args, **kwargs))


def _wrapped(value: Any) -> Any:
    return Numeric(value) if isinstance(value, jax.Array) else value


def delivered(tree: Any) -> Any:
    """A tree with JAX arrays for the leaves that NumPy would have computed."""
    ours = (Numeric, _compat.NumPyDimension)
    return jax.tree.map(lambda x: x.__jax_array__() if isinstance(x, ours) else x, tree)


def number(
    function: Callable[..., Any], on_host: Callable[..., Any], operands: Sequence[Any]
) -> Numeric:
    """A Python float computed from sizes, as ``math.sqrt(n)`` is."""
    with _as_numpy():
        values = [jnp.asarray(_value(x), np.float64) for x in operands]
        result = _compat.converted(function(*values), np.dtype(np.float64), True)
    hosted = _hosted(on_host, operands)
    _doubt_domain(hosted)
    return Numeric(result, hosted)
