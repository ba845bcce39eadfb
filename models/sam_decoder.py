"""Segment Anything's prompt encoder and mask decoder, for any number of prompts and points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.sam_encoder import Mlp, gelu, layer_norm

NOT_A_POINT, NEGATIVE, POSITIVE = -1, 0, 1
# Of the corner above left and of that below right.
BOX_LABELS = (2, 3)
# In the official model all norms of the two-way transformer have this.
_OFFICIAL_EPS = 1e-5


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of prompt encoder and mask decoder.

    Attributes:
      features: of tokens and of image embeddings.
      heads: of every attention.
      mlp: hidden features of a block's two dense layers.
      iou_hidden: hidden features of the head that predicts each mask's quality.
      mask_channels: of a mask prompt after its second convolution.
      blocks: of the two-way transformer.
      masks: masks for one prompt, besides the one for prompts that leave no doubt.
      block_eps: of the norms in the blocks of the two-way transformer; transformers has 1e-6.
    """

    features: int = 256
    heads: int = 8
    mlp: int = 2048
    iou_hidden: int = 256
    mask_channels: int = 16
    blocks: int = 2
    masks: int = 3
    block_eps: float = _OFFICIAL_EPS


class PositionEncoding(nn.Module):
    """Places [..., 2], x and y from 0 to 1, to random Fourier features [..., features]."""

    features: int

    @nn.compact
    def __call__(self, places: jax.Array) -> jax.Array:
        shape = (2, self.features // 2)
        gaussian = self.variable("buffers", "positional_embedding", jnp.zeros, shape).value
        # Frequencies are high: a product of less than full precision would be seen.
        waves = jnp.matmul(2 * places - 1, gaussian, precision=jax.lax.Precision.HIGHEST)
        waves = 2 * math.pi * waves
        return jnp.concatenate((jnp.sin(waves), jnp.cos(waves)), axis=-1)


class PromptEncoder(nn.Module):
    """Points, boxes and masks to what the mask decoder takes."""

    config: DecoderConfig

    def setup(self) -> None:
        one = (1, self.config.features)
        self.positions = PositionEncoding(self.config.features)
        self.point_embed = self.param("point_embed", nn.initializers.zeros, (4, one[1]))
        self.not_a_point_embed = self.param("not_a_point_embed", nn.initializers.zeros, one)
        self.no_mask_embed = self.param("no_mask_embed", nn.initializers.zeros, one)
        self.mask_embed = MaskEmbedding(self.config)

    def grid(self, height: Any, width: Any) -> jax.Array:
        """The encoded centres of an image's patches, [height, width, c]."""
        shape = (height, width)
        y = jnp.broadcast_to((jnp.arange(height)[:, None] + 0.5) / _float(height), shape)
        x = jnp.broadcast_to((jnp.arange(width)[None, :] + 0.5) / _float(width), shape)
        return self.positions(jnp.stack((x, y), axis=-1))

    def tokens(self, points: jax.Array, labels: jax.Array, height: Any, width: Any) -> jax.Array:
        """Embeds points [b, p, n, 2], in pixels of an image of `height` and `width`."""
        size = jnp.stack((_float(width), _float(height)))
        encoded = self.positions((points + 0.5) / size[None, None, None])
        encoded += self.point_embed[jnp.maximum(labels, 0)]
        ignored = self.not_a_point_embed[None, None]
        return jnp.where(labels[..., None] == NOT_A_POINT, ignored, encoded)

    def dense(self, masks: jax.Array | None) -> jax.Array:
        """What the image's embeddings get added, [b, p, h, w, c] or sizes of 1 in their place."""
        without = self.no_mask_embed.reshape(1, 1, 1, 1, -1)
        if masks is not None:
            return self.mask_embed(masks)
        if self.is_initializing():
            self.mask_embed(jnp.zeros((1, 1, 4, 4)))
        return without


def _float(size: Any) -> jax.Array:
    return jnp.asarray(size, jnp.float32)


class MaskEmbedding(nn.Module):
    """Mask logits [b, p, 4 * h, 4 * w] to [b, p, h, w, c]."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, masks: jax.Array) -> jax.Array:
        x, half = masks[..., None], (2, 2)
        channels = self.config.mask_channels
        x = nn.Conv(channels // 4, half, half, padding="VALID", name="conv1")(x)
        x = gelu(layer_norm("layer_norm1")(x))
        x = nn.Conv(channels, half, half, padding="VALID", name="conv2")(x)
        x = gelu(layer_norm("layer_norm2")(x))
        return nn.Conv(self.config.features, (1, 1), name="conv3")(x)


class Attention(nn.Module):
    """Attention of [b, p, q, c] to [b, p, k, c], through `inner` features."""

    heads: int
    inner: int

    @nn.compact
    def __call__(self, query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        features, head_dim = query.shape[-1], self.inner // self.heads

        def project(name: str, x: jax.Array) -> jax.Array:
            projected = nn.Dense(self.inner, name=name)(x)
            return projected.reshape(*x.shape[:-1], self.heads, head_dim)

        query, key = project("q_proj", query), project("k_proj", key)
        value = project("v_proj", value)
        scores = jnp.einsum("bpqhd,bpkhd->bphqk", query, key) / math.sqrt(head_dim)
        context = jnp.einsum("bphqk,bpkhd->bpqhd", nn.softmax(scores), value)
        context = context.reshape(*context.shape[:-2], self.inner)
        return nn.Dense(features, name="out_proj")(context)


class TwoWayBlock(nn.Module):
    """Tokens attend to each other and to the image, then the image to the tokens.

    `token_places` and `image_places` are added to what is compared, not to what is passed on; the
    first block's tokens are their own places.
    """

    config: DecoderConfig
    is_first: bool

    @nn.compact
    def __call__(
        self, tokens: jax.Array, image: jax.Array, token_places: jax.Array, image_places: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        config = self.config
        heads, inner = config.heads, config.features // 2

        def norm(index: int, x: jax.Array) -> jax.Array:
            return layer_norm(f"layer_norm{index}", config.block_eps)(x)

        itself = Attention(heads, config.features, name="self_attn")
        if self.is_first:
            tokens = norm(1, itself(tokens, tokens, tokens))
        else:
            placed = tokens + token_places
            tokens = norm(1, tokens + itself(placed, placed, tokens))

        to_image = Attention(heads, inner, name="cross_attn_token_to_image")
        placed_image = image + image_places
        tokens = norm(2, tokens + to_image(tokens + token_places, placed_image, image))
        tokens = norm(3, tokens + Mlp(config.mlp, nn.relu, name="mlp")(tokens))

        to_tokens = Attention(heads, inner, name="cross_attn_image_to_token")
        image = norm(4, image + to_tokens(placed_image, tokens + token_places, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Tokens [b, p, t, c] and image [b, p, h * w, c] look at each other, block after block."""

    config: DecoderConfig

    @nn.compact
    def __call__(
        self, tokens: jax.Array, image: jax.Array, image_places: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        config, token_places = self.config, tokens
        for i in range(config.blocks):
            block = TwoWayBlock(config, i == 0, name=f"layers_{i}")
            tokens, image = block(tokens, image, token_places, image_places)
        attention = Attention(config.heads, config.features // 2, name="final_attn_token_to_image")
        tokens += attention(tokens + token_places, image + image_places, image)
        return layer_norm("layer_norm_final_attn", _OFFICIAL_EPS)(tokens), image


class Head(nn.Module):
    """Three dense layers with ReLU between."""

    hidden: int
    out: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Dense(self.hidden, name="proj_in")(x))
        x = nn.relu(nn.Dense(self.hidden, name="layers_0")(x))
        return nn.Dense(self.out, name="proj_out")(x)


class MaskDecoder(nn.Module):
    """Image embeddings and prompt tokens to masks, at four times the embeddings' size.

    Args of the call:
      image: [b, p, h, w, c], what the prompt's mask adds included.
      image_places: [h, w, c].
      prompts: tokens, [b, p, t, c].

    Returns:
      logits [b, p, masks + 1, 4 * h, 4 * w] and predicted quality [b, p, masks + 1]; the first mask
      is the one for prompts that leave no doubt.
    """

    config: DecoderConfig

    @nn.compact
    def __call__(
        self, image: jax.Array, image_places: jax.Array, prompts: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        config = self.config
        b, p, h, w, c = image.shape
        count = config.masks + 1
        iou_token = self.param("iou_token", nn.initializers.zeros, (1, c))
        mask_tokens = self.param("mask_tokens", nn.initializers.zeros, (count, c))
        own = jnp.concatenate((iou_token, mask_tokens))[None, None]
        tokens = jnp.concatenate((jnp.broadcast_to(own, (b, p, 1 + count, c)), prompts), axis=2)

        transformer = TwoWayTransformer(config, name="transformer")
        tokens, image = transformer(
            tokens, image.reshape(b, p, h * w, c), image_places.reshape(1, 1, h * w, c)
        )
        upscaled = self._upscale(image.reshape(b, p, h, w, c))
        heads = [
            Head(c, c // 8, name=f"output_hypernetworks_mlps_{i}")(tokens[:, :, 1 + i])
            for i in range(count)
        ]
        masks = jnp.einsum("bpmc,bpyxc->bpmyx", jnp.stack(heads, axis=2), upscaled)
        return masks, Head(config.iou_hidden, count, name="iou_prediction_head")(tokens[:, :, 0])

    def _upscale(self, image: jax.Array) -> jax.Array:
        c, twice = image.shape[-1], (2, 2)
        up = dict(kernel_size=twice, strides=twice, padding="VALID", transpose_kernel=True)
        image = nn.ConvTranspose(c // 4, name="upscale_conv1", **up)(image)
        image = gelu(layer_norm("upscale_layer_norm")(image))
        return gelu(nn.ConvTranspose(c // 8, name="upscale_conv2", **up)(image))


def resize(masks: jax.Array, height: Any, width: Any) -> jax.Array:
    """Bilinear interpolation of [..., h, w] to [..., height, width], as torch does it."""
    shape = (*masks.shape[:-2], height, width)
    return jax.image.resize(masks, shape, "linear", antialias=False)


def postprocess(
    masks: jax.Array,
    image: tuple[Any, Any],
    photograph: tuple[Any, Any],
    original: tuple[Any, Any],
) -> jax.Array:
    """Masks of an image that is a scaled photograph with zeros after it, at the original's size.

    Args:
      masks: logits, float32 [..., 4 * h, 4 * w].
      image: height and width of what the model read.
      photograph: height and width of the photograph in it.
      original: height and width of the photograph before it was scaled.

    Returns:
      logits, float32 [..., *original].
    """
    height, width = photograph
    return resize(resize(masks, *image)[..., :height, :width], *original)
