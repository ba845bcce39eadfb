"""Conformer: a speech encoder of convolutions and attention, written for exact shapes.

After Gulati et al. (arXiv 2005.08100). Frames of log-mel features are subsampled by strided
convolutions, encoded by blocks of attention with Transformer-XL's relative positions between two
half-step feed-forward layers, and classified frame by frame. The sizes "small", "medium" and "full"
are the paper's S, M and L with a thousand classes, "mini" is S with a quarter of its blocks.
"parakeet" is the encoder of `transformers.ParakeetEncoder` (Fast Conformer, arXiv 2305.05084); its
parameter names are used for all. Normalisation over the batch uses running statistics.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import speech
from models.base import Model, bert_scale, random_params
from models.checkpoint import fit, read_state_dict, torch_kind
from models.relative_attention import RelativeAttention, distance_encodings

_ONE_AROUND = ((1, 1), (1, 1))


@dataclass(frozen=True)
class ConformerConfig:
    """Sizes of the network.

    Attributes:
      features: width of the blocks.
      layers: number of blocks.
      heads: of the attention.
      kernel: length of the depthwise convolution, odd.
      classes: outputs for each frame, as log-probabilities; None for the hidden states.
      bands: of the log-mel features.
      stem: "full" subsamples by 4, with two 3x3 convolutions and no padding; "separable" by 8, with
        one padded by 1 and two that are depthwise, each before a 1x1 convolution.
      stem_features: channels of the stem.
      scale_stem: whether what the stem gives is multiplied by the root of `features`.
      pointwise_bias: whether the 1x1 convolutions of the blocks have a bias.
      depthwise_bias: whether their depthwise convolutions have one.
    """

    features: int
    layers: int
    heads: int
    kernel: int = 31
    classes: int | None = 1000
    bands: int = 80
    stem: Literal["full", "separable"] = "full"
    stem_features: int | None = None
    scale_stem: bool = False
    pointwise_bias: bool = True
    depthwise_bias: bool = False

    @property
    def min_frames(self) -> int:
        """The shortest input that leaves a frame."""
        return 7 if self.stem == "full" else 1


SIZES = {
    "tiny": ConformerConfig(32, layers=2, heads=4, kernel=7, classes=29),
    "mini": ConformerConfig(144, layers=4, heads=4),
    "small": ConformerConfig(144, layers=16, heads=4),
    "medium": ConformerConfig(256, layers=16, heads=4),
    "full": ConformerConfig(512, layers=17, heads=8),
    "parakeet": ConformerConfig(
        1024,
        layers=24,
        heads=8,
        kernel=9,
        classes=None,
        stem="separable",
        stem_features=256,
        scale_stem=True,
        depthwise_bias=True,
    ),
}


def _norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-5, name=name)


class Stem(nn.Module):
    """Subsampling: [b, t, bands] to [b, t', features]."""

    config: ConformerConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        config = self.config
        channels = config.stem_features or config.features
        x = x[..., None]
        if config.stem == "full":
            for i in (0, 2):
                x = nn.relu(nn.Conv(channels, (3, 3), 2, "VALID", name=f"layers_{i}")(x))
        else:
            x = nn.relu(nn.Conv(channels, (3, 3), 2, _ONE_AROUND, name="layers_0")(x))
            for i in (2, 5):
                depthwise = nn.Conv(
                    channels,
                    (3, 3),
                    2,
                    _ONE_AROUND,
                    feature_group_count=channels,
                    name=f"layers_{i}",
                )
                x = nn.relu(nn.Conv(channels, (1, 1), name=f"layers_{i + 1}")(depthwise(x)))
        b, t, bands, _ = x.shape
        x = x.swapaxes(2, 3).reshape(b, t, channels * bands)
        return nn.Dense(config.features, name="linear")(x)


class FeedForward(nn.Module):
    """Two layers, four times as wide between them; on [b, t, d]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = nn.silu(nn.Dense(4 * x.shape[-1], name="linear1")(x))
        return nn.Dense(x.shape[-1], name="linear2")(hidden)


class Convolution(nn.Module):
    """A gated 1x1 convolution, a depthwise one along time, a norm, a 1x1 one; on [b, t, d]."""

    config: ConformerConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        config, features = self.config, x.shape[-1]
        half = config.kernel // 2
        x = nn.Dense(2 * features, use_bias=config.pointwise_bias, name="pointwise_conv1")(x)
        x = nn.Conv(
            features,
            (config.kernel,),
            padding=((half, half),),
            feature_group_count=features,
            use_bias=config.depthwise_bias,
            name="depthwise_conv",
        )(nn.glu(x))
        x = nn.silu(nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="norm")(x))
        return nn.Dense(features, use_bias=config.pointwise_bias, name="pointwise_conv2")(x)


class Block(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, each added; then a norm."""

    config: ConformerConfig

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array) -> jax.Array:
        x += 0.5 * FeedForward(name="feed_forward1")(_norm("norm_feed_forward1")(x))
        attention = RelativeAttention(self.config.heads, name="self_attn")
        x += attention(_norm("norm_self_att")(x), positions)
        x += Convolution(self.config, name="conv")(_norm("norm_conv")(x))
        x += 0.5 * FeedForward(name="feed_forward2")(_norm("norm_feed_forward2")(x))
        return _norm("norm_out")(x)


