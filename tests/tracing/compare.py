"""Results of an optimized function beside those of ``jax.jit``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from tests.quick import run_plainly


def assert_as_under_jit(
    fun: Callable[..., Any], optimized: Callable[..., Any], shapes: Iterable[Any], atol: float
) -> None:
    """Shapes, dtypes and weak types equal, and values but for rounding, on normal numbers."""
    arrays = [
        np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        for seed, shape in enumerate(shapes)
    ]
    for x, want in zip(arrays, run_plainly(fun, [[x] for x in arrays]), strict=True):
        for a, b in zip(jax.tree.leaves(optimized(x)), want, strict=True):
            assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)
