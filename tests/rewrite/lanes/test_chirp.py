"""The chirp transform at lengths that no harness is large enough for."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.rewrite.lanes.chirp import LONGEST, chirp_transform, square_modulo


@given(st.integers(0, LONGEST), st.integers(2, 2 * LONGEST))
def test_squares_do_not_overflow(m: int, period: int) -> None:
    seen = square_modulo(np.full(1, m, np.uint32), np.full(1, period, np.uint32))
    assert int(seen[0]) == m * m % period


@pytest.mark.parametrize(("size", "true"), [(1, 1), (2, 1), (37, 24), (50_000, 44_101)])
@pytest.mark.parametrize("inverse", [False, True])
def test_transform_equals_numpy(size: int, true: int, inverse: bool) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=size) + 1j * rng.normal(size=size)).astype(np.complex64)
    x[true:] = np.nan
    transform = jax.jit(chirp_transform, static_argnums=2)
    seen = np.asarray(transform(x, np.int32(true), inverse))[:true]
    want = (np.fft.ifft if inverse else np.fft.fft)(x[:true].astype(np.complex128))
    assert np.abs(seen - want).max() <= 2e-6 * np.abs(want).max()
