"""ConvNet-AIG: a residual network in which every block decides on its own input whether to run.

After Veit and Belongie (ECCV 2018, arXiv 1711.11503). A gate pools the input of its block and
chooses between two logits, skip and run; the shortcut and the block's last ReLU always run. The
original adds Gumbel noise to the logits in evaluation too: with a random key so does this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models import resnet
from models.base import Model
from models.resnet import Block, Gating, ResNet, ResNetConfig

_GATE_FEATURES = 16


def _cifar(blocks: int) -> ResNetConfig:
    """Three stages of `blocks` each: ResNet-110 has 18."""
    return ResNetConfig((blocks,) * 3, width=16, classes=10)


SIZES = {
    "tiny": _cifar(2),
    "small": _cifar(5),
    "cifar": _cifar(18),
    "resnet101": resnet.imagenet_config((3, 4, 23, 3)),
    "full": resnet.imagenet_config((3, 4, 6, 3)),
}


class Gate(nn.Module):
    """The input of a block, [b, h, w, c], to two logits: skip and run, [b, 2]."""

    def setup(self) -> None:
        self.reduce = nn.Dense(_GATE_FEATURES)
        self.norm = nn.BatchNorm(use_running_average=True, epsilon=1e-5)
        self.choose = nn.Dense(2)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.choose(nn.relu(self.norm(self.reduce(resnet.pool(x)))))


class ConvNetAIG(nn.Module):
    """Images to logits through the blocks whose gates let them run.

    Args of the call:
      images: float32 [b, h, w, 3].
      noise: float32 [b, blocks, 2], added to the logits of the gates.
      gates: bool [b, blocks], which blocks to run, instead of the gates' choice.
      branch: see `resnet.gated`.

    Returns:
      logits, float32 [b, classes], and the decisions, bool [b, blocks].
    """

    config: ResNetConfig

    def setup(self) -> None:
        self.backbone = ResNet(self.config)
        self.gates = [Gate() for _ in range(sum(self.config.blocks))]

    def __call__(
        self,
        images: jax.Array,
        noise: jax.Array | None = None,
        gates: jax.Array | None = None,
        *,
        branch: bool = False,
    ) -> tuple[jax.Array, jax.Array]:
        x = self.backbone.embed(images)
        decisions = []
        for i, (block, gate) in enumerate(zip(self.backbone.blocks, self.gates, strict=True)):
            if gates is None:
                logits = gate(x) if noise is None else gate(x) + noise[:, i]
                decisions.append(logits[:, 1] > logits[:, 0])
            else:
                decisions.append(gates[:, i])
            x = nn.relu(resnet.gated(block, x, decisions[-1], _run, branch=branch))
        return self.backbone.head(resnet.pool(x)), jnp.stack(decisions, axis=1)


def _run(block: Block, x: jax.Array, shortcut: jax.Array) -> jax.Array:
    return shortcut + block.residual(x)


def build(size: str, *, weights: str | Path | None, seed: int, gating: Gating = "auto") -> Model:
    """ConvNet-AIG at one of `SIZES`; see `models.load`.

    `fun(params, images, key=None)` gives logits and decisions, see `ConvNetAIG`; with a random
    key (spec None) the decisions are samples. "full" is ConvNet-AIG-50 for ImageNet, "resnet101"
    the deeper one; "small" and "cifar" are on ResNet-32 and ResNet-110.

    Args:
      size: one of `SIZES`.
      weights: None; the weights are random.
      seed: of the weights.
      gating: see `resnet.apply_gated`.
    """
    resnet.require_options("convnet_aig", weights, gating)
    module = ConvNetAIG(SIZES[size])
    blocks = sum(module.config.blocks)

    def convnet_aig(
        params: Any, images: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        noise = None if key is None else jax.random.gumbel(key, (images.shape[0], blocks, 2))
        return resnet.apply_gated(module, params, images, noise, gating=gating)

    def forced(params: Any, images: jax.Array, gates: jax.Array) -> tuple[jax.Array, jax.Array]:
        return resnet.apply_gated(module, params, images, None, gates, gating=gating)

    def gate_bias(params: Any, bias: Any) -> Any:
        for i, amount in enumerate(jnp.broadcast_to(jnp.float32(bias), (blocks,))):
            path = ("params", f"gates_{i}", "choose", "bias")
            params = resnet.shifted(params, path, jnp.stack([jnp.float32(0), amount]))
        return params

    return Model(
        name="convnet_aig",
        size=size,
        fun=convnet_aig,
        params=resnet.initial_params(module, seed),
        shapes=(None, "b, h, w, 3"),
        constraints=(),
        inputs=resnet.image_inputs,
        gates=blocks,
        gate_override=forced,
        gate_bias=gate_bias,
    )
