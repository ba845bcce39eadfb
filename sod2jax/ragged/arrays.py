"""Arrays of different sizes to padded stacks, and back: on the host, or inside a transformation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from sod2jax import _compat
from sod2jax.transfer import enlarged

Shape = tuple[int, ...]


def is_traced(*arrays: Any) -> bool:
    """Whether any array is a JAX transformation's."""
    return any(isinstance(array, Tracer) for array in arrays)


def fit(array: Any, shape: Shape) -> Any:
    """``array`` cut or padded with zeros, at the end of each axis, to ``shape``."""
    if np.shape(array) == shape:
        return array
    if _compat.is_key_array(array):
        return _keys(lambda bits: fit(bits, (*shape, *bits.shape[array.ndim :])), array)
    common = tuple(map(min, np.shape(array), shape))
    if is_traced(array):
        cut = lax.slice(array, (0,) * array.ndim, common)
        widths = [(0, size - kept, 0) for size, kept in zip(shape, common, strict=True)]
        return lax.pad(cut, jnp.zeros((), array.dtype), widths)
    return enlarged(np.asarray(array)[tuple(map(slice, common))], shape)


def stack(arrays: Sequence[Any], dtype: Any, shape: Shape, width: int) -> Any:
    """[width, *shape]: arrays padded with zeros; the first one again where more are wanted."""
    arrays = [*arrays, *[arrays[0]] * (width - len(arrays))]
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        inner = [fit(array, shape) for array in arrays]
        bits = list(map(_bits, inner))
        return _wrapped(stack(bits, bits[0].dtype, bits[0].shape, width), inner[0])
    if is_traced(*arrays):
        return jnp.stack([fit(jnp.asarray(array, dtype), shape) for array in arrays])
    out = np.zeros((width, *shape), dtype)
    for row, array in enumerate(arrays):
        host = np.asarray(array)
        out[(row, *map(slice, host.shape))] = host
    return out


def take(array: Any, rows: Sequence[int], width: int) -> Any:
    """[width, ...]: the named rows of a stack; the first of them again where more are wanted."""
    index = np.array([*rows, *[rows[0]] * (width - len(rows))])
    if len(index) == array.shape[0] and (index == np.arange(len(index))).all():
        return array
    if is_traced(array):
        return jnp.take(array, index, axis=0)
    if _compat.is_key_array(array):
        return _keys(lambda bits: take(bits, rows, width), array)
    return np.asarray(array)[index]


def joined(pieces: Sequence[Any], count: int, shape: Shape) -> Any:
    """[count, *shape]: the leading rows of several stacks, one after the other."""
    if len(pieces) == 1 and pieces[0].shape == (count, *shape):
        return pieces[0]
    if _compat.is_key_array(pieces[0]):
        bits = list(map(_bits, pieces))
        rest = bits[0].shape[pieces[0].ndim :]
        return _wrapped(joined(bits, count, (*shape, *rest)), pieces[0])
    host = np.concatenate([fit(piece, (len(piece), *shape)) for piece in pieces])
    return _compat.host_to_device(fit(host, (count, *shape)), pieces[0])


def unstack(array: Any, shapes: Sequence[Shape]) -> list[Any]:
    """The leading rows of a stack, each cut to its true shape; compiles nothing outside traces."""
    if is_traced(array):
        return [fit(row, shape) for row, shape in zip(_split(array), shapes, strict=False)]
    if _compat.is_key_array(array):
        bits = _bits(array)
        rest = bits.shape[array.ndim :]
        rows = unstack(bits, [(*shape, *rest) for shape in shapes])
        return [_compat.key_array(row, array) for row in rows]
    host = np.asarray(array)
    cuts = [host[(at, *map(slice, shape))] for at, shape in enumerate(shapes)]
    return [_compat.host_to_device(np.asarray(cut), array) for cut in cuts]


def corner(array: Any, row: int | None, shape: Shape) -> Any:
    """One row of a stack at its true shape; of an array without rows if ``row`` is None."""
    if row is None:
        return fit(array, shape)
    return fit(take(array, [row], 1), (1, *shape)).reshape(shape)


@jax.jit
def _split(array: Any) -> tuple[Any, ...]:
    return tuple(lax.index_in_dim(array, at, keepdims=False) for at in range(array.shape[0]))


def _bits(keys: Any) -> Any:
    return jax.random.key_data(keys) if is_traced(keys) else _compat.key_bits(keys)


def _wrapped(bits: Any, like: Any) -> Any:
    if is_traced(bits, like):
        return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(like))
    bits = _compat.host_to_device(np.asarray(bits), _compat.key_bits(like))
    return _compat.key_array(bits, like)


def _keys(change: Any, keys: Any) -> Any:
    return _wrapped(change(_bits(keys)), keys)
