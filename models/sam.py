"""Segment Anything (SAM): an image and points or a box to masks, written for exact shapes.

The published model reads square images of one size: the longer side of a photograph is scaled to
1024 and zeros come after the shorter one. Here height and width are any multiples of the patch, and
the numbers of images, of prompts for each and of points for each prompt are free too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import photographs, sam_checkpoint
from models.base import Model, bert_scale, random_params
from models.checkpoint import fit, read_state_dict
from models.sam_decoder import (
    BOX_LABELS,
    NEGATIVE,
    NOT_A_POINT,
    POSITIVE,
    DecoderConfig,
    MaskDecoder,
    PromptEncoder,
    postprocess,
)
from models.sam_encoder import ImageEncoder, ImageEncoderConfig

_POSITION_STD = 0.3


@dataclass(frozen=True)
class SamConfig:
    """Sizes of the model, and the largest ones declared.

    Attributes:
      encoder: of the image encoder.
      decoder: of prompt encoder and mask decoder.
      max_grid: largest height and width of an image, in patches.
      max_prompts: for one image.
      max_points: of one prompt.
    """

    encoder: ImageEncoderConfig
    decoder: DecoderConfig
    max_grid: int = 64
    max_prompts: int = 64
    max_points: int = 16


def _vit(features: int, blocks: int, heads: int, global_blocks: tuple[int, ...]) -> SamConfig:
    encoder = ImageEncoderConfig(features, blocks, heads, global_blocks, mlp=4 * features)
    return SamConfig(encoder, DecoderConfig())


def _tiny(blocks: int, global_blocks: tuple[int, ...], decoder_blocks: int) -> SamConfig:
    encoder = ImageEncoderConfig(32, blocks, 2, global_blocks, mlp=64, window=5, patch=8, grid=12)
    decoder = DecoderConfig(16, 2, 32, iou_hidden=16, mask_channels=8, blocks=decoder_blocks)
    return SamConfig(encoder, decoder, max_grid=16, max_prompts=8, max_points=8)


SIZES = {
    # One block of each kind: it compiles fastest.
    "shallow": _tiny(2, (1,), 1),
    "tiny": _tiny(4, (1, 3), 2),
    "small": SamConfig(
        ImageEncoderConfig(96, 4, 4, (1, 3), mlp=384, window=7, grid=16),
        DecoderConfig(features=64, heads=4, mlp=256, iou_hidden=64),
        max_grid=20,
    ),
    "full": _vit(768, 12, 12, (2, 5, 8, 11)),
    "large": _vit(1024, 24, 16, (5, 11, 17, 23)),
    "huge": _vit(1280, 32, 16, (7, 15, 23, 31)),
}


class Segmentation(NamedTuple):
    """What one call gives.

    Attributes:
      masks: logits, float32 [b, p, masks, patch * h, patch * w]; positive inside.
      quality: predicted intersection over union, float32 [b, p, masks].
      low_resolution: logits, float32 [b, p, masks, 4 * h, 4 * w], to prompt with again.
    """

    masks: jax.Array
    quality: jax.Array
    low_resolution: jax.Array


class Sam(nn.Module):
    """The model; `__call__` is `decode` after `encode`."""

    config: SamConfig

    def setup(self) -> None:
        config = self.config
        self.vision_encoder = ImageEncoder(config.encoder, config.decoder.features)
        self.prompt_encoder = PromptEncoder(config.decoder)
        self.mask_decoder = MaskDecoder(config.decoder)

    def __call__(
        self, images: jax.Array, points: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        return self.decode(self.encode(images), points, labels)

    def encode(self, images: jax.Array) -> jax.Array:
        """Embeds images [b, patch * h, patch * w, 3] as [b, h, w, c]."""
        return self.vision_encoder(images)

    def decode(
        self,
        embeddings: jax.Array,
        points: jax.Array | None = None,
        labels: jax.Array | None = None,
        boxes: jax.Array | None = None,
        masks: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Masks for prompts on embedded images; prompts are points, boxes or both.

        Args:
          embeddings: float32 [b, h, w, c], from `encode`.
          points: float32 [b, p, n, 2], x and y in pixels of the image.
          labels: int32 [b, p, n], 1 for a point of the object, 0 for one outside, 2 and 3 for the
            corners of a box, -1 for none.
          boxes: float32 [b, p, 4], x and y of the corner above left, then of that below right.
          masks: logits, float32 [b, p, 4 * h, 4 * w], such as `Segmentation.low_resolution`.

        Returns:
          logits, float32 [b, p, masks + 1, 4 * h, 4 * w], and quality [b, p, masks + 1], the one
          mask for prompts that leave no doubt before the others.
        """
        points, labels = _sparse(points, labels, boxes)
        _, h, w, _ = embeddings.shape
        patch, prompts = self.config.encoder.patch, self.prompt_encoder
        tokens = prompts.tokens(points, labels, patch * h, patch * w)
        image = embeddings[:, None] + prompts.dense(masks)
        image = jnp.broadcast_to(image, (*points.shape[:2], *embeddings.shape[1:]))
        return self.mask_decoder(image, prompts.grid(h, w), tokens)


