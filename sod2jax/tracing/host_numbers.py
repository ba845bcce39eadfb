"""Numbers and arrays that Python and NumPy compute from sizes, as expressions."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import sympy

from sod2jax import _compat
from sod2jax.ir import dims

_SCALARS = (int, float, np.integer, np.floating)
# Functions that give numbers of 0 or more for such numbers.
_KEEP_SIGN = frozenset(
    {
        *(abs, float, int, max, min, math.ceil, math.exp, math.floor, math.sqrt),
        *(operator.add, operator.floordiv, operator.mul, operator.pow, operator.truediv),
        *(np.add, np.float32, np.float64, np.int32, np.int64, np.maximum, np.minimum, np.multiply),
        *(np.ceil, np.exp, np.floor, np.floor_divide, np.power, np.sqrt, np.true_divide),
    }
)


@dataclasses.dataclass(frozen=True, eq=False)
class HostNumber:
    """A number, or an array, that Python or NumPy computes from sizes.

    Attributes:
      function: of Python, ``math`` or NumPy.
      operands: numbers, dimensions, and others like this.
    """

    function: Callable[..., Any]
    operands: tuple[Any, ...]

    @classmethod
    def of(cls, function: Callable[..., Any], operands: Sequence[Any]) -> HostNumber:
        """What a function makes of operands: sizes, numbers, others like this, and anything."""
        read = tuple(map(_operand, operands))
        if all(isinstance(x, (*_SCALARS, sympy.Expr, HostNumber)) for x in read):
            return cls(function, read)
        return cls.of_call(function, tuple(operands), {})

    @classmethod
    def of_call(cls, function: Callable[..., Any], args: Any, kwargs: Any) -> HostNumber:
        """What a call gives whose arguments are trees that hold sizes, or others like this."""
        leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=lambda x: x is None)
        read = [_operand(x) for x in leaves]
        places = [k for k, x in enumerate(read) if isinstance(x, sympy.Expr | HostNumber)]
        return cls(_Call(function, tree, read, places), tuple(read[k] for k in places))

    @functools.cached_property
    def key(self) -> Any:
        """Equal for what is computed in the same way; ``1`` and ``1.0`` are not the same."""
        parts = [x.key if isinstance(x, HostNumber) else (type(x), repr(x)) for x in self.operands]
        return (self.function, *parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HostNumber) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def dims(self) -> frozenset[Any]:
        """The dimensions that it is computed from."""
        parts = [x.dims if isinstance(x, HostNumber) else {x} for x in self.operands]
        return frozenset(d for part in parts for d in part if isinstance(d, sympy.Expr))

    @functools.cached_property
    def is_never_negative(self) -> bool:
        """Whether it is made of sizes and numbers of 0 and more by what keeps them so."""
        keeps = isinstance(self.function, Hashable) and self.function in _KEEP_SIGN
        return keeps and all(map(_is_never_negative, self.operands))

    def with_dim(self, dim: Any, other: Any) -> HostNumber:
        """The number made of another dimension in the place of one."""
        operands = tuple(
            x.with_dim(dim, other) if isinstance(x, HostNumber) else other if x == dim else x
            for x in self.operands
        )
        return HostNumber(self.function, operands)

    def at(self, values: Mapping[Any, int]) -> Any:
        """The number where its dimensions have these values."""
        return self._at(values, {})

    def _at(self, values: Mapping[Any, int], known: dict[int, Any]) -> Any:
        if id(self) not in known:
            operands = [
                x._at(values, known) if isinstance(x, HostNumber) else values.get(x, x)
                for x in self.operands
            ]
            known[id(self)] = self.function(*operands)
        return known[id(self)]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class _Call:
    """A function of what varies among its arguments.

    Attributes:
      function: is called.
      tree: of its arguments.
      leaves: these, where they do not vary.
      places: where they do.
    """

    function: Callable[..., Any]
    tree: Any
    leaves: Sequence[Any]
    places: Sequence[int]

    def __call__(self, *operands: Any) -> Any:
        leaves = list(self.leaves)
        for place, operand in zip(self.places, operands, strict=True):
            leaves[place] = operand
        args, kwargs = jax.tree.unflatten(self.tree, leaves)
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"_Call({self.function})"


def _operand(value: Any) -> Any:
    if not _compat.is_symbolic(value):
        return value
    size = dims.from_jax(value)
    return HostNumber(np.int64, (size,)) if type(value) is _compat.NumPyDimension else size


def _is_never_negative(operand: Any) -> bool:
    if isinstance(operand, HostNumber):
        return operand.is_never_negative
    if isinstance(operand, sympy.Expr):
        parts = operand.args
        return (
            operand.is_Symbol
            or bool(operand.is_nonnegative)
            or (bool(parts) and all(map(_is_never_negative, parts)))
        )
    return isinstance(operand, _SCALARS) and bool(operand >= 0)


def part(number: HostNumber, k: int) -> HostNumber:
    """One of the leaves of the tree that a number is."""
    return HostNumber(lambda tree: jax.tree.leaves(tree)[k], (number,))
