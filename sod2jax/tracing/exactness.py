"""What of NumPy's arithmetic on arrays made of sizes a program does exactly, with its integers.

All else the host computes: XLA rounds, and reorders, floats in ways of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from sod2jax import _compat
from sod2jax.tracing import hooks

# Functions that move elements, and make none of others.
_MOVES = frozenset(
    """
    array asarray broadcast_to concatenate copy empty expand_dims eye flatten flip full getitem
    identity moveaxis ones ravel repeat reshape setitem squeeze stack swapaxes T tile transpose tri
    tril triu where zeros
    """.split()
)
# Functions that are exact where all that they are given are integers.
_OF_INTEGERS = frozenset("all any arange cumsum indices max min sum".split())
_UFUNCS = frozenset(
    """
    absolute add bitwise_and bitwise_or bitwise_xor equal greater greater_equal invert less
    less_equal logical_and logical_not logical_or maximum minimum multiply negative not_equal
    positive subtract
    """.split()
)
_DIVISIONS = frozenset(("floor_divide", "remainder"))


def of_ufunc(ufunc: np.ufunc, inputs: Sequence[Any], values: Sequence[Any], out: Any) -> bool:
    """Whether a program has the values of a ufunc of arrays that it has.

    Args:
      ufunc: the function.
      inputs: its operands.
      values: their shapes and dtypes.
      out: the dtype of the result.
    """
    dtypes = (out, *(x.dtype for x in values))
    if not any(x.ndim for x in values) or any(dtype.kind not in "biu" for dtype in dtypes):
        return False
    name = ufunc.__name__
    return name in _UFUNCS or (name in _DIVISIONS and _is_divisor(inputs[-1]))


def _is_divisor(value: Any) -> bool:
    return isinstance(value, int | np.integer) and value != 0


def of_call(name: str, leaves: Sequence[Any], is_numeric: Any) -> bool:
    """Whether a program has the values of a function of NumPy, or a method of arrays.

    Args:
      name: of the function.
      leaves: what is in its arguments.
      is_numeric: whether one of them is a number or an array made of sizes.
    """
    values = [x.value if is_numeric(x) else x for x in leaves]
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in values):
        return False
    return name in _MOVES or (name in _OF_INTEGERS and all(map(_is_whole, values)))


def _is_whole(value: Any) -> bool:
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return value.dtype.kind in "biu"
    return isinstance(value, int) or _compat.is_symbolic(value)


@contextlib.contextmanager
def as_numpy() -> Iterator[None]:
    """JAX with NumPy's dtypes and broadcasting, outside of what the function transforms."""
    recorder = hooks.active()
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        stack.enter_context(jax.numpy_rank_promotion("allow"))
        if recorder is not None and not recorder.data_dependent:  # such sizes are made inside
            stack.enter_context(_compat.in_trace(recorder.outermost))
        yield


def is_array(value: Any) -> bool:
    """Whether a result is an array, or what is known of one."""
    return isinstance(value, jax.Array | jax.ShapeDtypeStruct)


def struct(value: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of an array, without its elements."""
    return jax.ShapeDtypeStruct(value.shape, value.dtype, weak_type=value.weak_type)


def computed(compute: Callable[..., Any], values: Sequence[Any], exact: bool) -> Any:
    """What JAX makes of arrays, or what is known of that; what is no array as it is."""
    if exact:
        return compute(*values)
    found: list[Any] = []

    def run(*values: Any) -> list[Any]:
        leaves, tree = jax.tree.flatten(compute(*values))
        found.extend((leaves, tree))
        return [x for x in leaves if is_array(x)]

    made = iter(jax.eval_shape(run, *map(struct, values)))
    leaves, tree = found
    return jax.tree.unflatten(tree, [next(made) if is_array(x) else x for x in leaves])


def is_traced(value: Any) -> bool:
    """Whether a program has the elements of an array."""
    return isinstance(value, jax.Array)


def promoted(ufunc: np.ufunc, operands: Sequence[Any], weak: bool) -> tuple[Any, Any, bool]:
    """What NumPy makes of a ufunc of operands of these dtypes.

    Args:
      ufunc: the function.
      operands: their shapes and dtypes.
      weak: whether Python numbers give a Python number, as operators do.

    Returns:
      (dtype, the dtype to compute in, whether the result is a Python number)
    """
    ones = [one(x) for x in operands]
    out = np.asarray(ufunc(*ones)).dtype
    common = np.result_type(*ones)
    work = common if out.kind == "b" or common.kind in "fc" else out
    return out, work, weak and not any(isinstance(x, np.generic) for x in ones)


def one(value: Any) -> Any:
    """A one of NumPy's type, or of Python's, which NumPy promotes as JAX does weak types."""
    number = np.ones((), value.dtype)[()]
    return number.item() if value.weak_type else number
