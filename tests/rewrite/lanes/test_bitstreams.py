"""Words by position equal the arrays that JAX draws, at every size."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sod2jax.rewrite.lanes import bitstreams

KEY = np.array([0xDEADBEEF, 0x01234567], np.uint32)


@pytest.mark.parametrize("partitionable", [True, False])
@pytest.mark.parametrize("width", [8, 16, 32])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
def test_bits_by_position(count: int, width: int, partitionable: bool) -> None:
    with jax.threefry_partitionable(partitionable):
        want = jax.random.bits(jax.random.wrap_key_data(KEY), (count,), f"uint{width}")
    position = np.arange(count, dtype=np.uint32)
    seen = bitstreams.threefry_bits(KEY, position, np.int32(count), width, partitionable)
    assert seen.dtype == want.dtype
    assert np.array_equal(seen, want)


@pytest.mark.parametrize("partitionable", [True, False])
def test_bits_of_64(partitionable: bool) -> None:
    with jax.enable_x64(True):
        with jax.threefry_partitionable(partitionable):
            want = jax.random.bits(jax.random.wrap_key_data(KEY), (5,), "uint64")
        position = np.arange(5, dtype=np.uint32)
        seen = bitstreams.threefry_bits(KEY, position, np.int32(5), 64, partitionable)
        assert np.array_equal(seen, want)


@pytest.mark.parametrize("partitionable", [True, False])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_split_by_position(count: int, partitionable: bool) -> None:
    with jax.threefry_partitionable(partitionable):
        want = jax.random.split(jax.random.wrap_key_data(KEY), count)
    position = np.arange(count, dtype=np.uint32)
    seen = bitstreams.threefry_split(KEY, position, np.int32(count), partitionable)
    assert np.array_equal(seen, jax.random.key_data(want))


def test_generator_fills_from_the_front() -> None:
    key = np.array([1, 2, 0xFFFFFFFE, 0xFFFFFFFF], np.uint32)
    position = np.array([[0, 5], [9, 4]], np.uint32)
    seen = bitstreams.generator_bits(key, position, 64, np.uint32)
    want = jax.lax.rng_bit_generator(key, (10,), np.uint32)[1]
    assert np.array_equal(seen, np.asarray(want)[position])
