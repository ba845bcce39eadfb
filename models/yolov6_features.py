"""Backbone and neck of YOLOv6: images to features at strides 8, 16 and 32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.repvgg import ConvNorm, RepBlock, RepConv

# Of the largest model.
_STEM = 64
_STAGES = (128, 256, 512, 1024)
_STAGE_REPEATS = (6, 12, 18, 6)
_NECK_REPEATS = 12
_CHANNEL_MULTIPLE = 8


@dataclass(frozen=True)
class YoloConfig:
    """Sizes of the detector.

    Attributes:
      width: share of the largest model's channels.
      depth: share of the largest model's repeats; a block repeats at least once.
      classes: number of classes.
    """

    width: float
    depth: float
    classes: int = 80

    def channels(self, largest: int) -> int:
        return math.ceil(largest * self.width / _CHANNEL_MULTIPLE) * _CHANNEL_MULTIPLE

    def repeats(self, largest: int) -> int:
        return max(round(largest * self.depth), 1)


class SPPF(nn.Module):
    """Max-pools of growing size beside a 1x1 convolution (SimCSPSPPF); on [b, h, w, c]."""

    features: int
    deploy: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = partial(ConvNorm, self.features // 2, deploy=self.deploy)
        skip = conv(size=1, name="skip")(x)
        for i, size in enumerate((1, 3, 1)):
            x = conv(size=size, name=f"before_{i}")(x)
        pools = [x]
        for _ in range(3):
            pools.append(nn.max_pool(pools[-1], (5, 5), padding=((2, 2), (2, 2))))
        x = jnp.concatenate(pools, axis=-1)
        for i, size in enumerate((1, 3)):
            x = conv(size=size, name=f"after_{i}")(x)
        x = jnp.concatenate((skip, x), axis=-1)
        return ConvNorm(self.features, 1, deploy=self.deploy, name="merge")(x)


class Backbone(nn.Module):
    """Images [b, 32*h, 32*w, 3] to features at strides 4, 8, 16 and 32."""

    config: YoloConfig
    deploy: bool = True

    @nn.compact
    def __call__(self, images: jax.Array) -> list[jax.Array]:
        config, deploy = self.config, self.deploy
        x = RepConv(config.channels(_STEM), 2, deploy, name="stem")(images)
        levels = []
        for i, (largest, repeats) in enumerate(zip(_STAGES, _STAGE_REPEATS, strict=True)):
            features = config.channels(largest)
            x = RepConv(features, 2, deploy, name=f"down_{i}")(x)
            x = RepBlock(features, config.repeats(repeats), deploy, name=f"blocks_{i}")(x)
            if i == len(_STAGES) - 1:
                x = SPPF(features, deploy, name="sppf")(x)
            levels.append(x)
        return levels


class BiFusion(nn.Module):
    """Features of three neighbouring levels at the size of the middle one."""

    features: int
    deploy: bool = True

    @nn.compact
    def __call__(self, coarse: jax.Array, same: jax.Array, fine: jax.Array) -> jax.Array:
        conv = partial(ConvNorm, self.features, deploy=self.deploy)
        up = nn.ConvTranspose(self.features, (2, 2), strides=(2, 2), padding="VALID", name="up")
        fine = conv(size=1, name="fine")(fine)
        parts = (
            up(coarse),
            conv(size=1, name="same")(same),
            conv(size=3, stride=2, name="down")(fine),
        )
        return conv(size=1, name="merge")(jnp.concatenate(parts, axis=-1))


class Neck(nn.Module):
    """Features at strides 4 to 32 to features at strides 8 to 32, finest first (RepBiFPAN)."""

    config: YoloConfig
    deploy: bool = True

    @nn.compact
    def __call__(self, levels: Sequence[jax.Array]) -> list[jax.Array]:
        p2, p3, p4, p5 = levels
        c128, c256, c512 = map(self.config.channels, (128, 256, 512))
        conv = partial(ConvNorm, deploy=self.deploy)
        block = partial(RepBlock, repeats=self.config.repeats(_NECK_REPEATS), deploy=self.deploy)

        top = conv(c256, 1, name="reduce_0")(p5)
        x = BiFusion(c256, self.deploy, name="fuse_0")(top, p4, p3)
        middle = conv(c128, 1, name="reduce_1")(block(c256, name="blocks_0")(x))
        x = BiFusion(c128, self.deploy, name="fuse_1")(middle, p3, p2)
        fine = block(c128, name="blocks_1")(x)

        x = jnp.concatenate((conv(c128, 3, 2, name="down_0")(fine), middle), axis=-1)
        same = block(c256, name="blocks_2")(x)
        x = jnp.concatenate((conv(c256, 3, 2, name="down_1")(same), top), axis=-1)
        return [fine, same, block(c512, name="blocks_3")(x)]
