"""Residual networks in flax, each block apart, so that a gate can stand before it.

Version 1 of He et al. (arXiv 1512.03385): the stride of a bottleneck is on its 3x3 convolution, and
normalisation uses running statistics. Images may have any height and width: padding is explicit
and the last pool is global.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from models import photographs
from models.base import random_params

Gating = Literal["auto", "branch", "mask"]
GATINGS = ("auto", "branch", "mask")

_BOTTLENECK_EXPANSION = 4
# Trained networks end their residual branches with small scales, and deep sums stay of order one.
_RESIDUAL_SCALE = 0.2
# Flax takes pairs for each axis, though its annotations say str.
_ONE_AFTER: Any = ((0, 1), (0, 1))
_ONE_AROUND: Any = ((1, 1), (1, 1))


@dataclass(frozen=True)
class ResNetConfig:
    """A residual network.

    Attributes:
      blocks: how many per stage; stage k has `width * 2**k` channels.
      width: channels of the first stage.
      classes: outputs of the head.
      bottleneck: blocks of 1x1, 3x3 and 1x1 convolutions, the last with four times the channels,
        instead of two 3x3.
      imagenet: a stem of a 7x7 convolution and a max-pool, both of stride 2, instead of one 3x3.
      pooled_shortcuts: a shortcut that halves the image is an average pool with zero channels
        added, instead of a 1x1 convolution.
    """

    blocks: tuple[int, ...]
    width: int
    classes: int
    bottleneck: bool = False
    imagenet: bool = False
    pooled_shortcuts: bool = False


def imagenet_config(blocks: tuple[int, ...], *, bottleneck: bool = True) -> ResNetConfig:
    """The networks for ImageNet: ResNet-101 has blocks (3, 4, 23, 3)."""
    return ResNetConfig(blocks, width=64, classes=1000, bottleneck=bottleneck, imagenet=True)


class ConvNorm(nn.Module):
    """Convolution of odd `size`, padded by half of it, then batch normalisation; [b, h, w, c]."""

    features: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        half = (self.size // 2, self.size // 2)
        x = nn.Conv(
            self.features,
            (self.size, self.size),
            strides=self.stride,
            padding=(half, half),
            use_bias=False,
            name="conv",
        )(x)
        return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="norm")(x)


class Block(nn.Module):
    """A residual block, `relu(shortcut(x) + residual(x))`, on [b, h, w, c].

    `shortcut` has no parameters where shape and channels stay, and no ReLU.
    """

    features: int
    stride: int
    bottleneck: bool
    shortcut_kind: Literal["identity", "conv", "pool"]

    def setup(self) -> None:
        out = self.features * (_BOTTLENECK_EXPANSION if self.bottleneck else 1)
        if self.bottleneck:
            self.convs = [ConvNorm(self.features, 1), ConvNorm(self.features, 3, self.stride)]
            self.last = ConvNorm(out, 1)
        else:
            self.convs = [ConvNorm(self.features, 3, self.stride)]
            self.last = ConvNorm(out, 3)
        if self.shortcut_kind == "conv":
            self.project = ConvNorm(out, 1, self.stride)

    def shortcut(self, x: jax.Array) -> jax.Array:
        if self.shortcut_kind == "conv":
            return self.project(x)
        if self.shortcut_kind == "pool":
            return _pooled_shortcut(x, self.features)
        return x

    def residual(self, x: jax.Array) -> jax.Array:
        for conv in self.convs:
            x = nn.relu(conv(x))
        return self.last(x)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.relu(self.shortcut(x) + self.residual(x))


def _pooled_shortcut(x: jax.Array, features: int) -> jax.Array:
    """Half the size, rounded up as a padded convolution does; new channels are zero."""
    x = nn.avg_pool(x, (2, 2), (2, 2), padding=_ONE_AFTER, count_include_pad=False)
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, features - x.shape[-1])))


class ResNet(nn.Module):
    """Images, float32 [b, h, w, 3], to logits, float32 [b, classes].

    `embed`, `blocks`, `pool` and `head` are its parts, in this order.
    """

    config: ResNetConfig

    def setup(self) -> None:
        config = self.config
        self.stem = ConvNorm(config.width, 7, 2) if config.imagenet else ConvNorm(config.width, 3)
        self.blocks = list(_blocks(config))
        self.head = nn.Dense(config.classes)

    def embed(self, images: jax.Array) -> jax.Array:
        x = nn.relu(self.stem(images))
        if not self.config.imagenet:
            return x
        return nn.max_pool(x, (3, 3), (2, 2), padding=_ONE_AROUND)

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.head(self.features(images))

    def features(self, images: jax.Array) -> jax.Array:
        """The input of the head, float32 [b, c]."""
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return pool(x)


def _blocks(config: ResNetConfig) -> Iterator[Block]:
    halved = "pool" if config.pooled_shortcuts else "conv"
    for stage, count in enumerate(config.blocks):
        for i in range(count):
            stride = 2 if stage > 0 and i == 0 else 1
            widened = config.bottleneck and i == 0
            kind = halved if stride == 2 else "conv" if widened else "identity"
            yield Block(config.width * 2**stage, stride, config.bottleneck, kind)


def pool(x: jax.Array) -> jax.Array:
    """Global average of [b, h, w, c]: [b, c]."""
    return x.mean(axis=(1, 2))


# Gates

Run = Callable[[Block, jax.Array, jax.Array], jax.Array]


def gated(block: Block, x: jax.Array, gate: jax.Array, run: Run, *, branch: bool) -> jax.Array:
    """`run(block, x, shortcut)` for examples whose gate is on, their shortcut for the others.

    Args:
      block: the block; its shortcut runs for every example.
      x: [b, h, w, c].
      gate: bool [b].
      run: what an open gate computes.
      branch: a real branch, for b of 1; otherwise a select, which runs the block for all.
    """
    shortcut = block.shortcut(x)
    if branch:
        return nn.cond(gate[0], run, lambda block, x, shortcut: shortcut, block, x, shortcut)
    return jnp.where(gate[:, None, None, None], run(block, x, shortcut), shortcut)


def run_with_relu(block: Block, x: jax.Array, shortcut: jax.Array) -> jax.Array:
    """The whole block, its ReLU included: a skipped block leaves out the ReLU too."""
    return nn.relu(shortcut + block.residual(x))


def apply_gated(
    module: nn.Module, params: Any, images: jax.Array, *extras: jax.Array | None, gating: Gating
) -> Any:
    """Applies a gated network, by branches or by masks.

    Args:
      module: called as `module(images, *extras, branch=)`; gives arrays with leading axis b.
      params: its variables.
      images: [b, h, w, 3].
      extras: arrays with leading axis b, or None.
      gating: "branch": every example takes its own branches, written for one example and, where b
        is not 1, batched by `jax.vmap`; "mask": all blocks run for the whole batch, and a select
        by the gates keeps or drops their results; "auto": "branch" where b is 1, else "mask".
    """
    if gating == "mask" or (gating == "auto" and images.shape[0] != 1):
        return module.apply(params, images, *extras, branch=False)
    if images.shape[0] == 1:
        return module.apply(params, images, *extras, branch=True)

    def one(*example: jax.Array | None) -> Any:
        batch_of_one = jax.tree.map(lambda leaf: leaf[None], example)
        out = module.apply(params, *batch_of_one, branch=True)
        return jax.tree.map(lambda leaf: leaf[0], out)

    return jax.vmap(one)(images, *extras)


# What the models on this core share


def param_shapes(module: nn.Module) -> Any:
    """The variables, parameters and running statistics, as shapes; nothing is computed."""
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), images)


def initial_params(module: nn.Module, seed: int) -> Any:
    """Random variables: He's initialisation, biases 0, running statistics of the unit normal."""
    return random_params(param_shapes(module), seed, _scale)


