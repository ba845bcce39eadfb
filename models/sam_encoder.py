"""Segment Anything's image encoder: a vision transformer for images of any number of patches.

Most blocks attend within windows, some to the whole image; both add decomposed relative
positions to their scores. Positions were learned for one size of image; for another their tables
are interpolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

NORM_EPS = 1e-6
# What torch's bicubic interpolation has; jax.image's has -0.5.
_CUBIC = -0.75
_TAPS = (-1, 0, 1, 2)


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Sizes of the image encoder.

    Attributes:
      features: of a patch between the blocks.
      blocks: number of blocks.
      heads: of every attention.
      global_blocks: indices of the blocks that attend to the whole image.
      mlp: hidden features of a block's two dense layers.
      window: height and width of a window, in patches.
      patch: height and width of a patch, in pixels.
      grid: height and width, in patches, that the position tables are for.
    """

    features: int
    blocks: int
    heads: int
    global_blocks: tuple[int, ...]
    mlp: int
    window: int = 14
    patch: int = 16
    grid: int = 64


def layer_norm(name: str, epsilon: float = NORM_EPS) -> nn.LayerNorm:
    # Where a photograph is flat, a mean of squares less a squared mean loses a digit.
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)


def resize_cubic(table: jax.Array, size: Any) -> jax.Array:
    """Bicubic interpolation of `table` [n, ...] to [size, ...], with torch's coefficient."""
    n = table.shape[0]
    position = (jnp.arange(size) + 0.5) * (n / jnp.asarray(size, jnp.float32)) - 0.5
    below = jnp.floor(position)
    fraction = position - below
    total = jnp.zeros((size, *table.shape[1:]), table.dtype)
    for tap in _TAPS:
        rows = table[jnp.clip(below.astype(jnp.int32) + tap, 0, n - 1)]
        weight = _cubic_weight(jnp.abs(fraction - tap))
        total += rows * weight.reshape(size, *(1,) * (table.ndim - 1))
    return total


def _cubic_weight(distance: jax.Array) -> jax.Array:
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = _CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    return jnp.where(distance <= 1, near, far)


def relative_rows(table: jax.Array, size: Any) -> jax.Array:
    """The row of each pair of query and key along an axis of `size`, [size, size, d].

    Args:
      table: [2 * n - 1, d], by key minus query for an axis of n; interpolated if `size` is not n.
      size: of the axis, in patches.
    """
    rows = jax.image.resize(table, (2 * size - 1, table.shape[1]), "linear", antialias=False)
    places = jnp.arange(size)
    return rows[places[:, None] - places[None, :] + (size - 1)]


class RelativeAttention(nn.Module):
    """Attention among the y*x places of each [..., y, x, c], with decomposed relative positions.

    `side` is that of the square which the relative positions were learned for.
    """

    heads: int
    side: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        *outer, height, width, features = x.shape
        head_dim = features // self.heads
        projected = nn.Dense(3 * features, name="qkv")(x)
        projected = projected.reshape(*outer, height, width, 3, self.heads, head_dim)
        query, key, value = (projected[..., i, :, :] for i in range(3))

        table = (2 * self.side - 1, head_dim)
        rows = relative_rows(self.param("rel_pos_h", nn.initializers.zeros, table), height)
        columns = relative_rows(self.param("rel_pos_w", nn.initializers.zeros, table), width)
        scores = jnp.einsum("...yxhd,...ijhd->...hyxij", query / math.sqrt(head_dim), key)
        scores += jnp.einsum("...yxhd,yid->...hyxi", query, rows)[..., None]
        scores += jnp.einsum("...yxhd,xjd->...hyxj", query, columns)[..., None, :]
        weights = nn.softmax(scores, axis=(-2, -1))
        context = jnp.einsum("...hyxij,...ijhd->...yxhd", weights, value)
        return nn.Dense(features, name="proj")(context.reshape(x.shape))


def to_windows(x: jax.Array, side: int) -> jax.Array:
    """Cuts [b, h, w, c], after zeros where it ends, to [b, rows, columns, side, side, c]."""
    b, h, w, c = x.shape
    rows, columns = _ceil_div(h, side), _ceil_div(w, side)
    x = jnp.pad(x, ((0, 0), (0, rows * side - h), (0, columns * side - w), (0, 0)))
    return x.reshape(b, rows, side, columns, side, c).swapaxes(2, 3)


def from_windows(windows: jax.Array, height: Any, width: Any) -> jax.Array:
    """What `to_windows` cut, put together: [b, height, width, c]."""
    b, rows, columns, side, _, c = windows.shape
    x = windows.swapaxes(2, 3).reshape(b, rows * side, columns * side, c)
    return x[:, :height, :width]


def _ceil_div(size: Any, step: int) -> Any:
    return -(-size // step)


class Mlp(nn.Module):
    """Two dense layers with an activation between, back to the features of the input."""

    hidden: int
    activation: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = self.activation(nn.Dense(self.hidden, name="lin1")(x))
        return nn.Dense(x.shape[-1], name="lin2")(hidden)


def gelu(x: jax.Array) -> jax.Array:
    return nn.gelu(x, approximate=False)


class Block(nn.Module):
    """Attention, within windows unless `is_global`, and an MLP; on [b, h, w, c]."""

    config: ImageEncoderConfig
    is_global: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        config = self.config
        side = config.grid if self.is_global else config.window
        attention = RelativeAttention(config.heads, side, name="attn")
        normed = layer_norm("layer_norm1")(x)
        if self.is_global:
            x += attention(normed)
        else:
            # What fills up a window takes part in its attention, as zeros before the projection.
            x += from_windows(attention(to_windows(normed, side)), *x.shape[1:3])
        return x + Mlp(config.mlp, gelu, name="mlp")(layer_norm("layer_norm2")(x))


class PatchEmbedding(nn.Module):
    """Images [b, patch * h, patch * w, 3] to patches [b, h, w, c]."""

    config: ImageEncoderConfig

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        size = (self.config.patch,) * 2
        conv = nn.Conv(self.config.features, size, size, padding="VALID", name="projection")
        return conv(images)


class Neck(nn.Module):
    """Two convolutions, each followed by a norm, to the features of the decoder."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(self.features, (1, 1), use_bias=False, name="conv1")(x)
        x = layer_norm("layer_norm1")(x)
        same = ((1, 1), (1, 1))
        x = nn.Conv(self.features, (3, 3), padding=same, use_bias=False, name="conv2")(x)
        return layer_norm("layer_norm2")(x)


class ImageEncoder(nn.Module):
    """Images, float32 [b, patch * h, patch * w, 3], to embeddings [b, h, w, out]."""

    config: ImageEncoderConfig
    out: int

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        config = self.config
        x = PatchEmbedding(config, name="patch_embed")(images)
        _, h, w, _ = x.shape
        grid = (1, config.grid, config.grid, config.features)
        (positions,) = self.param("pos_embed", nn.initializers.zeros, grid)
        positions = resize_cubic(resize_cubic(positions, h).swapaxes(0, 1), w).swapaxes(0, 1)
        x += positions[None]
        for i in range(config.blocks):
            x = Block(config, i in config.global_blocks, name=f"layers_{i}")(x)
        return Neck(self.out, name="neck")(x)