def _sparse(
    points: jax.Array | None, labels: jax.Array | None, boxes: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Points and labels with a box as two points more, or without one a point more that is none."""
    if (points is None) != (labels is None):
        raise ValueError("points and labels go together")
    prompt = boxes if points is None else points
    if prompt is None:
        raise ValueError("a prompt is points with their labels, a box, or both")
    outer = prompt.shape[:2]
    if boxes is None:
        more, kinds = jnp.zeros((*outer, 1, 2)), (NOT_A_POINT,)
    else:
        more, kinds = boxes.reshape(*outer, 2, 2), BOX_LABELS
    kinds = jnp.broadcast_to(jnp.array(kinds, jnp.int32)[None, None], more.shape[:-1])
    if points is None or labels is None:
        return more, kinds
    return jnp.concatenate((points, more), axis=2), jnp.concatenate((labels, kinds), axis=2)


def param_shapes(config: SamConfig) -> Any:
    """The variables as `jax.ShapeDtypeStruct`s, parameters and buffers; nothing is computed."""
    side = config.encoder.patch
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    points = jax.ShapeDtypeStruct((1, 1, 1, 2), jnp.float32)
    labels = jax.ShapeDtypeStruct((1, 1, 1), jnp.int32)
    return jax.eval_shape(Sam(config).init, jax.random.key(0), images, points, labels)


def build(size: str, *, weights: str | Path | None, seed: int, multimask: bool = True) -> Model:
    """SAM at one of `SIZES`; see `models.load`.

    `fun(params, images, points, labels, boxes=None, original=None)` gives a `Segmentation`; the
    first three inputs are those of `Model.shapes`. `images` are float32
    [b, patch * h, patch * w, 3], of zero mean and unit deviation over ImageNet; for `points`,
    `labels` and `boxes` see `Sam.decode`. `original`, [y, x] of any type, has the size that masks
    shall have instead of the image's: the shape counts, what it holds does not. "full" is ViT-B,
    "large" and "huge" are ViT-L and ViT-H.

    Args:
      size: one of `SIZES`.
      weights: see `models.load`; tensors have the published names or those of transformers.
      seed: of the weights.
      multimask: whether to give the masks for a prompt that may mean several things, as for one
        point, or the one mask for a prompt that leaves no doubt.
    """
    config = SIZES[size]
    module, patch = Sam(config), config.encoder.patch

    def sam(
        params: Any,
        images: jax.Array,
        points: jax.Array | None,
        labels: jax.Array | None,
        boxes: jax.Array | None = None,
        original: jax.Array | None = None,
    ) -> Segmentation:
        embeddings = module.apply(params, images, method="encode")
        masks, quality = module.apply(params, embeddings, points, labels, boxes, method="decode")
        chosen = slice(1, None) if multimask else slice(0, 1)
        masks, quality = masks[:, :, chosen], quality[:, :, chosen]
        wanted = images.shape[1:3] if original is None else original.shape[:2]
        full = postprocess(masks, images.shape[1:3], images.shape[1:3], wanted)
        return Segmentation(full, quality, masks)

    def inputs(
        rng: np.random.Generator, *, b: int, h: int, w: int, p: int, n: int
    ) -> tuple[np.ndarray, ...]:
        if not 1 <= min(h, w) <= max(h, w) <= config.max_grid:
            bounds = f"1 to {config.max_grid} patches along a side"
            raise ValueError(f"sam {size} reads images with {bounds}, got {h} x {w}")
        mean, std = photographs.IMAGENET_MEAN, photographs.IMAGENET_STD
        images = photographs.batch(rng, b, patch * h, patch * w, mean=mean, std=std)
        return images, *_prompts(rng, (b, p, n), (patch * w, patch * h))

    if weights is None:
        params = random_params(param_shapes(config), seed, _scale)
    else:
        params = from_state_dict(read_state_dict(weights), config)
    return Model(
        name="sam",
        size=size,
        fun=sam,
        params=params,
        shapes=(None, f"b, {patch}*h, {patch}*w, 3", "b, p, n, 2", "b, p, n"),
        constraints=(
            f"h <= {config.max_grid}",
            f"w <= {config.max_grid}",
            f"p <= {config.max_prompts}",
            f"n <= {config.max_points}",
        ),
        inputs=inputs,
    )


def _prompts(
    rng: np.random.Generator, shape: tuple[int, ...], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Clicks anywhere on the image, as a user corrects a mask: the first is on the object."""
    points = rng.uniform(0, size, (*shape, 2)).astype(np.float32)
    labels = rng.integers(NEGATIVE, POSITIVE, shape, np.int32, endpoint=True)
    labels[:, :, 0] = POSITIVE
    return points, labels


def from_state_dict(state: Mapping[str, np.ndarray], config: SamConfig) -> Any:
    """Variables from the tensors of a published checkpoint, or of one of `transformers.SamModel`.

    Raises:
      ValueError: naming every tensor that is missing, of another shape than the configuration's,
        or unknown to it.
    """
    return fit(sam_checkpoint.renamed(state), param_shapes(config), sam_checkpoint.torch_name)


def _scale(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[float, float]:
    """Kernels by their fan-in: what they give has the size of what they take."""
    name = path[-1]
    if name == "kernel":
        # That of a transposed convolution has its inputs last, and its windows do not overlap.
        fan_in = shape[-1] if "upscale" in path[-2] else math.prod(shape[:-1])
        return 0.0, fan_in**-0.5
    if name.startswith("rel_pos"):
        return 0.0, shape[-1] ** -0.5
    if name == "pos_embed":
        return 0.0, _POSITION_STD
    if name in ("scale", "bias"):
        return bert_scale(path, shape)
    return 0.0, 1.0
