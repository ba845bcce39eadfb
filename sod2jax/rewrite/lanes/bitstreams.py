"""Random words by their position in the stream of a key, whatever the size of the array they fill.

JAX numbers the elements of a random array in row-major order, and hashes a key with these numbers.
Pad lanes shift them, so the true numbers are computed here. Threefry has two schemes:

- partitionable (``jax_threefry_partitionable``, the default): element i is the hash of (0, i);
- original: the n words of a stream are hashed in pairs (i, i + ceil(n/2)), so each depends on n.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import threefry2x32_p

from sod2jax.rewrite.padded import pick

LARGEST = 1 << 32  # elements that 32-bit positions can number


def over_keys(fun: Callable[[Any], Any], data: Any) -> Any:
    """Maps a function of one key, uint32[w], over key data uint32[..., w]."""
    for _ in range(data.ndim - 1):
        fun = jax.vmap(fun)
    return fun(data)


def _hash(key: Any, first: Any, second: Any) -> tuple[Any, Any]:
    first, second = threefry2x32_p.bind(key[0], key[1], first, second)
    return first, second


def _original_word(key: Any, position: Any, count: Any) -> Any:
    """uint32: words at ``position`` of a stream of ``count``; an odd one out pairs with 0."""
    count = lax.broadcast(jnp.uint32(count), position.shape)
    half = count - lax.div(count, lax.full_like(count, 2))
    in_front = lax.lt(position, half)
    first = lax.select(in_front, position, position - half)
    second = first + half
    second = lax.select(lax.lt(second, count), second, lax.full_like(second, 0))
    return lax.select(in_front, *_hash(key, first, second))


def threefry_bits(key: Any, position: Any, count: Any, width: int, partitionable: bool) -> Any:
    """Elements at ``position`` of a random array.

    Args:
      key: uint32[2].
      position: uint32 array, row-major indices into the random array.
      count: its true number of elements.
      width: bits per element: 8, 16, 32 or 64.
      partitionable: the scheme.
    """
    dtype = np.dtype(f"uint{width}")
    if partitionable:
        high, low = _hash(key, lax.full_like(position, 0), position)
        return (
            _join(high, low, dtype) if width == 64 else lax.convert_element_type(high ^ low, dtype)
        )
    count = jnp.uint32(count)
    if width == 64:
        high = _original_word(key, position, 2 * count)
        return _join(high, _original_word(key, position + count, 2 * count), dtype)
    per_word = np.uint32(32 // width)
    words = lax.div(count + (per_word - np.uint32(1)), per_word)
    word = _original_word(key, lax.div(position, lax.full_like(position, per_word)), words)
    shift = lax.rem(position, lax.full_like(position, per_word)) * np.uint32(width)
    return lax.convert_element_type(lax.shift_right_logical(word, shift), dtype)


def _join(high: Any, low: Any, dtype: np.dtype) -> Any:
    high = lax.convert_element_type(high, dtype)
    return lax.shift_left(high, lax.full_like(high, 32)) | lax.convert_element_type(low, dtype)


def threefry_split(key: Any, position: Any, count: Any, partitionable: bool) -> Any:
    """uint32[..., 2]: the keys at ``position`` among the ``count`` that a key is split into."""
    if partitionable:
        words = _hash(key, lax.full_like(position, 0), position)
    else:
        total = 2 * jnp.uint32(count)
        words = tuple(_original_word(key, 2 * position + np.uint32(k), total) for k in (0, 1))
    return jnp.stack(words, axis=-1)


def generator_bits(key: Any, position: Any, limit: int, dtype: Any) -> Any:
    """Elements at ``position`` below ``limit`` of XLA's default generator.

    It fills an array in row-major order, four words for each step of its counter; what comes first
    does not depend on how much comes after.
    """
    stream = lax.rng_bit_generator(key, (limit,), dtype)[1]
    return pick(stream, position, 0)
