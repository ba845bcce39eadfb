"""Functions whose results grow with values, and those that put results together."""

from __future__ import annotations

import operator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax.numpy import _base
from sod2jax.numpy._base import like_numpy
from sod2jax.tracing import data_dependent


@like_numpy
def concatenate(arrays: Any, axis: int | None = 0, dtype: Any = None) -> Any:
    """Arrays one after another along an axis, whatever their sizes depend on.

    As ``numpy.concatenate``.

    Args:
      arrays: a sequence of arrays; of one shape but for the axis.
      axis: None flattens them first.
      dtype: of the result; by default the promoted one.

    Returns:
      An array with the sum of the sizes along the axis.

    Raises:
      ValueError, TypeError: the shapes do not fit.
    """
    return jnp.concatenate(arrays, axis, dtype)


@like_numpy
def repeat(a: Any, repeats: Any, axis: int | None = None, *, max_size: Any = None) -> Any:
    """Each element, or slice along an axis, so many times; as ``numpy.repeat``.

    Args:
      a: any shape and dtype.
      repeats: integers [n], [1] or a scalar, 0 or more.
      axis: by default the array is flattened.
      max_size: the largest size that the result may have along the axis, an integer or a symbolic
        size; without it the size has no bound, and the program is always cut here.

    Returns:
      ``a`` with the sum of the repeats in place of the axis' size.

    Raises:
      TypeError: ``repeats`` are not integers.
      ValueError: ``repeats`` do not fit the axis.
      ShapeError: when the function runs, if a repeat is negative or the sum is over ``max_size``.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    a = jnp.asarray(a)
    if axis is None:
        a, axis = jnp.ravel(a), 0
    axis = _base.axis_of(axis, a.ndim)
    if _compat.is_symbolic(repeats):
        return jnp.repeat(a, repeats, axis)
    if not _base.is_jax(repeats) and np.size(repeats) == 1:
        return jnp.repeat(a, operator.index(np.ravel(repeats)[0]), axis)
    counts = jnp.asarray(repeats)
    if not jnp.issubdtype(counts.dtype, np.integer) and counts.dtype != bool:
        raise TypeError(f"repeats must be integers, not {counts.dtype}")
    if counts.ndim > 1:
        raise ValueError("object too deep for desired array")
    n = a.shape[axis]
    if counts.ndim == 0 or _is_one(counts.shape[0]):
        counts = jnp.broadcast_to(jnp.ravel(counts), (n,))
    elif counts.shape[0] != n:
        raise ValueError(
            f"operands could not be broadcast together with shape ({n},) ({counts.shape[0]},)"
        )
    counts = counts.astype(np.int32)
    total = jnp.sum(counts, dtype=np.int32)
    total = jnp.where(jnp.any(counts < 0), -1, total)
    count, size = data_dependent.dimension(total, max_size, "repeat")
    begins = jnp.cumsum(counts, dtype=np.int32) - counts
    begins = jnp.where(counts > 0, begins, size)
    source = jnp.zeros(count, np.int32)
    source = source.at[begins].set(_base.positions(n), mode="drop", wrap_negative_indices=False)
    return _base.take(a, lax.cummax(source), axis, unique=False)


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """The array with values put in before the places that a mask, or integers, name along an axis.

    As ``numpy.insert`` of NumPy 2.3, where a mask stands for its ``flatnonzero``. Integers and
    slices are jax.numpy's.

    Args:
      arr: any shape and dtype.
      obj: bool[k]; for an axis of size n, k is n, or n + 1 to put a value behind the last.
      values: broadcast to ``arr`` with the number of places in place of the axis' size.
      axis: by default the array is flattened.

    Returns:
      ``arr`` with a larger axis.

    Raises:
      ValueError: the mask is not of rank 1, or the values do not fit.
      IndexError: the mask does not match the axis.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    mask = None if isinstance(obj, slice) else obj if _base.is_jax(obj) else np.asarray(obj)
    if mask is not None and mask.dtype != bool:
        mask = None
    if mask is not None and mask.ndim != 1:
        raise ValueError("boolean array argument obj to insert must be one dimensional")
    if not _base.concerns_jax("insert", arr, obj, values):
        return np.insert(arr, obj if mask is None else np.flatnonzero(mask), values, axis)
    if mask is None:
        return jnp.insert(arr, np.asarray(obj) if isinstance(obj, list) else obj, values, axis)
    arr, mask = jnp.asarray(arr), jnp.asarray(mask)
    if axis is None:
        arr, axis = jnp.ravel(arr), 0
    axis = _base.axis_of(axis, arr.ndim)
    n = arr.shape[axis]
    if mask.shape[0] not in (n, n + 1):
        raise IndexError(
            f"a mask of {mask.shape[0]} elements marks places on an axis with size {n}; it must "
            "have as many elements, or one more"
        )
    marked = _base.flat_places(mask)
    count = marked.shape[0]
    shape = (*arr.shape[:axis], count, *arr.shape[axis + 1 :])
    values = jnp.broadcast_to(jnp.asarray(values, arr.dtype), shape)
    kept = _base.positions(n) + jnp.cumsum(mask, dtype=np.int32)[:n]
    new = marked + _base.positions(count)
    out = jnp.zeros((*arr.shape[:axis], n + count, *arr.shape[axis + 1 :]), arr.dtype)
    before = (slice(None),) * axis
    for where, part in ((kept, arr), (new, values)):
        out = out.at[(*before, where)].set(part, mode="drop", unique_indices=True)
    return out


