"""Self-attention that knows how far apart two positions are, as Transformer-XL has it.

After Dai et al. (arXiv 1901.02860, appendix B): no table limits the length.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_LONGEST_WAVE = 10000.0


def distance_encodings(length: Any, features: int) -> jax.Array:
    """Sines and cosines of distances, length - 1 down to 1 - length: [2 length - 1, features]."""
    distances = jnp.arange(length - 1, -length, -1, dtype=jnp.float32)
    frequencies = _LONGEST_WAVE ** -(np.arange(0, features, 2, dtype=np.float32) / features)
    angles = distances[:, None] * frequencies[None]
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(-1, features)


class RelativeAttention(nn.Module):
    """Attention of `x` [b, t, d] to itself; `positions` [2t - 1, d] encode distances from t - 1.

    Each head adds one learned vector to the queries that meet keys, another to those that meet
    positions.
    """

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array) -> jax.Array:
        features = x.shape[-1]
        head_dim = features // self.heads

        def project(name: str, x: jax.Array, use_bias: bool = True) -> jax.Array:
            projected = nn.Dense(features, use_bias=use_bias, name=name)(x)
            return projected.reshape(*x.shape[:-1], self.heads, head_dim)

        def shift(name: str) -> jax.Array:
            return self.param(name, nn.initializers.zeros, (self.heads, head_dim))[None, None]

        query, key, value = (project(name, x) for name in ("q_proj", "k_proj", "v_proj"))
        distance = project("relative_k_proj", positions, use_bias=False)
        scores = jnp.einsum("bqhd,bkhd->bhqk", query + shift("bias_u"), key)
        by_distance = jnp.einsum("bqhd,rhd->bhqr", query + shift("bias_v"), distance)
        scores = (scores + _by_key(by_distance)) / math.sqrt(head_dim)
        context = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores), value)
        return nn.Dense(features, name="o_proj")(context.reshape(x.shape))


def _by_key(scores: jax.Array) -> jax.Array:
    """From scores by distance, [b, h, t, 2t - 1], to scores by key, [b, h, t, t].

    Row q holds the distances t - 1 down to 1 - t; key k is at q - k. Transformer-XL's shift: with a
    column before them, rows that are one shorter begin one later each.
    """
    b, h, t, distances = scores.shape
    padded = jnp.pad(scores, ((0, 0), (0, 0), (0, 0), (1, 0)))
    shifted = padded.reshape(b, h, distances + 1, t)[:, :, 1:]
    return shifted.reshape(b, h, t, distances)[..., :t]
