"""BlockDrop: a residual network and a policy network that chooses, once per image, its blocks.

After Wu et al. (CVPR 2018, arXiv 1711.08393), in evaluation: a block runs where its probability is
at least one half. All decisions are known before the backbone starts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax

from models import resnet
from models.base import Model
from models.resnet import Gating, ResNet, ResNetConfig


@dataclass(frozen=True)
class BlockDropConfig:
    """The backbone, and the policy network whose outputs are one logit per block of it."""

    backbone: ResNetConfig
    policy: ResNetConfig

    @property
    def gates(self) -> int:
        return sum(self.backbone.blocks)


def _cifar(blocks: int) -> BlockDropConfig:
    """Three stages of `blocks` each: ResNet-32 has 5, ResNet-110 has 18."""
    backbone = ResNetConfig((blocks,) * 3, width=16, classes=10, pooled_shortcuts=True)
    return BlockDropConfig(backbone, replace(backbone, blocks=(1, 1, 1), classes=3 * blocks))


SIZES = {
    "tiny": _cifar(2),
    "small": _cifar(5),
    "cifar": _cifar(18),
    "full": BlockDropConfig(
        resnet.imagenet_config((3, 4, 23, 3)),
        replace(resnet.imagenet_config((1, 1, 1, 1), bottleneck=False), classes=33),
    ),
}


class Policy(nn.Module):
    """Images [b, h, w, 3] to a logit per block, [b, gates], and the value that training uses."""

    config: ResNetConfig

    def setup(self) -> None:
        self.net = ResNet(self.config)
        self.value = nn.Dense(1)

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        features = self.net.features(images)
        return self.net.head(features), self.value(features)


class BlockDrop(nn.Module):
    """Images to logits through the blocks that the policy chose.

    Args of the call:
      images: float32 [b, h, w, 3].
      gates: bool [b, gates], the blocks to run, instead of the policy's choice.
      branch: see `resnet.gated`.

    Returns:
      logits, float32 [b, classes], and the decisions, bool [b, gates].
    """

    config: BlockDropConfig

    def setup(self) -> None:
        self.policy = Policy(self.config.policy)
        self.backbone = ResNet(self.config.backbone)

    def __call__(
        self, images: jax.Array, gates: jax.Array | None = None, *, branch: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        if gates is None:
            gates = self._decide(images)
        x = self.backbone.embed(images)
        for i, block in enumerate(self.backbone.blocks):
            x = resnet.gated(block, x, gates[:, i], resnet.run_with_relu, branch=branch)
        return self.backbone.head(resnet.pool(x)), gates

    def _decide(self, images: jax.Array) -> jax.Array:
        """From the image at half its size; a logit of 0 is a probability of one half."""
        logits, _ = self.policy(nn.avg_pool(images, (2, 2), (2, 2)))
        return logits >= 0


def build(size: str, *, weights: str | Path | None, seed: int, gating: Gating = "auto") -> Model:
    """BlockDrop at one of `SIZES`; see `models.load`.

    `fun(params, images)` gives logits and decisions, see `BlockDrop`. "small" and "cifar" are
    the ResNet-32 and ResNet-110 for CIFAR-10, "full" is the ResNet-101 for ImageNet.

    Args:
      size: one of `SIZES`.
      weights: None; the weights are random.
      seed: of the weights.
      gating: see `resnet.apply_gated`.
    """
    resnet.require_options("blockdrop", weights, gating)
    module = BlockDrop(SIZES[size])

    def blockdrop(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        return resnet.apply_gated(module, params, images, gating=gating)

    def forced(params: Any, images: jax.Array, gates: jax.Array) -> tuple[jax.Array, jax.Array]:
        return resnet.apply_gated(module, params, images, gates, gating=gating)

    def gate_bias(params: Any, bias: Any) -> Any:
        return resnet.shifted(params, ("params", "policy", "net", "head", "bias"), bias)

    return Model(
        name="blockdrop",
        size=size,
        fun=blockdrop,
        params=resnet.initial_params(module, seed),
        shapes=(None, "b, h, w, 3"),
        constraints=("h >= 2", "w >= 2"),
        inputs=resnet.image_inputs,
        gates=module.config.gates,
        gate_override=forced,
        gate_bias=gate_bias,
    )
