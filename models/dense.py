"""Densely connected blocks at several resolutions, as RANet has them, on [b, h, w, c].

A layer adds channels to those it was given. A fused layer also takes some from the layer at the
same place in the network of the scale below, resized: bilinear, with corners on corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.resnet import ConvNorm

Features = tuple[jax.Array, ...]


@dataclass(frozen=True)
class BlockPlan:
    """A block of dense layers.

    Attributes:
      layers: how many.
      growth: channels that a layer adds.
      bottleneck: a layer first narrows its input to this many times its own channels.
      fused: channels of each layer that come from the scale below; 0 for a plain block.
      fused_bottleneck: like `bottleneck`, for those.
      fused_share: of its channels, how many a fused block adds from the scale below at its end.
      halves: the last layer, of a fused block, halves the image.
      kept: share of the channels that a 1x1 convolution at the end leaves, or None without one.
    """

    layers: int
    growth: int
    bottleneck: int
    fused: int = 0
    fused_bottleneck: int = 0
    fused_share: float = 0.0
    halves: bool = False
    kept: float | None = None


class Narrowed(nn.Module):
    """A 3x3 convolution to `features` channels after a 1x1 one to at most `factor` times those."""

    features: int
    factor: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = min(x.shape[-1], self.factor * self.features)
        x = nn.relu(ConvNorm(inner, 1, name="narrow")(x))
        return nn.relu(ConvNorm(self.features, 3, self.stride, name="convolve")(x))


class PlainLayer(nn.Module):
    """[b, h, w, c] to [b, h, w, c + growth]: what came in, and what is new."""

    plan: BlockPlan

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        new = Narrowed(self.plan.growth, self.plan.bottleneck, name="new")(x)
        return jnp.concatenate([x, new], axis=-1)


class FusedLayer(nn.Module):
    """Like `PlainLayer`, with some of the new channels from `below`, of any height and width."""

    plan: BlockPlan
    halves: bool

    @nn.compact
    def __call__(self, x: jax.Array, below: jax.Array) -> jax.Array:
        plan = self.plan
        stride = 2 if self.halves else 1
        new = Narrowed(plan.growth - plan.fused, plan.bottleneck, stride, name="new")(x)
        size = new.shape[1:3]
        fused = Narrowed(plan.fused, plan.fused_bottleneck, name="fused")(below)
        kept = resize(x, size) if self.halves else x
        return jnp.concatenate([kept, resize(fused, size), new], axis=-1)


class Block(nn.Module):
    """Layers, the end of a fused block, and the convolution that narrows.

    Args of the call:
      x: [b, h, w, c].
      below: what the block at this place of the scale below had as `features`; None for a plain
        block.

    Returns:
      The output, and `features`: the input and what each layer gave.
    """

    plan: BlockPlan

    @nn.compact
    def __call__(self, x: jax.Array, below: Features | None) -> tuple[jax.Array, Features]:
        plan, features = self.plan, [x]
        for i in range(plan.layers):
            if below is None:
                x = PlainLayer(plan, name=f"layers_{i}")(x)
            else:
                halves = plan.halves and i == plan.layers - 1
                x = FusedLayer(plan, halves, name=f"layers_{i}")(x, below[i])
            features.append(x)
        if below is not None:
            added = int(x.shape[-1] * plan.fused_share)
            end = nn.relu(ConvNorm(added, 1, name="end")(below[-1]))
            x = jnp.concatenate([x, resize(end, x.shape[1:3])], axis=-1)
        if plan.kept is not None:
            x = nn.relu(ConvNorm(int(x.shape[-1] * plan.kept), 1, name="narrow")(x))
        return x, tuple(features)


def resize(x: jax.Array, size: tuple[Any, ...]) -> jax.Array:
    """[b, h, w, c] to [b, *size, c], bilinear, the outermost pixels' centres on each other."""
    return _resize_axis(_resize_axis(x, 1, size[0]), 2, size[1])


def _resize_axis(x: jax.Array, axis: int, size: Any) -> jax.Array:
    last = x.shape[axis] - 1
    # In integers, so that where a pixel lies is exact at any size.
    steps = jnp.maximum(size - 1, 1)
    place = jnp.arange(size) * last
    before = place // steps
    after = jnp.minimum(before + 1, last)
    weight = (place - before * steps).astype(x.dtype) / steps.astype(x.dtype)
    weight = jnp.expand_dims(weight, [i for i in range(x.ndim) if i != axis])
    left, right = (jnp.take(x, i, axis, mode="clip") for i in (before, after))
    return left * (1 - weight) + right * weight
