"""Functions that keep some elements of an array."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.numpy import _base
from sod2jax.numpy._base import like_numpy
from sod2jax.tracing import data_dependent


@like_numpy
def flatnonzero(a: Any) -> Any:
    """Positions of the elements that are not zero, in the flattened array, ascending.

    As ``numpy.flatnonzero``. NaN is not zero, -0.0 is.

    Args:
      a: any shape and dtype.

    Returns:
      int32[count], count <= a.size.

    Raises:
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    return _base.flat_places(jnp.asarray(a)).astype(_base.index_dtype())


@like_numpy
def nonzero(a: Any) -> tuple[Any, ...]:
    """Indices of the elements that are not zero, one array for each axis, in row-major order.

    As ``numpy.nonzero``.

    Args:
      a: of rank 1 or more, of any dtype.

    Returns:
      a.ndim arrays int32[count], count <= a.size.

    Raises:
      ValueError: ``a`` is a scalar.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    a = jnp.asarray(a)
    if a.ndim == 0:
        raise ValueError(
            "Calling nonzero on 0d arrays is not allowed. Use "
            "np.atleast_1d(scalar).nonzero() instead."
        )
    indices = _unravelled(_base.flat_places(a), a.shape)
    return tuple(index.astype(_base.index_dtype()) for index in indices)


@like_numpy
def argwhere(a: Any) -> Any:
    """Indices of the elements that are not zero, one row for each, in row-major order.

    As ``numpy.argwhere``.

    Args:
      a: any shape and dtype.

    Returns:
      int32[count, a.ndim], count <= a.size.

    Raises:
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    a = jnp.asarray(a)
    flat = _base.flat_places(a)
    if a.ndim == 0:
        return jnp.zeros((flat.shape[0], 0), _base.index_dtype())
    return jnp.stack(_unravelled(flat, a.shape), axis=1).astype(_base.index_dtype())


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """``where(condition)`` is ``nonzero(condition)``; with x and y it is ``jax.numpy.where``.

    As ``numpy.where``.

    Args:
      condition: any shape.
      x: what to take where the condition is not zero; broadcasts with it and with ``y``.
      y: what to take elsewhere.

    Returns:
      With x and y an array of the broadcast shape; else a tuple, see ``nonzero``.

    Raises:
      ValueError: one of x and y is given without the other.
      DataDependentSizeError: with one argument, under a trace that is not an optimized function's.
    """
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    return (jnp if any(map(_base.is_jax, (condition, x, y))) else np).where(condition, x, y)


@like_numpy
def compress(condition: Any, a: Any, axis: int | None = None) -> Any:
    """The slices of an array along an axis where a condition is true.

    As ``numpy.compress``.

    Args:
      condition: bool[k]; what it does not reach is left out. k is the size of the axis at most.
      a: any shape and dtype.
      axis: by default the array is flattened.

    Returns:
      ``a`` with ``count`` in place of the axis' size.

    Raises:
      ValueError: the condition is not of rank 1.
      IndexError: the condition is longer than the axis.
      AxisError: there is no such axis.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    condition, a = jnp.asarray(condition), jnp.asarray(a)
    if condition.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    if axis is None:
        a, axis = jnp.ravel(a), 0
    axis = _base.axis_of(axis, a.ndim)
    if condition.shape[0] > a.shape[axis]:
        raise IndexError(
            f"the condition has {condition.shape[0]} elements for axis {axis} with size "
            f"{a.shape[axis]}"
        )
    return _base.take(a, _base.flat_places(condition), axis)


@like_numpy
def extract(condition: Any, arr: Any) -> Any:
    """The elements of a flattened array where a condition is not zero; as ``numpy.extract``.

    Args:
      condition: of as many elements as ``arr``, or fewer.
      arr: any shape and dtype.

    Returns:
      [count] of the dtype of ``arr``.

    Raises:
      IndexError: the condition has more elements than ``arr``.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    return compress(jnp.ravel(jnp.asarray(condition)) != 0, jnp.ravel(jnp.asarray(arr)))


