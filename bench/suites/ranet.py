"""RANet on photographs in their own proportions, with exits in the published shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sod2jax.bench.images import photograph_suite
from sod2jax.bench.suite import Suite, SuiteFile

_MODELS = Path(__file__).resolve().parents[2] / "models"
# Longest side of an image, in pixels.
_LARGEST = {"tiny": 48, "small": 64, "cifar": 64, "full": 320}
# Each exit takes as many images as the one before: the middle of the published curves.
_RATIO = 1.0
_CALIBRATION_IMAGES = 16


def build(size: str, **stream: Any) -> Suite:
    """The longer side from half the largest to the largest; see `photograph_suite`."""
    largest = _LARGEST[size]

    def thresholds(model: Any, rng: np.random.Generator) -> tuple[np.ndarray]:
        return (_thresholds(model, rng, 3 * largest // 4),)

    return photograph_suite(_MODELS, "ranet", size, largest, shared=thresholds, **stream)


def _thresholds(model: Any, rng: np.random.Generator, side: int) -> np.ndarray:
    """Of other photographs, as the paper has them of a validation set."""
    import jax

    from models import ranet

    (images,) = model.inputs(rng, b=_CALIBRATION_IMAGES, h=side, w=side)
    net = ranet.RANet(ranet.SIZES[model.size])
    logits = jax.jit(lambda params, x: net.apply(params, x, method="every_exit"))(
        model.params, images
    )
    sure = jax.nn.softmax(logits).max(axis=-1)
    return ranet.exit_thresholds(np.asarray(sure), _RATIO)


SUITE = SuiteFile(
    about="photographs in their own proportions, exits in equal shares",
    sizes=tuple(_LARGEST),
    default_size="small",
    quick_size="tiny",
    takes_weights=False,
    build=build,
    pads_by_hand=False,
)
