"""Different elements of an array."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax.numpy import _base
from sod2jax.numpy._base import like_numpy

_MOST_KEYS = 8  # columns that one sort compares; more are sorted by one after another


@like_numpy
def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The different elements of an array, ascending; as ``numpy.unique`` of NumPy 2.

    Args:
      ar: any shape; a dtype with an order.
      return_index: whether to return where each occurs first.
      return_inverse: whether to return which of them each element is.
      return_counts: whether to return how often each occurs.
      axis: compares the slices along it, in lexicographic order; by default single elements.
      equal_nan: whether all NaNs are one element; slices with a NaN are always different.
      sorted: the result is sorted in any case.

    Returns:
      The elements [count], or slices with ``count`` in place of the axis' size; if asked for, in a
      tuple with the int32 arrays index [count], inverse (of the shape of ``ar``, or [n] for an
      axis of size n) and counts [count].

    Raises:
      AxisError: there is no such axis.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    del sorted
    ar = jnp.asarray(ar)
    if axis is not None:
        axis = _base.axis_of(axis, ar.ndim)
    if axis is None or ar.ndim == 1:
        keys, shape = jnp.ravel(ar), ar.shape
        numbered = return_index or return_inverse
        aux, order = sort(keys) if numbered else (lax.sort(keys), None)
        first = starts(aux, equal_nan)
        begins = _base.places(first, "unique")
        values = _base.take(aux, begins)
    else:
        rows = jnp.moveaxis(ar, axis, 0)
        keys = jnp.reshape(rows, (rows.shape[0], math.prod(rows.shape[1:])))
        shape, order = (rows.shape[0],), _lexicographic(keys)
        aux = _base.pick(keys, order)
        first = jnp.any(aux != _base.before(aux, 0), axis=1) | _is_zeroth(aux.shape[0])
        begins = _base.places(first, "unique")
        values = jnp.moveaxis(_base.pick(rows, _base.pick(order, begins)), 0, axis)
    results = [values]
    if return_index:
        results.append(_base.take(order, begins))
    if return_inverse:
        which = jnp.cumsum(first, dtype=np.int32) - 1
        inverse = jnp.zeros_like(which).at[order].set(which, unique_indices=True, mode="drop")
        results.append(jnp.reshape(inverse, shape))
    if return_counts:
        results.append(_base.after(begins, first.shape[0]) - begins)
    results[1:] = [x.astype(_base.index_dtype()) for x in results[1:]]
    return tuple(results) if len(results) > 1 else values


def sort(keys: Any) -> tuple[Any, Any]:
    """(keys in order, int32: where each was), equal ones in the order that they had."""
    return tuple(lax.sort((keys, _base.positions(keys.shape[0])), num_keys=1))  # type: ignore[return-value]


def starts(keys: Any, equal_nan: bool = False) -> Any:
    """bool[n]: whether a sorted element differs from the one before it."""
    previous = _base.before(keys, 0)
    new = keys != previous
    if equal_nan and jnp.issubdtype(keys.dtype, np.inexact):
        new &= ~(jnp.isnan(keys) & jnp.isnan(previous))
    return new | _is_zeroth(keys.shape[0])


def _is_zeroth(n: Any) -> Any:
    return _base.positions(n) == 0


def _lexicographic(rows: Any) -> Any:
    """int32[n]: the stable order of rows [n, m], by their first columns first."""
    n, m = rows.shape
    if not _compat.is_symbolic(m) and m <= _MOST_KEYS:
        columns = [rows[:, k] for k in range(m)]
        return lax.sort((*columns, _base.positions(n)), num_keys=max(m, 1))[-1]

    def by_column(number: Any, order: Any) -> Any:
        column = lax.dynamic_index_in_dim(rows, m - 1 - number, axis=1, keepdims=False)
        return lax.sort((_base.pick(column, order), order), num_keys=1)[1]

    return lax.fori_loop(0, m, by_column, _base.positions(n))
