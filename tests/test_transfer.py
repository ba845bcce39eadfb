"""Padding and trimming on the host: values, dtypes, poison, and no compile."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sod2jax import transfer
from tests.compile_log import compile_log

DTYPES = ["float32", "float16", "bfloat16", "int32", "int8", "uint8", "uint32", "bool", "complex64"]
SHAPES = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3)


def values(shape, dtype):
    count = int(np.prod(shape))
    return (np.arange(count) % 7).reshape(shape).astype(jnp.dtype(dtype))


@given(SHAPES, st.sampled_from(DTYPES), st.booleans())
def test_padding_keeps_the_array_in_the_corner(axes, dtype, poison):
    true = tuple(size for size, _ in axes)
    padded = tuple(size + more for size, more in axes)
    array = values(true, dtype)
    result = np.asarray(transfer.pad(array, padded, poison))
    corner = tuple(map(slice, true))
    assert result.shape == padded
    assert result.dtype == array.dtype
    assert (result[corner] == array).all()
    outside = np.ones(padded, bool)
    outside[corner] = False
    rest = result[outside]
    if not poison:
        assert (rest == 0).all()
    elif jnp.issubdtype(result.dtype, np.inexact):
        assert np.isnan(rest).all()
    else:
        assert (rest == (True if dtype == "bool" else jnp.iinfo(dtype).max)).all()


@given(SHAPES, st.sampled_from(DTYPES))
def test_trimming_undoes_padding(axes, dtype):
    true = tuple(size for size, _ in axes)
    padded = tuple(size + more for size, more in axes)
    array = values(true, dtype)
    result = transfer.trim(jnp.asarray(transfer.pad(array, padded, True)), true)
    assert isinstance(result, jax.Array)
    assert (result.shape, result.dtype) == (array.shape, array.dtype)
    assert (np.asarray(result) == array).all()


def test_arrays_that_fit_pass_untouched():
    array = jnp.arange(6.0)
    assert transfer.pad(array, (6,), True) is array
    assert transfer.trim(array, (6,)) is array


def test_python_and_64_bit_inputs_take_the_dtype_of_jax():
    assert transfer.pad(np.arange(3, dtype=np.int64), (4,), False).dtype == np.int32
    assert transfer.pad(np.arange(3, dtype=np.float64), (4,), False).dtype == np.float32


def test_inputs_may_be_strided_views():
    array = np.arange(24.0, dtype=np.float32).reshape(4, 6)[::2, 1:5].T
    result = transfer.pad(array, (5, 3), False)
    assert (result[:4, :2] == array).all()


def test_weak_types_survive_trimming():
    weak = jax.jit(lambda x: jnp.broadcast_to(x, 8))(2.0)
    assert weak.weak_type
    assert transfer.trim(weak, (5,)).weak_type


def test_typed_keys_are_padded_and_trimmed():
    keys = jax.random.split(jax.random.key(0), 6).reshape(2, 3)
    padded = transfer.pad(keys, (4, 4), True)
    assert padded.dtype == keys.dtype
    trimmed = transfer.trim(padded, (2, 3))
    assert trimmed.dtype == keys.dtype
    assert (jax.random.key_data(trimmed) == jax.random.key_data(keys)).all()


def test_padding_and_trimming_compile_nothing():
    keys = jax.random.split(jax.random.key(0), 9)
    array = jnp.arange(1009.0 * 3).reshape(3, 1009)
    jax.block_until_ready((keys, array))
    with compile_log() as log:
        for size in range(1001, 1009):
            transfer.pad(transfer.trim(array, (2, size)), (3, 1009), True)
            transfer.pad(transfer.trim(keys, (size - 1000,)), (9,), True)
    assert log == []


def test_results_outlive_the_padded_output():
    array = jnp.arange(100_000.0)
    result = transfer.trim(array, (99_999,))
    want = np.arange(99_999.0, dtype=np.float32)
    del array
    jnp.arange(100_000.0) + 1
    assert (np.asarray(result) == want).all()
