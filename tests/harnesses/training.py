"""Whole training steps: loss, gradients and optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.harnesses.base import Arg, Harness
from tests.harnesses.loop import random_parameters

LABELS = Arg("b, s", np.int32, lambda rng, shape: rng.integers(-1, 3, shape))


class _Encoder(nn.Module):
    """Embedding, attention with a residual connection, and logits for every token."""

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = nn.Embed(12, 4)(tokens)
        # The gradient of a key bias is rounding noise, which Adam would scale up to a step.
        attention = nn.MultiHeadDotProductAttention(num_heads=2, use_bias=False)
        return nn.Dense(3)(x + attention(nn.LayerNorm()(x)))


class _Perceptron(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(3)(nn.LayerNorm()(nn.relu(nn.Dense(8)(x))))


def _train_step(model: nn.Module, example: np.ndarray) -> Callable[..., Any]:
    """Returns one AdamW step on the cross-entropy of labels that are not -1."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2))

    def step(inputs: jax.Array, labels: jax.Array):
        params = random_parameters(model, example)
        state = optimizer.init(params)

        def loss_of(p: Any) -> jax.Array:
            log_probabilities = jax.nn.log_softmax(model.apply(p, inputs))
            picked = (jax.nn.one_hot(labels, 3) * log_probabilities).sum(-1)
            return -picked.sum() / jnp.maximum((labels >= 0).sum(), 1)

        loss, gradients = jax.value_and_grad(loss_of)(params)
        updates, new_state = optimizer.update(gradients, state, params)
        return loss, optax.apply_updates(params, updates), new_state

    return step


HARNESSES = [
    Harness(
        "gradient_train_step_perceptron",
        _train_step(_Perceptron(), np.zeros((1, 1, 4), np.float32)),
        (Arg("b, s, 4"), LABELS),
        rtol=1e-4,
    ),
    Harness(
        "gradient_train_step_encoder",
        _train_step(_Encoder(), np.zeros((1, 1), np.int32)),
        (Arg("b, s", np.int32), LABELS),
        rtol=1e-4,
    ),
]
