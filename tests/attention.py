"""A function of two symbolic sizes, for tests of what becomes of a call."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import sod2jax


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def attention(x, w):
    """[b, s, 4], [4, 4] -> {"mixed": [b, s, 4], "mean": [4]}."""
    scores = jnp.einsum("bsd,btd->bst", x @ w, x)
    mixed = jax.nn.softmax(scores) @ x
    return {"mixed": mixed, "mean": mixed.mean((0, 1))}


SPECS = {"shapes": ("b, s, 4", None), "buckets": {"b": (3,), "s": (4, 8)}}


W = normal(4, 4, seed=1)


def optimized(fun=attention, **options):
    return sod2jax.optimize(fun, **{"on_unsupported": "error", **SPECS, **options})


def assert_close(seen, want):
    assert jax.tree.structure(seen) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(seen), jax.tree.leaves(want), strict=True):
        assert isinstance(a, jax.Array)
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-5)