@like_numpy
def bincount(
    x: Any, weights: Any = None, minlength: int = 0, *, length: Any = None, max_size: Any = None
) -> Any:
    """How often each integer occurs, or the sum of its weights; as ``numpy.bincount``.

    Args:
      x: integers [n], 0 or more.
      weights: [n].
      minlength: the smallest size of the result.
      length: the size of the result, as in ``jax.numpy.bincount``; larger integers are left out.
      max_size: the largest size that the result may have, an integer or a symbolic size; without
        it the size has no bound, and the program is always cut here.

    Returns:
      int32[max(x) + 1], or of the dtype of the weights.

    Raises:
      TypeError: ``x`` are not integers.
      ValueError: ``x`` is not of rank 1, or the weights do not fit.
      ShapeError: when the function runs, if an integer is negative or the size is over
        ``max_size``.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    if length is not None:
        return jnp.bincount(x, weights, minlength, length=length)
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, np.integer) and x.dtype != bool:
        raise TypeError(f"Cannot cast array data from {x.dtype} to integers by the rule 'safe'")
    if x.ndim != 1:
        raise ValueError("object too deep for desired array" if x.ndim else "x must be a vector")
    x = x.astype(np.int32)
    most = jnp.maximum(jnp.max(x, initial=-1) + 1, minlength)
    count, _ = data_dependent.dimension(jnp.where(jnp.any(x < 0), -1, most), max_size, "bincount")
    if weights is None:
        return jnp.zeros(count, _base.index_dtype()).at[x].add(1, mode="drop")
    weights = jnp.asarray(weights)
    if weights.shape != x.shape:
        raise ValueError("The weights and list don't have the same length.")
    return jnp.zeros(count, weights.dtype).at[x].add(weights, mode="drop")


@like_numpy
def arange(
    start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, max_size: Any = None
) -> Any:
    """Numbers from ``start`` up to ``stop``, which may be values; as ``numpy.arange``.

    Args:
      start: an integer of Python's, a size, or an integer scalar of the program.
      stop: as ``start``; without it, ``start`` is the end and 0 the start.
      step: as ``start``; not 0.
      dtype: of the result; by default that of integers.
      max_size: the largest size that the result may have, an integer or a symbolic size; without
        it the size has no bound, and the program is always cut here.

    Returns:
      A vector of that dtype.

    Raises:
      TypeError: one of them is a value of the program and not an integer.
      ShapeError: when the function runs, if the size is over ``max_size``.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    start, stop = (0, start) if stop is None else (start, stop)
    if not any(map(_is_array, (start, stop, step))):
        return jnp.arange(start, stop, step, dtype)
    numbers = [jnp.asarray(x) for x in (start, stop, step)]
    if any(x.ndim or not jnp.issubdtype(x.dtype, np.integer) for x in numbers):
        raise TypeError("arange takes integer scalars where they are values of the program")
    begin, end, by = (x.astype(np.int32) for x in numbers)
    size = jnp.maximum(-((begin - end) // by), 0)
    count, _ = data_dependent.dimension(size, max_size, "arange")
    dtype = jnp.result_type(*numbers) if dtype is None else dtype
    return (begin + by * _base.positions(count)).astype(dtype)


def _is_array(value: Any) -> bool:
    return _base.is_jax(value) and not _compat.is_symbolic(value)
