"""Arrays to padded arrays and back, without compiling anything.

What is divided among devices stays so: each shard is made of those that it overlaps, and no device
gets more of an array than it had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat, places

Block = tuple[tuple[int, int], ...]  # the lanes from and to which it reaches, along each axis


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
    """``array`` in the corner of a larger one; pad lanes hold zeros, or poison on request.

    One that several devices hold is divided among them as before.
    """
    if np.shape(array) == shape:
        return owned(array)
    if _compat.is_spread(array):
        fill = poison_value(_compat.bits_dtype(array)) if poison else None
        return spread(array, shape, array.sharding, fill)
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


def trim(array: jax.Array, shape: tuple[int, ...], place: Any = None) -> jax.Array:
    """The leading corner of an output, as a ``jax.Array``; shares its buffer where it can.

    Args:
      array: the output.
      shape: of the corner.
      place: where it is wanted; None for where the output lies, as far as the shape can be divided.
    """
    if array.shape == shape:
        is_there = place is None or array.dtype == jax.dtypes.float0 or place == array.sharding
        return array if is_there else jax.device_put(array, place)
    if _compat.is_spread(array):
        here = _compat.automatic(place) or places.nearest(array.sharding, shape)
        return trim(spread(array, shape, here), shape, place)
    if array.dtype == jax.dtypes.float0:
        return array[tuple(map(slice, shape))]
    if _compat.is_key_array(array):
        bits = _compat.key_bits(array)
        return _compat.key_array(trim(bits, (*shape, *bits.shape[array.ndim :])), array)
    return _compat.host_to_device(np.asarray(array)[tuple(map(slice, shape))], array)


def spread(array: jax.Array, shape: tuple[int, ...], place: Any, fill: Any = None) -> jax.Array:
    """An array that several devices hold, cut or padded to a shape, divided as ``place`` says.

    Args:
      array: its shards are in this process.
      shape: of the result.
      place: the sharding of the result.
      fill: what pad lanes hold; zeros by default.
    """
    if _compat.is_key_array(array):
        bits = _compat.key_bits(array)
        wide = (*shape, *bits.shape[array.ndim :])
        return _compat.key_array(spread(bits, wide, place, fill), array)
    held = {_block(s.index, array.shape): s for s in reversed(array.addressable_shards)}
    read = {block: np.asarray(shard.data) for block, shard in held.items()}
    index_of = place.addressable_devices_indices_map(shape)
    wanted = {device: _block(index, shape) for device, index in index_of.items()}
    made = {block: _assembled(read, block, array.dtype, fill) for block in set(wanted.values())}
    return _compat.shards_to_devices([(made[b], d) for d, b in wanted.items()], shape, array, place)


def _block(index: Sequence[slice], shape: Sequence[int]) -> Block:
    ranges = (part.indices(size) for part, size in zip(index, shape, strict=True))
    return tuple((start, stop) for start, stop, _ in ranges)


def _assembled(parts: Mapping[Block, np.ndarray], block: Block, dtype: Any, fill: Any) -> Any:
    """A block of an array of which some others are known; what none of them holds is filled."""
    if block in parts:
        return parts[block]
    shape = tuple(stop - start for start, stop in block)
    out = np.zeros(shape, dtype) if fill is None else np.full(shape, fill)
    for held, part in parts.items():
        spans = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(block, held, strict=True)]
        if all(start < stop for start, stop in spans):
            there = _relative(spans, [start for start, _ in held])
            out[_relative(spans, [start for start, _ in block])] = part[there]
    return out


def _relative(spans: Sequence[tuple[int, int]], origins: Sequence[int]) -> tuple[slice, ...]:
    pairs = zip(spans, origins, strict=True)
    return tuple(slice(start - origin, stop - origin) for (start, stop), origin in pairs)
