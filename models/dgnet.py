"""DGNet: a residual network whose blocks skip patches of the image and channels, by two gates.

After Li et al. (ICCV 2021, dynamic dual gating), in evaluation. The spatial gate of a block decides
patch by patch from its pooled input, the channel gate channel by channel. As in the original, what
is skipped is zero; here it is selected away and not multiplied by zero, so that no NaN or infinity
comes through. Heights and widths are multiples of a unit, so that patches are whole.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from models import resnet
from models.base import Model
from models.resnet import Block, ResNet, ResNetConfig

_REDUCTION = 4
_ONE_AROUND: Any = ((1, 1), (1, 1))


@dataclass(frozen=True)
class DGNetConfig:
    """The backbone, and for each of its stages the side of a patch in its blocks' outputs."""

    backbone: ResNetConfig
    patches: tuple[int, ...]
    unit: int

    @property
    def channel_gates(self) -> int:
        """Of a block: one for each convolution but the last."""
        return 2 if self.backbone.bottleneck else 1

    @property
    def gates(self) -> int:
        """Of all blocks: a spatial gate each, and the channel gates."""
        return sum(self.backbone.blocks) * (1 + self.channel_gates)


def _imagenet(blocks: tuple[int, ...], *, bottleneck: bool = False) -> DGNetConfig:
    backbone = resnet.imagenet_config(blocks, bottleneck=bottleneck)
    return DGNetConfig(backbone, patches=(8, 4, 2, 1), unit=32)


SIZES = {
    "tiny": DGNetConfig(
        ResNetConfig((1, 1, 1, 1), width=8, classes=10, imagenet=True),
        patches=(4, 2, 1, 1),
        unit=32,
    ),
    "cifar": DGNetConfig(ResNetConfig((3, 3, 3), width=16, classes=10), (4, 2, 2), unit=8),
    "resnet18": _imagenet((2, 2, 2, 2)),
    "resnet50": _imagenet((3, 4, 6, 3), bottleneck=True),
    "full": _imagenet((3, 4, 6, 3)),
}


class Decisions(NamedTuple):
    """What the gates of one block decide; True where it runs.

    Attributes:
      spatial: bool [b, p, q], of each patch.
      channels: bool [b, c], of each channel after each convolution but the last.
    """

    spatial: jax.Array
    channels: tuple[jax.Array, ...]


class SpatialGate(nn.Module):
    """[b, h, w, c] to a logit for each patch of `side` pixels, [b, h / side, w / side]."""

    side: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        window = (self.side, self.side)
        patches = nn.avg_pool(x, window, window)
        return nn.Conv(1, (3, 3), padding=_ONE_AROUND, name="decide")(patches)[..., 0]