def boolean_index(a: Any, mask: Any) -> Any:
    """``a[mask]`` of NumPy: the elements, or slices, of ``a`` where a mask is true.

    Args:
      a: any dtype; of at least the mask's rank.
      mask: bool, of the shape of the first axes of ``a``.

    Returns:
      [count, *a.shape[mask.ndim:]] of the dtype of ``a``.

    Raises:
      IndexError: the mask is not boolean, or does not fit the axes of ``a``.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    if not _base.is_jax(mask):
        mask = np.asarray(mask)
    if mask.dtype != bool:
        raise IndexError(f"boolean_index takes a mask of booleans, not of {mask.dtype}")
    if not _base.concerns_jax("boolean_index", a, mask):
        return np.asarray(a)[mask]
    a, mask = jnp.asarray(a), jnp.asarray(mask)
    if mask.ndim > a.ndim:
        raise IndexError(
            f"too many indices for array: array is {a.ndim}-dimensional, but {mask.ndim} were "
            "indexed"
        )
    for axis, (size, own) in enumerate(zip(a.shape, mask.shape, strict=False)):
        if size != own:
            raise IndexError(
                f"boolean index did not match indexed array along axis {axis}; size of axis is "
                f"{size} but size of corresponding boolean axis is {own}"
            )
    merged = (math.prod(mask.shape), *a.shape[mask.ndim :])
    return _base.take(jnp.reshape(a, merged), _base.flat_places(mask))


@like_numpy
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """The array without the slices that a mask, or integers, name along an axis.

    As ``numpy.delete``. Integers and slices that are known while tracing are jax.numpy's.

    Args:
      arr: any shape and dtype.
      obj: bool[n] for an axis of size n; or integers, which may repeat: out of range they name
        nothing where they are values of the program.
      axis: by default the array is flattened.

    Returns:
      ``arr`` with a smaller axis.

    Raises:
      ValueError: the mask does not match the axis.
      IndexError: an index is out of range, where that is known.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    if isinstance(obj, slice):
        return jnp.delete(arr, obj, axis)
    given = obj if _base.is_jax(obj) else np.asarray(obj)
    if given.dtype != bool and (given.ndim == 0 or isinstance(given, np.ndarray)):
        return jnp.delete(arr, given, axis)
    arr, obj = jnp.asarray(arr), jnp.asarray(obj)
    if axis is None:
        arr, axis = jnp.ravel(arr), 0
    axis = _base.axis_of(axis, arr.ndim)
    n = arr.shape[axis]
    if obj.dtype != bool:
        removed = jnp.zeros(n, bool).at[jnp.ravel(obj)].set(True, mode="drop")
    elif obj.ndim != 1 or obj.shape[0] != n:
        raise ValueError(
            "boolean array argument obj to delete must be one-dimensional and match the axis "
            f"length of {n}"
        )
    else:
        removed = obj
    return _base.take(arr, _base.places(~removed, "kept"), axis)


@like_numpy
def trim_zeros(filt: Any, trim: str = "fb") -> Any:
    """A vector without the zeros at its ends; as ``numpy.trim_zeros`` of a vector.

    Args:
      filt: [n] of any dtype.
      trim: the ends, "f" for the front and "b" for the back.

    Returns:
      [count] of the same dtype.

    Raises:
      ValueError: ``filt`` is not of rank 1, or ``trim`` has other letters.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    filt = jnp.asarray(filt)
    if filt.ndim != 1:
        raise ValueError(f"trim_zeros takes a vector here, not an array of rank {filt.ndim}")
    if trim.lower() not in ("f", "b", "fb", "bf"):
        raise ValueError(f"unexpected character(s) in `trim`: '{trim}'")
    (n,) = filt.shape
    kept, at = filt != 0, _base.positions(n)
    any_kept = _base.count_of(kept) > 0
    size = jnp.asarray(n, np.int32)
    first = jnp.min(jnp.where(kept, at, size), initial=np.iinfo(np.int32).max)
    last = jnp.max(jnp.where(kept, at, -1), initial=-1)
    first = jnp.where(any_kept & ("f" in trim.lower()), first, 0)
    last = jnp.where("b" in trim.lower(), last, size - 1)
    count, _ = data_dependent.dimension(jnp.where(any_kept, last - first + 1, 0), n, "trimmed")
    return _base.take(filt, first + _base.positions(count))


def _unravelled(flat: Any, shape: tuple[Any, ...]) -> list[Any]:
    """Indices by axis of row-major positions that are inside."""
    inner, rest = [], flat
    for size in reversed(shape[1:]):
        full = jnp.broadcast_to(jnp.asarray(size, np.int32), rest.shape)
        inner.append(lax.rem(rest, full))
        rest = lax.div(rest, full)
    return [rest, *reversed(inner)]
