"""A small causal language model and its training step, as one writes it for exact shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from models import source_code

VOCABULARY = 128  # ASCII
MAX_LENGTH = 32
MAX_BATCH = 8

Step = Callable[[Any, Any, Any, Any], tuple[Any, Any, jax.Array]]


class Block(nn.Module):
    """Attention to what came before, and a perceptron, both residual and with dropout."""

    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x: (b, s, d); gives the same shape."""
        d = x.shape[-1]
        causal = nn.make_causal_mask(x[..., 0])
        # A key bias moves all scores of a row alike: its gradient is zero but for rounding, which
        # Adam would scale up to a whole step.
        attention = nn.MultiHeadDotProductAttention(
            num_heads=2, use_bias=False, dropout_rate=self.dropout, deterministic=False
        )
        h = attention(nn.LayerNorm()(x), mask=causal)
        x = x + nn.Dropout(self.dropout, deterministic=False)(h)
        h = nn.Dense(d)(nn.gelu(nn.Dense(2 * d)(nn.LayerNorm()(x))))
        return x + nn.Dropout(self.dropout, deterministic=False)(h)


class LanguageModel(nn.Module):
    """Decoder with tied input and output embeddings."""

    width: int = 16
    layers: int = 2
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """tokens: int32 (b, s); gives logits (b, s, vocabulary)."""
        embed = nn.Embed(VOCABULARY, self.width)
        positions = nn.Embed(MAX_LENGTH, self.width)(jnp.arange(tokens.shape[1]))
        x = embed(tokens) + positions[None]
        x = nn.Dropout(self.dropout, deterministic=False)(x)
        for _ in range(self.layers):
            x = Block(self.dropout)(x)
        return embed.attend(nn.LayerNorm()(x))


MODEL = LanguageModel()
# Adam divides a gradient by about its own size: one that is zero but for rounding would be scaled
# up to a whole step if eps did not stand far above rounding.
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(3e-3, eps=1e-4))


def train_step(
    params: Any, state: Any, tokens: jax.Array, key: jax.Array
) -> tuple[Any, Any, jax.Array]:
    """One step on the mean cross-entropy of every next token; tokens: int32 (b, s), s >= 2."""

    def loss_of(p: Any) -> jax.Array:
        logits: Any = MODEL.apply(p, tokens[:, :-1], rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

    loss, gradients = jax.value_and_grad(loss_of)(params)
    updates, state = OPTIMIZER.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, loss


def initial() -> tuple[Any, Any]:
    """Parameters and optimizer state."""
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    params = MODEL.init(rngs, np.zeros((1, 2), np.int32))
    return params, OPTIMIZER.init(params)


def batches(steps: int, shapes: int, seed: int) -> Iterator[np.ndarray]:
    """Text of Python's standard library as ASCII codes, int32 (b, s), b <= 8 and 2 <= s <= 32.

    Args:
      steps: number of batches.
      shapes: number of distinct shapes among them, the smallest and the largest included.
      seed: of shapes and text.
    """
    rng = np.random.default_rng(seed)
    text = "\n".join(source_code.texts()).encode("ascii", "ignore")
    corpus = np.frombuffer(text, np.uint8).astype(np.int32)
    every = [(b, s) for b in range(1, MAX_BATCH + 1) for s in range(2, MAX_LENGTH + 1)]
    inner = rng.permutation(every[1:-1])[: shapes - 2].tolist()
    order = np.arange(steps) % shapes
    for b, s in np.array([every[0], every[-1], *inner])[rng.permutation(order)]:
        starts = rng.integers(0, len(corpus) - s, b)
        yield corpus[starts[:, None] + np.arange(s)]
