"""YOLOv6 N and S (version 0.4): boxes and class scores, and the boxes that suppression keeps.

After Li et al. (arXiv 2209.02976, 2301.05586): EfficientRep backbone, RepBiFPAN neck, decoupled
anchor-free head on three levels. Height and width are multiples of 32, the largest stride.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import photographs
from models.base import Model, random_params
from models.nms import class_nms
from models.repvgg import ConvNorm, fused
from models.yolov6_features import Backbone, Neck, YoloConfig

Form = Literal["deploy", "train"]
FORMS = ("deploy", "train")

STRIDES = (8, 16, 32)
# The published networks carry two fixed tables of the larger models' head, over distances from 0
# to 16; N and S never read them.
_UNUSED_TABLES = (2, 17)

# With this share of the sum, deep stacks of branches stay of order one.
_SIDE_BRANCH_SCALE = 0.2
# Squared, of kernels that no ReLU follows: scores spread over their range, sides less than a cell.
_GAINS = {"regress": 1.0, "classify": 8.0}

# YOLOv6's defaults.
IOU_THRESHOLD = 0.45
SCORE_THRESHOLD = 0.25
MAX_RESULTS = 300

_N = YoloConfig(width=0.25, depth=0.33)
_S = YoloConfig(width=0.5, depth=0.33)
SIZES = {"tiny": YoloConfig(width=0.0625, depth=0, classes=3), "n": _N, "s": _S, "full": _S}


class Head(nn.Module):
    """Features [b, h, w, c] to boxes [b, h*w, 4] and class scores [b, h*w, classes]."""

    classes: int
    stride: int
    deploy: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        b, h, w, c = x.shape
        conv = partial(ConvNorm, c, activation=nn.silu, deploy=self.deploy)
        x = conv(size=1, name="stem")(x)
        logits = nn.Conv(self.classes, (1, 1), name="classify")(conv(size=3, name="class_conv")(x))
        sides = nn.Conv(4, (1, 1), name="regress")(conv(size=3, name="box_conv")(x))
        boxes = _boxes(sides) * self.stride
        return boxes.reshape(b, h * w, 4), nn.sigmoid(logits).reshape(b, h * w, self.classes)


def _boxes(sides: jax.Array) -> jax.Array:
    """Corners from the distances of each cell's centre to the sides; in cells.

    Args:
      sides: [b, h, w, 4], distances to the left, the top, the right and the bottom.

    Returns:
      [b, h, w, 4], x1, y1, x2, y2.
    """
    _, h, w, _ = sides.shape
    ys, xs = jnp.meshgrid(jnp.arange(h) + 0.5, jnp.arange(w) + 0.5, indexing="ij")
    centres = jnp.stack((xs, ys), axis=-1)[None]
    return jnp.concatenate((centres - sides[..., :2], centres + sides[..., 2:]), axis=-1)


class Yolov6(nn.Module):
    """Images to boxes, one for each cell of three grids.

    The call takes images, float32 [b, 32*h, 32*w, 3], of values from 0 to 1.

    Returns:
      boxes, float32 [b, n, 4], the corners x1, y1, x2, y2 in pixels, and class scores, float32
      [b, n, classes], from 0 to 1; n is 21*h*w: the grid of stride 8 row by row, then those of 16
      and 32.
    """

    config: YoloConfig
    deploy: bool = True

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        levels = Backbone(self.config, self.deploy, name="backbone")(images)
        levels = Neck(self.config, self.deploy, name="neck")(levels)
        if self.is_initializing():
            self.param("unused_tables", nn.initializers.zeros, _UNUSED_TABLES)
        boxes, scores = [], []
        for i, (stride, x) in enumerate(zip(STRIDES, levels, strict=True)):
            head = Head(self.config.classes, stride, self.deploy, name=f"heads_{i}")
            for part, found in zip((boxes, scores), head(x), strict=True):
                part.append(found)
        return jnp.concatenate(boxes, axis=1), jnp.concatenate(scores, axis=1)


class Detections(NamedTuple):
    """What a detector finds in b images, before any box is left out.

    Attributes:
      boxes: float32 [b, n, 4], the corners x1, y1, x2, y2 in pixels.
      scores: float32 [b, n], of the best class of each box.
      labels: int32 [b, n], that class.
      keep: bool [b, n], the boxes that suppression keeps.
      ranks: int32 [b, n], position of a kept box among the kept of its image, n for the others.
    """

    boxes: jax.Array
    scores: jax.Array
    labels: jax.Array
    keep: jax.Array
    ranks: jax.Array


def suppress(boxes: jax.Array, class_scores: jax.Array) -> Detections:
    """Suppression in each image, class by class, with YOLOv6's default thresholds.

    Args:
      boxes: float [b, n, 4], the corners x1, y1, x2, y2.
      class_scores: float [b, n, classes].
    """
    scores, labels = class_scores.max(-1), jnp.argmax(class_scores, -1).astype(jnp.int32)
    kept = jax.vmap(lambda *image: class_nms(*image, IOU_THRESHOLD, SCORE_THRESHOLD, MAX_RESULTS))(
        boxes, scores, labels
    )
    return Detections(boxes, scores, labels, kept.mask, kept.ranks)


def param_shapes(config: YoloConfig, form: Form = "deploy") -> Any:
    """The variables, parameters and running statistics, as shapes; nothing is computed."""
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    module = Yolov6(config, deploy=form == "deploy")
    return jax.eval_shape(module.init, jax.random.key(0), images)


def build(
    size: str,
    *,
    weights: str | Path | None,
    seed: int,
    form: Form = "deploy",
    detect: bool = False,
) -> Model:
    """YOLOv6 at one of `SIZES`; see `models.load`. "full" is YOLOv6-S.

    `fun(params, images)` gives boxes and class scores, see `Yolov6`.

    Args:
      size: one of `SIZES`.
      weights: None; the weights are random.
      seed: of the weights; both forms of one seed compute the same.
      form: "deploy", one convolution for every block, or "train", the branches that
        `repvgg.fused` makes one of.
      detect: `fun` gives `Detections`, suppression included.

    Raises:
      ValueError: for a checkpoint, or a form that is not one of `FORMS`.
    """
    if weights is not None:
        raise ValueError("yolov6 has no public checkpoint in a format that is read here")
    if form not in FORMS:
        raise ValueError(f"form is one of {', '.join(FORMS)}, not {form!r}")
    config = SIZES[size]
    module = Yolov6(config, deploy=form == "deploy")

    def yolov6(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        return module.apply(params, images)

    def yolov6_detect(params: Any, images: jax.Array) -> Detections:
        return suppress(*yolov6(params, images))

    params = random_params(param_shapes(config, "train"), seed, _scale)
    return Model(
        name="yolov6",
        size=size,
        fun=yolov6_detect if detect else yolov6,
        params=fused(params) if form == "deploy" else params,
        shapes=(None, "b, 32*h, 32*w, 3"),
        constraints=(),
        inputs=inputs,
    )


def inputs(rng: np.random.Generator, *, b: int, h: int, w: int) -> tuple[np.ndarray, ...]:
    """Photographs, float32 [b, 32*h, 32*w, 3], of values from 0 to 1."""
    return (photographs.batch(rng, b, 32 * h, 32 * w, mean=0, std=1),)


def _scale(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[float, float]:
    """He's initialisation; boxes four cells wide, and best scores about a half."""
    if path[-1] == "kernel":
        gain = next((gain for part, gain in _GAINS.items() if part in path), 2.0)
        return 0.0, math.sqrt(gain / math.prod(shape[:-1]))
    if path[-1] == "var":
        return 1.0, 0.0
    if path[-1] == "scale":
        return (_SIDE_BRANCH_SCALE if {"point", "identity"} & set(path) else 1.0), 0.0
    if "regress" in path:
        return 2.0, 0.0
    if "classify" in path:
        return -math.sqrt(2 * math.log(shape[0])), 0.0
    return 0.0, 0.0
