"""What Python and NumPy compute from symbolic sizes, as values of the program.

``n ** -0.5``, ``math.sqrt(n)``, ``np.log(n)`` and ``np.arange(n)`` want a number where a trace has
a symbolic dimension. A ``Numeric`` stands for the result. As soon as it meets one of JAX's arrays
it becomes what JAX makes of a Python number or a NumPy array, of the same dtype and weak type: an
input of the program, which the host computes for the sizes of each call as Python does. Arrays of
integers that need no arithmetic of floats, as ``np.arange(n)``, are computed by the program.
"""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.tracing import domains, exactness, hooks, host, host_values, operators
from sod2jax.tracing.bound import Bound, check_attribute, check_scope, doubt, unknown
from sod2jax.tracing.host_numbers import HostNumber, part


class Numeric(Bound):
    """A Python number or a NumPy array that depends on symbolic sizes.

    Attributes:
      value: a traced array with NumPy's dtype, if the program computes it exactly; else its shape
        and dtype. Of weak type where it stands for a Python number.
      host: how the host computes it.
    """

    def __init__(self, value: Any, host: HostNumber):
        super().__init__()
        self.value, self.host = value, host

    @property
    def value(self) -> Any:
        """The traced array, or its shape and dtype, in its own trace."""
        return self.current()._value

    @value.setter
    def value(self, new: Any) -> None:
        self._value = new

    @property
    def is_traced(self) -> bool:
        """Whether it is an array that the program computes."""
        return bool(self.value.ndim) and exactness.is_traced(self.value)

    def stands_for(self) -> type:
        """As NumPy has it: an array, a NumPy scalar, or a Python number."""
        if self._value.ndim:
            return np.ndarray
        weak = self._value.weak_type or self._value.dtype == bool
        return type(np.zeros((), self._value.dtype).item()) if weak else self._value.dtype.type

    def __jax_array__(self) -> Any:
        """The value as JAX takes a NumPy array or a Python number: 64 bits only if enabled."""
        dtype = jax.dtypes.canonicalize_dtype(self.value.dtype)
        if self.is_traced:
            with exactness.as_numpy():
                return _compat.converted(self.value, dtype, self.value.weak_type)
        return _from_host(self, dtype, self.value.weak_type, jnp.asarray)

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
        cast = result.astype(target.value.dtype)
        target.value, target.host = cast.value, cast.host
        return target

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return called(operators.of_jax(func), args, kwargs, func, func.__name__)

    def __getattr__(self, name: str) -> Any:
        self.current()
        check_attribute(name, self.stands_for(), hasattr(jax.Array, name), sys._getframe(1))
        if name in operators.OF_AVALS:
            return getattr(self.value, name)
        if callable(getattr(jax.Array, name)):
            method = functools.partial(operators.method, name)
            return lambda *args, **kwargs: called(method, (self, *args), kwargs, name=name)
        return called(operator.attrgetter(name), (self,), {}, name=name)

    def __getitem__(self, index: Any) -> Numeric:
        return called(operator.getitem, (self, index), {}, name="getitem")

    def __setitem__(self, index: Any, new: Any) -> None:
        args = self, index, new
        result = called(operators.changed, args, {}, operators.changed_on_host, "setitem")
        self.value, self.host = result.value, result.host

    def __iter__(self) -> Iterator[Numeric]:
        return (self[k] for k in range(operator.index(self.value.shape[0])))

    def __ceil__(self) -> Any:
        return whole(math.ceil, self)

    def __floor__(self) -> Any:
        return whole(math.floor, self)

    def __trunc__(self) -> Any:
        return whole(math.trunc, self)

    def __round__(self, digits: int | None = None) -> Any:
        if digits is None:
            return whole(round, self)
        return Numeric(exactness.struct(self.value), HostNumber.of(round, (self.host, digits)))

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return other // self, other % self

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
        number, recorder = self.current().host, hooks.active()
        if self._value.ndim or recorder is None:
            raise unknown()
        known = host.constant(number, recorder.region)
        if known is None:
            raise unknown(number.dims)
        return known

    def __complex__(self) -> complex:
        raise unknown()

    def __len__(self) -> int:
        raise unknown()


_compat.register_host_array(Numeric)


def in_dtype(number: Any, dtype: np.dtype) -> Any:
    """A number as an array of one of JAX's dtypes, converted from all its digits."""
    if isinstance(number, Numeric) and not number.is_traced:
        convert = functools.partial(jax.lax.convert_element_type, new_dtype=dtype)
        return _from_host(number, dtype, False, convert)
    with exactness.as_numpy():
        return _compat.converted(_value(number), dtype, False)


def _from_host(number: Numeric, dtype: Any, weak_type: bool, convert: Callable[..., Any]) -> Any:
    value, kind = number.value, number.stands_for()
    kind = value.dtype if issubclass(kind, np.generic | np.ndarray) else kind
    aval = jax.ShapeDtypeStruct(value.shape, dtype, weak_type=weak_type)
    return host_values.as_input(number.host, kind, convert, aval, number.line)


def is_numeric(value: Any) -> bool:
    """Whether a value is a symbolic size, or depends on one."""
    return isinstance(value, Numeric) or _compat.is_symbolic(value)


