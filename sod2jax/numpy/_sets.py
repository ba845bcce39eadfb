"""Set operations on the elements of two arrays, each by one sort of them all."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import min_dim

from sod2jax.numpy import _base
from sod2jax.numpy._base import like_numpy
from sod2jax.numpy._unique import sort, starts, unique


@like_numpy
def intersect1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False
) -> Any:
    """The elements that are in both arrays, ascending and once each; as ``numpy.intersect1d``.

    Args:
      ar1: any shape; flattened. A NaN is in neither.
      ar2: any shape; flattened.
      assume_unique: changes nothing here, the elements need not be unique.
      return_indices: whether to return where each occurs first, in the two flattened arrays.

    Returns:
      [count] of the promoted dtype; with indices a tuple with two more, int32[count]. The count is
      that of the smaller array at most.

    Raises:
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    del assume_unique
    keys, order, others, n = _merged(ar1, ar2)
    new = starts(keys)
    # The first of the second array's, right behind those of the first one.
    common = others & ~_base.before(others, True) & ~new
    at = _base.places(common, "common", min_dim(n, keys.shape[0] - n))
    values = _base.take(keys, at)
    if not return_indices:
        return values
    begin = lax.cummax(jnp.where(new, _base.positions(keys.shape[0]), 0))
    first = _base.pick(order, _base.take(begin, at))
    second = _base.take(order, at) - jnp.asarray(n, np.int32)
    return values, *(x.astype(_base.index_dtype()) for x in (first, second))


@like_numpy
def union1d(ar1: Any, ar2: Any) -> Any:
    """The elements that are in either array, ascending and once each; as ``numpy.union1d``.

    Args:
      ar1: any shape; flattened. All NaNs are one element.
      ar2: any shape; flattened.

    Returns:
      [count] of the promoted dtype.

    Raises:
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    return unique(jnp.concatenate([jnp.ravel(jnp.asarray(ar)) for ar in (ar1, ar2)]))


@like_numpy
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """The elements of the first array that are not in the second; as ``numpy.setdiff1d``.

    Args:
      ar1: any shape; flattened. A NaN is not in the second.
      ar2: any shape; flattened.
      assume_unique: whether to keep the order and the number of the elements of ``ar1``; else they
        are ascending and once each.

    Returns:
      [count] of the dtype of ``ar1``, count <= ar1.size.

    Raises:
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    ar1 = jnp.ravel(jnp.asarray(ar1))
    if assume_unique:
        return _base.take(ar1, _base.places(isin(ar1, ar2, invert=True), "difference"))
    keys, _, firsts, _ = _merged(ar2, ar1)
    new = starts(keys, equal_nan=True)
    if jnp.issubdtype(keys.dtype, np.inexact):
        new |= jnp.isnan(keys) & ~_base.before(firsts, True)
    at = _base.places(firsts & new, "difference", ar1.shape[0])
    return _base.take(keys, at).astype(ar1.dtype)


@like_numpy
def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """The elements that are in one array only, ascending, once each; as ``numpy.setxor1d``.

    Args:
      ar1: any shape; flattened. The NaNs of one array are one element, not in the other.
      ar2: any shape; flattened.
      assume_unique: changes nothing here, the elements need not be unique.

    Returns:
      [count] of the promoted dtype.

    Raises:
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    del assume_unique
    keys, _, others, _ = _merged(ar1, ar2)
    new = starts(keys, equal_nan=True)
    if jnp.issubdtype(keys.dtype, np.inexact):
        new |= jnp.isnan(keys) & (others != _base.before(others, False))
    begin = lax.cummax(jnp.where(new, _base.positions(keys.shape[0]), 0))
    alone = _base.after(new, True) & (_base.pick(others, begin) == others)
    return _base.take(keys, _base.places(alone, "exclusive"))


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False
) -> Any:
    """Whether each element is among others; as ``numpy.isin``. Works under every trace.

    Args:
      element: any shape.
      test_elements: any shape; flattened. A NaN is among nothing.
      assume_unique: changes nothing here.
      invert: whether to tell the opposite.

    Returns:
      bool array of the shape of ``element``.
    """
    if not any(map(_base.is_jax, (element, test_elements))):
        return np.isin(element, test_elements, assume_unique=assume_unique, invert=invert)
    element, among = jnp.asarray(element), jnp.ravel(jnp.asarray(test_elements))
    dtype = jnp.promote_types(element.dtype, among.dtype)
    dtype = np.dtype(np.int8) if jnp.issubdtype(dtype, bool) else dtype
    keys, among = jnp.ravel(element).astype(dtype), jnp.sort(among.astype(dtype))
    at, size = jnp.searchsorted(among, keys), jnp.asarray(among.shape[0], np.int32)
    longer = jnp.pad(among, (0, 1))  # there may be none
    is_in = (_base.pick(longer, at) == keys) & (at < size)
    return jnp.reshape(is_in != invert, element.shape)


def _merged(first: Any, second: Any) -> tuple[Any, Any, Any, Any]:
    """Elements of both arrays in order, those of the first before their equals of the second.

    Returns:
      (elements, where each was among both, whether it is the second's, size of the first)
    """
    first, second = (jnp.ravel(jnp.asarray(x)) for x in (first, second))
    keys, order = sort(jnp.concatenate([first, second]))
    n = first.shape[0]
    return keys, order, order >= jnp.asarray(n, np.int32), n
