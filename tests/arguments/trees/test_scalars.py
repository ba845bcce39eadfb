"""Python scalars, weak types and numbers of every dtype are what they are under jax.jit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from tests.arguments.trees.compare import SIZES, compare, normal

SCALARS = [
    2,
    2.5,
    True,
    1j,
    np.bool_(True),
    np.int8(3),
    np.uint8(4),
    np.int64(3),
    np.float16(2.5),
    np.float32(2),
    np.float64(2),
    np.complex64(2j),
    np.array(3),
    np.array(3.5, np.float32),
    jnp.float32(1),
    jnp.asarray(2),
]


def weak(n):
    """A weakly typed float32[n]."""
    return jax.jit(lambda x: jnp.broadcast_to(x, n))(2.0)


def scaled(x, a):
    return x * a, a, a + 1, jnp.asarray(a), a * jnp.ones(2, jnp.float16)


def test_scalars_keep_their_types():
    calls = [(normal(n), a) for a in SCALARS for n in (2, 5, 9)]
    kinds = {(jax.typeof(a).dtype, jax.typeof(a).weak_type) for a in SCALARS}
    stats = compare(scaled, calls, shapes=("n", None))
    assert stats.traces == stats.compiles == len(kinds)


def test_values_of_scalars_are_no_part_of_a_program():
    calls = [(normal(n), a) for n in SIZES for a in (0, 1, 2, 3, -7)]
    assert compare(scaled, calls, shapes=("n", None)).traces == 1


def test_a_function_of_scalars_only():
    assert compare(lambda a, b: (a + b, a), [(1, 2.0), (3, 4.0), (True, 1j), (0, 0.5)]).traces == 2


def test_weak_types_are_programs_of_their_own():
    def work(x):
        return x, x * 2, x * np.float16(1), x.sum(), x.astype(jnp.int8)

    calls = [(make(n),) for make in (weak, normal) for n in SIZES]
    assert compare(work, calls, shapes=("n",)).traces == 2
    # the bare decorator knows from the first of the two that the axis varies
    assert compare(work, calls).traces == 3


NUMBERS = "int8 int16 uint8 uint16 uint32 float16 bfloat16 bool complex64".split()
NARROW = "int2 int4 uint2 uint4 float8_e4m3fn float8_e5m2 float8_e4m3b11fnuz float4_e2m1fn".split()


@pytest.mark.parametrize("dtype", NUMBERS)
def test_dtypes(dtype):
    def work(x):
        return x, x[::-1], jnp.concatenate([x, x]), x.T, jnp.where(x == x[:1], x, 0)

    arrays = [(np.arange(3 * n) % 3).reshape(n, 3).astype(jnp.dtype(dtype)) for n in SIZES]
    calls = [(convert(array),) for array in arrays for convert in (np.asarray, jnp.asarray)]
    assert compare(work, calls, shapes=("n, 3",)).traces == 1


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_dtypes(dtype):
    def work(x):
        return x, x.astype(jnp.float32).sum(0)

    arrays = [(np.arange(3 * n) % 2).reshape(n, 3).astype(jnp.dtype(dtype)) for n in SIZES]
    assert compare(work, [(array,) for array in arrays], shapes=("n, 3",)).traces == 1


def test_64_bit_mode():
    def work(x, k):
        return 2 * x, x.sum(), k, x.argmax(0), jnp.arange(x.shape[0]), x.shape[0]

    with jax.enable_x64(True):
        calls = [(normal(n, 3).astype(np.float64), k) for k in (1, 2.5, np.int64(3)) for n in SIZES]
        assert compare(work, calls, shapes=("n, 3", None)).traces == 3


def test_64_bit_mode_is_left_and_entered():
    f = sod2jax.optimize(lambda x: 2 * x, poison=True)
    for _ in range(2):
        for n in SIZES:
            assert f(np.arange(float(n))).dtype == np.float32
            with jax.enable_x64(True):
                assert f(np.arange(float(n))).dtype == np.float64
    assert f.stats().traces <= 4


def test_float0_comes_in_and_goes_out():
    def gradient(i):
        return i * 2, jax.grad(lambda j: (j * 1.5).sum(), allow_int=True)(i)

    calls = [(np.arange(n),) for n in SIZES]
    assert compare(gradient, calls, shapes=("n",)).traces == 1

    def through(x, zero):
        return 2 * x, zero

    zeros = [(normal(n), np.zeros(n, jax.dtypes.float0)) for n in SIZES]
    assert compare(through, zeros, shapes=("n", "n")).traces == 1
    assert compare(through, zeros).traces == 2
    assert compare(through, [(x, zero[:1]) for x, zero in zeros], shapes=("n", None)).traces == 1