class Conformer(nn.Module):
    """Log-mel features, float32 [b, t, bands], to classes of the subsampled frames.

    Returns:
      Log-probabilities, float32 [b, ((t - 1) // 2 - 1) // 2, classes]; where `config.classes` is
      None the hidden states, [b, t', features]. With the stem "separable" t' is t / 8, rounded up.
    """

    config: ConformerConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        config = self.config
        x = Stem(config, name="subsampling")(x)
        if config.scale_stem:
            x *= math.sqrt(config.features)
        positions = distance_encodings(x.shape[1], config.features)
        for i in range(config.layers):
            x = Block(config, name=f"layers_{i}")(x, positions)
        if config.classes is None:
            return x
        return nn.log_softmax(nn.Dense(config.classes, use_bias=False, name="fc")(x))


def param_shapes(config: ConformerConfig) -> Any:
    """The variables, parameters and running statistics, as shapes; nothing is computed."""
    features = jax.ShapeDtypeStruct((1, config.min_frames, config.bands), jnp.float32)
    return jax.eval_shape(Conformer(config).init, jax.random.key(0), features)


def build(size: str, *, weights: str | Path | None, seed: int) -> Model:
    """A Conformer at one of `SIZES`; see `models.load`.

    `fun(params, features)` gives what `Conformer` returns. Checkpoints are those of Parakeet, for
    the size "parakeet"; the other sizes have none.
    """
    config = SIZES[size]
    module = Conformer(config)

    def conformer(params: Any, features: jax.Array) -> jax.Array:
        return module.apply(params, features)

    def inputs(rng: np.random.Generator, *, b: int, t: int) -> tuple[np.ndarray, ...]:
        if t < config.min_frames:
            raise ValueError(f"conformer {size} reads {config.min_frames} frames or more, got {t}")
        return (speech.batch(rng, b, t, config.bands),)

    if weights is None:
        params = random_params(param_shapes(config), seed, _scale)
    else:
        params = from_state_dict(read_state_dict(weights), config)
    return Model(
        name="conformer",
        size=size,
        fun=conformer,
        params=params,
        shapes=(None, f"b, t, {config.bands}"),
        constraints=(f"t >= {config.min_frames}",),
        inputs=inputs,
    )


def _scale(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[float, float]:
    """Kernels by their fan-in, running statistics of the unit normal."""
    if path[-1] == "kernel":
        return 0.0, math.prod(shape[:-1]) ** -0.5
    return (float(path[-1] == "var"), 0.0) if path[0] == "batch_stats" else bert_scale(path, shape)


_PARTS = ("subsampling.", "layers.", "fc.")


def from_state_dict(state: Mapping[str, np.ndarray], config: ConformerConfig) -> Any:
    """Variables from the tensors of a checkpoint of Parakeet, as transformers names them.

    Names may begin with "encoder."; its heads and decoders are left out.

    Raises:
      ValueError: naming every tensor of the encoder that is missing, of another shape than the
        configuration's, or unknown to it.
    """
    plain = {name.removeprefix("encoder."): tensor for name, tensor in state.items()}
    tensors = {
        name: tensor[..., 0] if ".pointwise_conv" in name and tensor.ndim == 3 else tensor
        for name, tensor in plain.items()
        if name.startswith(_PARTS) and not name.endswith("num_batches_tracked")
    }
    return fit(tensors, param_shapes(config), _torch_name)


def _torch_name(path: tuple[str, ...]) -> str:
    module = re.sub(r"_(?=[0-9])", ".", ".".join(path[1:-1]))
    if path[0] == "batch_stats":
        return f"{module}.running_{path[-1]}"
    leaf = path[-1] if path[-1] in ("bias_u", "bias_v") else torch_kind(path)
    return f"{module}.{leaf}"
