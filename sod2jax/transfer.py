"""Arrays to padded arrays and back, without compiling anything."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat


def enlarged(host: np.ndarray, shape: tuple[int, ...], fill: Any = None) -> np.ndarray:
    """A NumPy array in the corner of a larger one, with a value, or zeros, in its pad lanes."""
    out = np.zeros(shape, host.dtype) if fill is None else np.full(shape, fill)
    out[tuple(map(slice, host.shape))] = host
    return out


def owned(array: Any) -> Any:
    """``array``, or a copy of one of NumPy's, which its owner may write to while it is read.

    XLA reads aligned memory of the host where it lies, after the call that it was given to
    (jax#37830).
    """
    return array.copy() if isinstance(array, np.ndarray) else array


def pad(array: Any, shape: tuple[int, ...], poison: bool) -> Any:
    """``array`` in the corner of a larger one; pad lanes hold zeros, or poison on request."""
    if np.shape(array) == shape:
        return owned(array)
    if _compat.is_key_array(array):
        bits = _compat.key_bits(array)
        wide = pad(bits, (*shape, *bits.shape[array.ndim :]), poison)
        return _compat.key_array(_compat.host_to_device(np.asarray(wide), bits), array)
    host = np.asarray(array, dtype=jax.typeof(array).dtype)
    return enlarged(host, shape, poison_value(host.dtype) if poison else None)


def poison_value(dtype: np.dtype) -> Any:
    """A value that shows if it reaches a result: NaN, or the largest integer."""
    if dtype == jax.dtypes.float0:
        return np.zeros((), dtype)
    if dtype.kind == "b":
        return np.True_
    if jnp.issubdtype(dtype, np.inexact):
        return np.array(np.nan, dtype)
    return np.array(jnp.iinfo(dtype).max, dtype)


def trim(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The leading corner of an output, as a ``jax.Array``; shares its buffer where it can."""
    if array.shape == shape:
        return array
    if array.dtype == jax.dtypes.float0:
        return array[tuple(map(slice, shape))]
    if _compat.is_key_array(array):
        bits = _compat.key_bits(array)
        return _compat.key_array(trim(bits, (*shape, *bits.shape[array.ndim :])), array)
    return _compat.host_to_device(np.asarray(array)[tuple(map(slice, shape))], array)
