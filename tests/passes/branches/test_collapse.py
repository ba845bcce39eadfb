"""Collapsed control flow as a whole: what it keeps in memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import sod2jax


def test_exclusive_branches_share_memory() -> None:
    size = 256

    def branch(w: jax.Array, x: jax.Array) -> jax.Array:
        y = x @ w  # [s, 4096], which the second product needs as a whole
        return jnp.sort(y, axis=1) @ w.T

    def one(p: jax.Array, w: jax.Array, v: jax.Array, x: jax.Array) -> jax.Array:
        return lax.cond(p, lambda: branch(w, x), lambda: branch(v, x + 1))

    def both(p: jax.Array, w: jax.Array, v: jax.Array, x: jax.Array) -> jax.Array:
        first, second = lax.optimization_barrier((_wide(w, x), _wide(v, x + 1)))
        return jnp.where(p, first @ w.T, second @ v.T)

    def _wide(w: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sort(x @ w, axis=1)

    w = np.ones((16, 4096), np.float32)
    inputs = (np.True_, w, w, np.ones((size, 16), np.float32))
    buffer = size * 4096 * 4
    plans = {}
    for fun in (one, both):
        optimized = sod2jax.optimize(
            fun, shapes=(None, None, None, "s, 16"), buckets={"s": (size,)}
        )
        optimized(*inputs)
        plans[fun] = optimized.memory_plan(size)
    for measure in (lambda plan: plan.arena_bytes, lambda plan: plan.xla.temp_bytes):
        assert measure(plans[one]) < measure(plans[both]) - 0.8 * buffer
        assert measure(plans[one]) < 2.2 * buffer
