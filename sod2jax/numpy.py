"""NumPy's functions whose results have sizes that depend on values."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import measured
from sod2jax.errors import DataDependentSizeError


def _numpys(*arrays: Any) -> Any:
    """NumPy or jax.numpy, whichever the arrays belong to; None inside an optimized function."""
    if measured.is_tracing():
        return None
    leaves = jax.tree.leaves(arrays)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        raise DataDependentSizeError("...")
    return jnp if any(isinstance(leaf, jax.Array) for leaf in leaves) else np


def flatnonzero(a: Any) -> Any:
    """Indices."""
    numpys = _numpys(a)
    if numpys is not None:
        return numpys.flatnonzero(a)
    mask = jnp.ravel(jnp.asarray(a)) != 0
    before = jnp.cumsum(mask, dtype=np.int32)
    count, size = measured.dimension(jnp.sum(mask, dtype=np.int32), mask.size, "nonzero")
    place = jnp.where(mask, before - 1, size)
    positions = jnp.arange(mask.size, dtype=np.int32)
    return jnp.zeros(count, np.int32).at[place].set(positions, mode="drop")
