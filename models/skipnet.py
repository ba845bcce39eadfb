"""SkipNet: a residual network in which a recurrent gate decides, block by block, what runs next.

After Wang et al. (ECCV 2018, arXiv 1711.09485), in evaluation. After each block its pooled output
feeds a small LSTM, one for all blocks, whose state runs through the depth; the result decides
whether the next block runs, so no decision is known before the one it follows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models import resnet
from models.base import Model
from models.resnet import Gating, ResNet, ResNetConfig

_GATE_FEATURES = 10

State = tuple[jax.Array, jax.Array]


def _cifar(blocks: int) -> ResNetConfig:
    """Three stages of `blocks` each: SkipNet-38 has 6, SkipNet-110 has 18."""
    return ResNetConfig((blocks,) * 3, width=16, classes=10)


SIZES = {
    "tiny": _cifar(2),
    "small": _cifar(6),
    "cifar": _cifar(18),
    "resnet50": resnet.imagenet_config((3, 4, 6, 3)),
    "full": resnet.imagenet_config((3, 4, 23, 3)),
}


class LSTMCell(nn.Module):
    """An LSTM step with a bias on either side; gates are input, forget, cell, output."""

    features: int

    @nn.compact
    def __call__(self, state: State, x: jax.Array) -> State:
        hidden, cell = state
        parts = nn.Dense(4 * self.features, name="input")(x)
        parts += nn.Dense(4 * self.features, name="hidden")(hidden)
        take, keep, new, give = jnp.split(parts, 4, axis=-1)
        cell = nn.sigmoid(keep) * cell + nn.sigmoid(take) * jnp.tanh(new)
        return nn.sigmoid(give) * jnp.tanh(cell), cell


class RecurrentGate(nn.Module):
    """Pooled block outputs, one after the other, to the logit of the next block, [b]."""

    blocks: int

    def setup(self) -> None:
        self.embeddings = [nn.Dense(_GATE_FEATURES) for _ in range(self.blocks)]
        self.lstm = LSTMCell(_GATE_FEATURES)
        self.project = nn.Dense(1)

    def start(self, batch: Any) -> State:
        zeros = jnp.zeros((batch, _GATE_FEATURES))
        return zeros, zeros

    def __call__(self, index: int, x: jax.Array, state: State) -> tuple[jax.Array, State]:
        """The logit after block `index`, whose output is `x` [b, h, w, c]."""
        state = self.lstm(state, self.embeddings[index](resnet.pool(x)))
        return self.project(state[0])[:, 0], state


class SkipNet(nn.Module):
    """Images to logits through the blocks that the gate lets run; the first always does.

    Args of the call:
      images: float32 [b, h, w, 3].
      gates: bool [b, blocks - 1], which blocks to run after the first, instead of the gate's
        choice.
      branch: see `resnet.gated`.

    Returns:
      logits, float32 [b, classes], and the decisions, bool [b, blocks - 1].
    """

    config: ResNetConfig

    def setup(self) -> None:
        self.backbone = ResNet(self.config)
        # One embedding per block, the last one unused: no block follows it.
        self.gate = RecurrentGate(sum(self.config.blocks))

    def __call__(
        self, images: jax.Array, gates: jax.Array | None = None, *, branch: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        first, *others = self.backbone.blocks
        x = first(self.backbone.embed(images))
        state = self.gate.start(images.shape[0])
        decisions = []
        for i, block in enumerate(others):
            if gates is None:
                logit, state = self.gate(i, x, state)
                decisions.append(logit > 0)
            else:
                decisions.append(gates[:, i])
            x = resnet.gated(block, x, decisions[-1], resnet.run_with_relu, branch=branch)
        if self.is_initializing():
            self.gate(len(others), x, state)
        return self.backbone.head(resnet.pool(x)), jnp.stack(decisions, axis=1)


def build(size: str, *, weights: str | Path | None, seed: int, gating: Gating = "auto") -> Model:
    """SkipNet at one of `SIZES`; see `models.load`.

    `fun(params, images)` gives logits and decisions, see `SkipNet`. "small" and "cifar" are
    SkipNet-38 and SkipNet-110 for CIFAR-10, "full" is SkipNet-101 for ImageNet.

    Args:
      size: one of `SIZES`.
      weights: None; the weights are random.
      seed: of the weights.
      gating: see `resnet.apply_gated`.
    """
    resnet.require_options("skipnet", weights, gating)
    module = SkipNet(SIZES[size])

    def skipnet(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        return resnet.apply_gated(module, params, images, gating=gating)

    def forced(params: Any, images: jax.Array, gates: jax.Array) -> tuple[jax.Array, jax.Array]:
        return resnet.apply_gated(module, params, images, gates, gating=gating)

    def gate_bias(params: Any, bias: Any) -> Any:
        return resnet.shifted(params, ("params", "gate", "project", "bias"), bias)

    return Model(
        name="skipnet",
        size=size,
        fun=skipnet,
        params=resnet.initial_params(module, seed),
        shapes=(None, "b, h, w, 3"),
        constraints=(),
        inputs=resnet.image_inputs,
        gates=sum(module.config.blocks) - 1,
        gate_override=forced,
        gate_bias=gate_bias,
    )
