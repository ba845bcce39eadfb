"""Stable Diffusion's image encoder: the encoder of its VAE, written for exact shapes.

Architecture and parameter names follow `diffusers.AutoencoderKL`, from the encoder's first
convolution to the 1x1 convolution after it. Height and width are free: each of the three
downsamplings halves them, rounding down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import photographs
from models.attention import SelfAttention
from models.base import Model, bert_scale, random_params
from models.checkpoint import fit, read_state_dict, torch_kind

_SAME = ((1, 1), (1, 1))
_LOGVAR_BOUNDS = (-30.0, 20.0)


@dataclass(frozen=True)
class VaeEncoderConfig:
    """Sizes of the encoder.

    Attributes:
      channels: of each level; the image is halved between two levels.
      blocks: residual blocks of a level.
      groups: of every group normalisation.
      latents: channels of the mean, and of the log-variance.
      max_side: largest height and width that are declared, in pixels.
      quant_conv: whether a 1x1 convolution follows the encoder; the third generation has none.
    """

    channels: tuple[int, ...]
    blocks: int
    groups: int
    latents: int
    max_side: int
    quant_conv: bool = True

    @property
    def min_side(self) -> int:
        """Height and width that are halved to 1."""
        return 2 ** (len(self.channels) - 1)


SIZES = {
    "tiny": VaeEncoderConfig((8, 16, 16, 16), blocks=1, groups=4, latents=4, max_side=128),
    "small": VaeEncoderConfig((32, 64, 128, 128), blocks=1, groups=8, latents=4, max_side=192),
    "full": VaeEncoderConfig((128, 256, 512, 512), blocks=2, groups=32, latents=4, max_side=1024),
    "sd3": VaeEncoderConfig(
        (128, 256, 512, 512), blocks=2, groups=32, latents=16, max_side=1024, quant_conv=False
    ),
}


def _norm(groups: int, name: str) -> nn.GroupNorm:
    # Where a photograph is flat, a mean of squares less a squared mean loses a digit.
    return nn.GroupNorm(groups, epsilon=1e-6, use_fast_variance=False, name=name)


def _conv3(features: int, name: str) -> nn.Conv:
    return nn.Conv(features, (3, 3), padding=_SAME, name=name)


class ResBlock(nn.Module):
    """Two convolutions, each after a norm and SiLU, added to the input; on [b, h, w, c]."""

    features: int
    groups: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        residual = _conv3(self.features, "conv1")(nn.silu(_norm(self.groups, "norm1")(x)))
        residual = _conv3(self.features, "conv2")(nn.silu(_norm(self.groups, "norm2")(residual)))
        if x.shape[-1] != self.features:
            x = nn.Conv(self.features, (1, 1), name="conv_shortcut")(x)
        return x + residual


class Downsample(nn.Module):
    """Halves [b, h, w, c], rounding down: zeros below and to the right, then stride 2."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        after = ((0, 1), (0, 1))
        return nn.Conv(x.shape[-1], (3, 3), strides=2, padding=after, name="conv")(x)


class Level(nn.Module):
    """Residual blocks, then a downsampling unless it is the last level."""

    features: int
    config: VaeEncoderConfig
    is_last: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.config.blocks):
            x = ResBlock(self.features, self.config.groups, name=f"resnets_{i}")(x)
        return x if self.is_last else Downsample(name="downsamplers_0")(x)


class SpatialAttention(nn.Module):
    """Single-head attention among all h*w positions, added to the input [b, h, w, c]."""

    groups: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        b, h, w, c = x.shape
        positions = _norm(self.groups, "group_norm")(x).reshape(b, h * w, c)
        return x + SelfAttention(1, name="attention")(positions).reshape(x.shape)


class Middle(nn.Module):
    """A residual block, attention, a residual block."""

    groups: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = ResBlock(x.shape[-1], self.groups, name="resnets_0")(x)
        x = SpatialAttention(self.groups, name="attentions_0")(x)
        return ResBlock(x.shape[-1], self.groups, name="resnets_1")(x)


class Encoder(nn.Module):
    """Images [b, h, w, 3] to moments [b, h // 8, w // 8, 2 * latents]."""

    config: VaeEncoderConfig

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        config = self.config
        x = _conv3(config.channels[0], "conv_in")(images)
        last = len(config.channels) - 1
        for i, features in enumerate(config.channels):
            x = Level(features, config, is_last=i == last, name=f"down_blocks_{i}")(x)
        x = Middle(config.groups, name="mid_block")(x)
        x = nn.silu(_norm(config.groups, "conv_norm_out")(x))
        return _conv3(2 * config.latents, "conv_out")(x)


class VaeEncoder(nn.Module):
    """Images, float32 [b, h, w, 3] from -1 to 1, to the distribution of their latents.

    Returns:
      Mean and log-variance, float32 [b, h // 8, w // 8, latents] each; without the factor that
      Stable Diffusion scales its latents by.
    """

    config: VaeEncoderConfig

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        moments = Encoder(self.config, name="encoder")(images)
        if self.config.quant_conv:
            moments = nn.Conv(2 * self.config.latents, (1, 1), name="quant_conv")(moments)
        mean, logvar = jnp.split(moments, 2, axis=-1)
        return mean, jnp.clip(logvar, *_LOGVAR_BOUNDS)


