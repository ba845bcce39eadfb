"""YOLOv6 on photographs whose sides are rounded up to multiples of 32.

Without suppression: of thousands of boxes some compete by less than a rounding error, and what is
kept of them then differs from one executable to the next, padded or not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sod2jax.bench.suite import Suite, SuiteFile, load_package

_ROOT = Path(__file__).resolve().parents[2]
_STRIDE = 32
# Longest side of an image, in strides.
_LARGEST = {"tiny": 6, "n": 20, "s": 20, "full": 20}


def build(size: str, *, batch: int, requests: int, seed: int, weights: Path | None = None) -> Suite:
    """`requests` batches, the longer side from a third of the largest to the largest."""
    # Loaded here, not above: reading this file for its sizes should not import flax.
    models = load_package(_ROOT / "models")
    model = models.load("yolov6", size, weights=weights, seed=seed)
    from models import photographs

    largest = _LARGEST[size]
    pixels = largest * _STRIDE
    rng = np.random.default_rng(seed)
    # As detectors round a photograph up, with a border.
    sizes = [
        (-(-h // _STRIDE), -(-w // _STRIDE))
        for h, w in photographs.request_sizes(rng, requests, pixels // 3, pixels)
    ]

    def yolov6(params: Any, images: Any) -> Any:
        """Boxes in shares of the longest side: the bench compares absolute errors."""
        boxes, class_scores = model.fun(params, images)
        return boxes / pixels, class_scores

    return Suite(
        name="yolov6",
        fun=yolov6,
        params=model.params,
        requests=[model.inputs(rng, b=batch, h=h, w=w) for h, w in sizes],
        shapes=(None, "_, 32*h, 32*w, 3"),
        constraints=(*model.constraints, f"h <= {largest}", f"w <= {largest}"),
        maximum={"h": largest, "w": largest},
        dims=lambda inputs: {k: inputs[0].shape[i] // _STRIDE for i, k in ((1, "h"), (2, "w"))},
    )


SUITE = SuiteFile(
    about="photographs whose sides are multiples of 32",
    sizes=tuple(_LARGEST),
    default_size="n",
    quick_size="tiny",
    takes_weights=False,
    build=build,
    pads_by_hand=False,
)
