"""Multi-head self-attention, as the transformer models here share it."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp


class SelfAttention(nn.Module):
    """Attention of `x` [b, s, d] to itself; `bias`, broadcast to [b, heads, s, s], adds to scores.

    The d features are divided among `heads`.
    """

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        features = x.shape[-1]
        head_dim = features // self.heads

        def project(name: str) -> jax.Array:
            projected = nn.Dense(features, name=name)(x)
            return projected.reshape(*x.shape[:-1], self.heads, head_dim)

        query, key, value = project("query"), project("key"), project("value")
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(head_dim)
        if bias is not None:
            scores = scores + bias
        context = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores), value)
        return nn.Dense(features, name="output")(context.reshape(x.shape))