def _scale(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[float, float]:
    if path[-1] == "kernel":
        return 0.0, math.sqrt(2 / math.prod(shape[:-1]))
    if path[-1] == "var":
        return 1.0, 0.0
    if path[-1] == "scale":
        return (_RESIDUAL_SCALE if "last" in path else 1.0), 0.0
    return 0.0, 0.0


def shifted(params: Any, path: tuple[str, ...], amount: Any) -> Any:
    """A copy of the variables in which `amount` is added to the leaf at `path`."""
    leaves = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({**leaves, path: leaves[path] + jnp.float32(amount)})


def image_inputs(
    rng: np.random.Generator, *, b: int, h: int, w: int
) -> tuple[np.ndarray[Any, np.dtype[np.float32]]]:
    """Photographs, float32 [b, h, w, 3], of zero mean and unit deviation over ImageNet."""
    mean, std = photographs.IMAGENET_MEAN, photographs.IMAGENET_STD
    return (photographs.batch(rng, b, h, w, mean=mean, std=std),)


def require_options(name: str, weights: str | Path | None, gating: str) -> None:
    """Refuses what a gated model cannot take.

    Raises:
      ValueError: for a checkpoint, or a `gating` that is not one of `GATINGS`.
    """
    if weights is not None:
        raise ValueError(f"{name} has no public checkpoint in a format that is read here")
    if gating not in GATINGS:
        raise ValueError(f"gating is one of {', '.join(GATINGS)}, not {gating!r}")