def operation(name: str, reflected: bool) -> Callable[[Any, Any], Any]:
    """An operator of Python on numbers of which one is ``Numeric``, or a size."""
    ufunc, python = operators.BINARY[name], getattr(operator, f"__{name}__")

    def operate(a: Any, b: Any) -> Any:
        pair = (b, a) if reflected else (a, b)
        return applied(ufunc, pair, python, weak=True)

    return operate


def _unary(name: str) -> Callable[[Any], Any]:
    python = getattr(operator, f"__{name}__")
    return lambda a: applied(operators.UNARY[name], (a,), python, weak=True)


for _name in operators.BINARY:
    setattr(Numeric, f"__{_name}__", operation(_name, reflected=False))
    if _name in operators.ARITHMETIC:
        setattr(Numeric, f"__r{_name}__", operation(_name, reflected=True))
for _name in operators.UNARY:
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
    hosted = _hosted(on_host, inputs)
    structs = list(map(_struct, inputs))
    out, work, python = exactness.promoted(ufunc, structs, weak)

    def compute(*values: Any) -> Any:
        result = jnp.asarray(function(*(jnp.asarray(v, work) for v in values)), out)
        return _compat.converted(result, out, python and out.kind != "b")

    traced = not any(isinstance(x, Numeric) and not exactness.is_traced(x.value) for x in inputs)
    exact = traced and exactness.of_ufunc(ufunc, inputs, structs, out)
    with exactness.as_numpy():
        values = list(map(_value, inputs)) if exact else structs
        result = exactness.computed(compute, values, exact)
    if python:
        domains.doubted(hosted)
    return Numeric(result, hosted)


def _struct(operand: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of an operand, without its elements."""
    if not _compat.is_symbolic(operand):
        with exactness.as_numpy():
            return exactness.struct(_value(operand))
    weak = type(operand) is not _compat.NumPyDimension
    return jax.ShapeDtypeStruct((), np.int64, weak_type=weak)


def _hosted(function: Callable[..., Any], operands: Sequence[Any]) -> HostNumber:
    """What the host computes."""
    for dim in filter(_compat.is_symbolic, operands):
        check_scope(dim)
    read = [x.current().host if isinstance(x, Numeric) else x for x in operands]
    return HostNumber.of(function, read)


def whole(function: Callable[..., Any], *operands: Any) -> Any:
    """A Python integer computed from sizes, as a dimension.

    Raises:
      TypeError: no dimension is known to be that integer at all sizes of the trace.
    """
    if any(isinstance(x, Numeric) and x.value.ndim for x in operands):
        raise unknown()
    number = _hosted(function, operands)
    dim = host.whole(number, hooks.active())
    if dim is None:
        raise unknown(number.dims)
    return dim


def kind(operand: Any) -> Any:
    """A number that JAX promotes as it does an operand; it has the value 1 for ``Numeric``."""
    if isinstance(operand, Numeric):
        return exactness.one(operand.value)
    return 1 if _compat.is_symbolic(operand) else operand


def _value(operand: Any) -> Any:
    """An operand as a traced array, of weak type for Python numbers and sizes."""
    if isinstance(operand, Numeric):
        return operand.value
    if _compat.is_symbolic(operand):
        check_scope(operand)
        weak = type(operand) is not _compat.NumPyDimension
        return _compat.converted(jnp.asarray(operand), np.dtype(np.int64), weak)
    return jnp.asarray(operand)


def called(
    function: Callable[..., Any],
    args: Any,
    kwargs: Any,
    on_host: Callable[..., Any] | None = None,
    name: str = "",
) -> Any:
    """What NumPy's function makes of numbers, which takes nothing that is traced.

    Args:
      function: JAX's own, to be run on 64-bit values.
      args: of the call.
      kwargs: of the call.
      on_host: NumPy's function; by default ``function`` is that, too.
      name: of the function, or of a method.
    """
    leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=lambda x: isinstance(x, Numeric))
    for traced in filter(_compat.is_unknown, leaves):
        doubt("NumPy's code on arrays")
        traced.__array__()
    places = [k for k, x in enumerate(leaves) if isinstance(x, Numeric)]

    def compute(*values: Any) -> Any:
        filled = list(leaves)
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        args, kwargs = jax.tree.unflatten(tree, filled)
        return function(*args, **kwargs)

    hosts = [x.current().host if isinstance(x, Numeric) else x for x in leaves]
    hosted = HostNumber.of_call(on_host or function, *jax.tree.unflatten(tree, hosts))
    exact = exactness.of_call(name, leaves, lambda x: isinstance(x, Numeric))
    with exactness.as_numpy():
        result = exactness.computed(compute, [leaves[k].value for k in places], exact)
    found, tree = jax.tree.flatten(result)
    whole = jax.tree.structure(0) == tree
    return jax.tree.unflatten(
        tree,
        [
            Numeric(x, hosted if whole else part(hosted, k)) if exactness.is_array(x) else x
            for k, x in enumerate(found)
        ],
    )


def delivered(tree: Any) -> Any:
    """A tree with JAX arrays for the leaves that NumPy would have computed."""
    ours = (Numeric, _compat.NumPyDimension)
    return jax.tree.map(lambda x: x.__jax_array__() if isinstance(x, ours) else x, tree)


def number(on_host: Callable[..., Any], operands: Sequence[Any]) -> Numeric:
    """A Python float computed from sizes, as ``math.sqrt(n)`` is."""
    hosted = _hosted(on_host, operands)
    domains.doubted(hosted)
    return Numeric(jax.ShapeDtypeStruct((), np.float64, weak_type=True), hosted)