class ChannelGate(nn.Module):
    """[b, h, w, c] to a logit for each channel, [b, features]."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = nn.Dense(x.shape[-1] // _REDUCTION, use_bias=False, name="reduce")(resnet.pool(x))
        inner = nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="norm")(inner)
        return nn.Dense(self.features, name="decide")(nn.relu(inner))


class Gates(nn.Module):
    """The gates of a block."""

    features: int
    stride: int
    patch: int
    channel_gates: int

    def setup(self) -> None:
        self.spatial = SpatialGate(self.patch * self.stride)
        self.channels = [ChannelGate(self.features) for _ in range(self.channel_gates)]


class DGNet(nn.Module):
    """Images to logits through the patches and channels that the gates let run.

    Args of the call:
      images: float32 [b, unit * h, unit * w, 3].
      forced: the decisions of each block, to use instead of the gates'; an axis of patches or
        channels may have size 1 and hold for all of them.

    Returns:
      logits, float32 [b, classes], and the decisions of each block, which may be forced.
    """

    config: DGNetConfig

    def setup(self) -> None:
        backbone = self.config.backbone
        self.backbone = ResNet(backbone)
        self.gates = [
            Gates(backbone.width * 2**stage, stride, patch, self.config.channel_gates)
            for stage, (count, patch) in enumerate(
                zip(backbone.blocks, self.config.patches, strict=True)
            )
            for stride in [2 if stage else 1, *itertools.repeat(1, count - 1)]
        ]

    def __call__(
        self, images: jax.Array, forced: tuple[Decisions, ...] | None = None
    ) -> tuple[jax.Array, tuple[Decisions, ...]]:
        x = self.backbone.embed(images)
        decisions = []
        for i, (block, gates) in enumerate(zip(self.backbone.blocks, self.gates, strict=True)):
            x, decided = _run(block, gates, x, None if forced is None else forced[i])
            decisions.append(decided)
        return self.backbone.head(resnet.pool(x)), tuple(decisions)


def _run(
    block: Block, gates: Gates, x: jax.Array, forced: Decisions | None
) -> tuple[jax.Array, Decisions]:
    """A block whose residual branch is zero in skipped patches, and within it in channels too."""
    pixels = gates.patch * gates.stride
    if forced is None:
        spatial = gates.spatial(x) >= 0
    else:
        patches = (x.shape[0], x.shape[1] // pixels, x.shape[2] // pixels)
        spatial = jnp.broadcast_to(forced.spatial, patches)
    channels, residual = [], x
    for i, conv in enumerate(block.convs):
        if forced is None:
            kept = gates.channels[i](residual) >= 0
        else:
            kept = jnp.broadcast_to(forced.channels[i], (x.shape[0], gates.features))
        channels.append(kept)
        pixels //= conv.stride
        runs = _each_pixel(spatial, pixels) & kept[:, None, None]
        residual = jnp.where(runs, nn.relu(conv(residual)), 0)
    residual = jnp.where(_each_pixel(spatial, pixels), block.last(residual), 0)
    # Changes no value, and says for whom none of this has to be computed.
    residual = jnp.where(spatial.any(axis=(1, 2))[:, None, None, None], residual, 0)
    return nn.relu(block.shortcut(x) + residual), Decisions(spatial, tuple(channels))


def _each_pixel(patches: jax.Array, side: int) -> jax.Array:
    """[b, p, q] to [b, p * side, q * side, 1]."""
    return jnp.repeat(jnp.repeat(patches, side, axis=1), side, axis=2)[..., None]


def build(size: str, *, weights: str | Path | None, seed: int) -> Model:
    """DGNet at one of `SIZES`; see `models.load`.

    `fun(params, images)` gives logits and decisions, see `DGNet`. The sides of an image are
    multiples of a unit, and `inputs` takes h and w in units: 32 pixels, or 8 for "cifar".
    `gate_override` takes as its `gates` bool [b, gates], for each block the spatial gate and then
    the channel gates, where a gate decides alike for all its patches or channels; or decisions as
    `fun` gives them, patch by patch and channel by channel. `gate_bias` adds to all logits of a
    gate, again [gates] in that order.
    "full" is ResDG-34 for ImageNet, "cifar" the one of 20 layers for CIFAR-10.

    Args:
      size: one of `SIZES`.
      weights: None; the weights are random.
      seed: of the weights.
    """
    resnet.require_options("dgnet", weights, "mask")
    config = SIZES[size]
    module = DGNet(config)

    def dgnet(params: Any, images: jax.Array) -> tuple[jax.Array, tuple[Decisions, ...]]:
        return module.apply(params, images)

    def forced(
        params: Any, images: jax.Array, gates: jax.Array | tuple[Decisions, ...]
    ) -> tuple[jax.Array, tuple[Decisions, ...]]:
        return module.apply(params, images, _whole(gates, config))

    def inputs(rng: np.random.Generator, *, b: int, h: int, w: int) -> tuple[np.ndarray, ...]:
        return resnet.image_inputs(rng, b=b, h=config.unit * h, w=config.unit * w)

    def gate_bias(params: Any, bias: Any) -> Any:
        amounts = jnp.broadcast_to(jnp.float32(bias), (config.gates,))
        leaves = traverse_util.flatten_dict(params)
        for path, amount in zip(_bias_paths(config), amounts, strict=True):
            leaves[path] = leaves[path] + amount
        return traverse_util.unflatten_dict(leaves)

    return Model(
        name="dgnet",
        size=size,
        fun=dgnet,
        params=resnet.initial_params(module, seed),
        shapes=(None, f"b, {config.unit}*h, {config.unit}*w, 3"),
        constraints=(),
        inputs=inputs,
        gates=config.gates,
        gate_override=forced,
        gate_bias=gate_bias,
    )


def _whole(gates: Any, config: DGNetConfig) -> tuple[Decisions, ...]:
    """Decisions that hold for a whole gate, [b, gates], as those of blocks; others as they are."""
    if isinstance(gates, tuple):
        return gates
    of_block = 1 + config.channel_gates
    return tuple(
        Decisions(gates[:, i, None, None], tuple(gates[:, i + j, None] for j in range(1, of_block)))
        for i in range(0, config.gates, of_block)
    )


def _bias_paths(config: DGNetConfig) -> list[tuple[str, ...]]:
    """Of the last layer of every gate, in the order of the network."""
    names = ["spatial", *(f"channels_{i}" for i in range(config.channel_gates))]
    return [
        ("params", f"gates_{block}", name, "decide", "bias")
        for block in range(sum(config.backbone.blocks))
        for name in names
    ]
