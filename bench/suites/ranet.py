"""RANet on photographs in their own proportions, with exits in the published shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sod2jax.bench.suite import Suite, SuiteFile, load_package

_ROOT = Path(__file__).resolve().parents[2]
# Longest side of an image, in pixels.
_LARGEST = {"tiny": 48, "small": 64, "cifar": 64, "full": 320}
# Each exit takes as many images as the one before: the middle of the published curves.
_RATIO = 1.0
_CALIBRATION_IMAGES = 16


def build(size: str, *, batch: int, requests: int, seed: int, weights: Path | None = None) -> Suite:
    """`requests` batches, the longer side from half the largest to the largest."""
    # Loaded here, not above: reading this file for its sizes should not import flax.
    models = load_package(_ROOT / "models")
    model = models.load("ranet", size, weights=weights, seed=seed)
    from models import photographs

    largest = _LARGEST[size]
    rng = np.random.default_rng(seed)
    thresholds = _thresholds(model, rng, 3 * largest // 4)
    sizes = photographs.request_sizes(rng, requests, largest // 2, largest)
    return Suite(
        name="ranet",
        fun=model.fun,
        params=model.params,
        requests=[(*model.inputs(rng, b=batch, h=h, w=w), thresholds) for h, w in sizes],
        shapes=(None, "_, h, w, 3", None),
        constraints=(*model.constraints, f"h <= {largest}", f"w <= {largest}"),
        maximum={"h": largest, "w": largest},
        dims=lambda inputs: dict(zip("hw", inputs[0].shape[1:3], strict=True)),
    )


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
