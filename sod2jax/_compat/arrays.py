"""Arrays: weak types, typed keys, and transfers that compile nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import core, dtypes
from jax._src.interpreters import pxla
from jax._src.lax import lax as lax_internal


def register_host_array(cls: type) -> None:
    """Lets JAX take instances of a class as what their ``__jax_array__()`` gives."""
    core.pytype_aval_mappings[cls] = lambda x: x.__jax_array__().aval
    dtypes.register_canonicalize_value_handler(cls, lambda x: x.__jax_array__())


def converted(array: Any, dtype: Any, weak_type: bool) -> Any:
    """The array in a dtype, weak or not."""
    return lax_internal._convert_element_type(array, dtype, weak_type=weak_type)


def with_weak_type(array: Any, aval: Any) -> Any:
    """The array with the weak type of ``aval``."""
    if getattr(array, "weak_type", False) == aval.weak_type or jnp.issubdtype(
        aval.dtype, jax.dtypes.extended
    ):
        return array
    return lax_internal._convert_element_type(array, aval.dtype, weak_type=aval.weak_type)


def is_too_wide(array: Any) -> bool:
    """Whether an array has 64 bits where 64 bits are disabled, and JAX would not shorten it."""
    if not isinstance(array, jax.Array) or jnp.issubdtype(array.dtype, jax.dtypes.extended):
        return False
    return dtypes.canonicalize_dtype(array.dtype) != array.dtype


def is_key_array(array: Any) -> bool:
    """Whether an array holds typed PRNG keys."""
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def key_bits(keys: Any) -> jax.Array:
    """uint32[..., k]: the bits of typed keys; unlike ``jax.random.key_data``, compiles nothing."""
    return keys._base_array


def drawn_keys(aval: Any, rng: np.random.Generator) -> jax.Array:
    """Typed keys as an abstract value describes them, with random bits."""
    impl = aval.dtype._impl
    bits = rng.integers(0, 1 << 32, (*aval.shape, *impl.key_shape), np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(bits), impl=impl)


def key_array(bits: jax.Array, like: Any) -> Any:
    """Typed keys with these bits and the implementation of ``like``; compiles nothing."""
    return type(like)(like._impl, bits)


def host_to_device(array: np.ndarray, like: Any) -> jax.Array:
    """A NumPy array as a ``jax.Array`` with the dtype and place of ``like``; compiles nothing.

    A contiguous aligned array on the CPU backend is shared, not copied.
    """
    sharding = like.sharding
    aval = like.aval.update(shape=array.shape)
    devices, committed = list(sharding.device_set), like._committed
    return pxla.batched_device_put(aval, sharding, [array], devices, committed=committed)


def is_spread(array: Any) -> bool:
    """Whether several devices hold an array, or each of them all of it."""
    return isinstance(array, jax.Array) and array.sharding.num_devices > 1


def bits_dtype(array: Any) -> np.dtype:
    """The dtype of an array's elements, or of the bits of typed keys."""
    return key_bits(array).dtype if is_key_array(array) else array.dtype


def shards_to_devices(
    shards: Sequence[tuple[np.ndarray, Any]], shape: tuple[int, ...], like: Any, place: Any
) -> jax.Array:
    """A ``jax.Array`` of a shape, with the dtype of ``like``, of pairs (shard, device)."""
    arrays, devices = zip(*shards, strict=True)
    aval = like.aval.update(shape=shape)
    return pxla.batched_device_put(aval, place, list(arrays), list(devices), committed=True)
