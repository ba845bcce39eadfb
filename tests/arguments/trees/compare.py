"""Calls of an optimized function beside the same calls under plain jit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sod2jax
from sod2jax.stats import Stats

SIZES = (5, 2, 16, 9, 1)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng((seed, *shape))
    return rng.normal(size=shape).astype(np.float32)


def assert_same(seen: Any, want: Any) -> None:
    """Trees, types, shapes, dtypes and weak types are equal; numbers nearly so."""
    assert jax.tree.structure(seen) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(seen), jax.tree.leaves(want), strict=True):
        assert isinstance(a, jax.Array) == isinstance(b, jax.Array)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert getattr(a, "weak_type", False) == getattr(b, "weak_type", False)
        if a.dtype != jax.dtypes.float0:
            np.testing.assert_allclose(_numbers(a), _numbers(b), rtol=1e-5, atol=1e-5)


def _numbers(array: Any) -> np.ndarray:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    kind = np.complex128 if jnp.issubdtype(array.dtype, np.complexfloating) else np.float64
    return np.asarray(array).astype(kind)


def compare(
    fun: Callable[..., Any],
    calls: Iterable[tuple[Any, ...]],
    shapes: Any = None,
    keywords: Any = None,
    **static: Any,
) -> Stats:
    """Makes the calls with poisoned padding and no way out, beside ``jax.jit``."""
    optimized = sod2jax.optimize(fun, shapes=shapes, poison=True, on_unsupported="error", **static)
    plain = jax.jit(fun, **static)
    for args in calls:
        assert_same(optimized(*args, **keywords or {}), plain(*args, **keywords or {}))
    stats = optimized.stats()
    assert stats.exact_fallbacks == 0
    return stats