def param_shapes(config: VaeEncoderConfig) -> Any:
    """The parameter tree as `jax.ShapeDtypeStruct`s; nothing is computed."""
    images = jax.ShapeDtypeStruct((1, config.min_side, config.min_side, 3), jnp.float32)
    return jax.eval_shape(VaeEncoder(config).init, jax.random.key(0), images)["params"]


def build(size: str, *, weights: str | Path | None, seed: int) -> Model:
    """The VAE encoder at one of `SIZES`; see `models.load`.

    `fun` returns mean and log-variance, float32 [b, h // 8, w // 8, latents] each.
    """
    config = SIZES[size]
    module = VaeEncoder(config)

    def sd_vae_encoder(params: Any, images: jax.Array) -> Any:
        return module.apply({"params": params}, images)

    def inputs(rng: np.random.Generator, *, b: int, h: int, w: int) -> tuple[np.ndarray, ...]:
        if not config.min_side <= min(h, w) <= max(h, w) <= config.max_side:
            bounds = f"sides from {config.min_side} to {config.max_side}"
            raise ValueError(f"sd_vae_encoder {size} reads images with {bounds}, got {h} x {w}")
        return (photographs.batch(rng, b, h, w),)

    if weights is None:
        params = random_params(param_shapes(config), seed, _scale)
    else:
        params = from_state_dict(read_state_dict(weights), config)
    return Model(
        name="sd_vae_encoder",
        size=size,
        fun=sd_vae_encoder,
        params=params,
        shapes=(None, "b, h, w, 3"),
        constraints=tuple(
            f"{side} {bound}"
            for side in "hw"
            for bound in (f">= {config.min_side}", f"<= {config.max_side}")
        ),
        inputs=inputs,
    )


def _scale(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[float, float]:
    """Kernels by their fan-in: what they give has the size of what they take."""
    return (0.0, math.prod(shape[:-1]) ** -0.5) if path[-1] == "kernel" else bert_scale(path, shape)


_ATTENTION_NAMES = {
    "attention.query": "to_q",
    "attention.key": "to_k",
    "attention.value": "to_v",
    "attention.output": "to_out.0",
}
# From other names of the same tensors to those of today's diffusers: what CompVis wrote, then
# what older versions of diffusers did.
_RENAMES = (
    (r"^first_stage_model\.", ""),
    (r"^encoder\.down\.(\d+)\.block\.(\d+)\.", r"encoder.down_blocks.\1.resnets.\2."),
    (r"^encoder\.down\.(\d+)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0."),
    (r"^encoder\.mid\.block_1\.", "encoder.mid_block.resnets.0."),
    (r"^encoder\.mid\.block_2\.", "encoder.mid_block.resnets.1."),
    (r"^encoder\.mid\.attn_1\.norm\.", "encoder.mid_block.attentions.0.group_norm."),
    (r"^encoder\.mid\.attn_1\.", "encoder.mid_block.attentions.0."),
    (r"^encoder\.norm_out\.", "encoder.conv_norm_out."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.attentions\.0\.(?:q|query)\.", ".attentions.0.to_q."),
    (r"\.attentions\.0\.(?:k|key)\.", ".attentions.0.to_k."),
    (r"\.attentions\.0\.(?:v|value)\.", ".attentions.0.to_v."),
    (r"\.attentions\.0\.(?:proj_out|proj_attn)\.", ".attentions.0.to_out.0."),
)
_PARTS = ("encoder.", "quant_conv.")


def from_state_dict(state: Mapping[str, np.ndarray], config: VaeEncoderConfig) -> Any:
    """Parameters from the tensors of an AutoencoderKL or Stable Diffusion checkpoint.

    Names may be those of diffusers or of CompVis, after "first_stage_model." or not; the decoder
    and everything else that is not of the encoder is left out.

    Raises:
      ValueError: naming every tensor of the encoder that is missing, of another shape than the
        configuration's, or unknown to it.
    """
    renamed = {_diffusers_name(name): tensor for name, tensor in state.items()}
    tensors = {
        name: _as_linear(tensor) if ".to_" in name else tensor
        for name, tensor in renamed.items()
        if name.startswith(_PARTS)
    }
    return fit(tensors, param_shapes(config), _torch_name)


def _diffusers_name(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _as_linear(tensor: np.ndarray) -> np.ndarray:
    """The weight of a 1x1 convolution as that of a Linear."""
    return tensor[:, :, 0, 0] if tensor.shape[2:] == (1, 1) else tensor


def _torch_name(path: tuple[str, ...]) -> str:
    name = ".".join(path[:-1])
    for ours, theirs in _ATTENTION_NAMES.items():
        name = name.replace(ours, theirs)
    return f"{re.sub(r'_(?=[0-9])', '.', name)}.{torch_kind(path)}"
