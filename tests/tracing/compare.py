"""Results of an optimized function beside those of ``jax.jit``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def assert_as_under_jit(
    fun: Callable[..., Any], optimized: Callable[..., Any], shape: Any, seed: int, atol: float
) -> None:
    """Shapes, dtypes and weak types equal, and values but for rounding, on normal numbers."""
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    got, want = jax.tree.leaves(optimized(x)), jax.tree.leaves(jax.jit(fun)(x))
    for a, b in zip(got, want, strict=True):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)
