"""YOLOv6 on photographs whose sides are rounded up to multiples of 32.

Without suppression: of thousands of boxes some compete by less than a rounding error, and what is
kept of them then differs from one executable to the next, padded or not.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from sod2jax.bench.images import photograph_suite
from sod2jax.bench.suite import Suite, SuiteFile

_MODELS = Path(__file__).resolve().parents[2] / "models"
_STRIDE = 32
# Longest side of an image, in strides.
_LARGEST = {"tiny": 6, "n": 20, "s": 20, "full": 20}


def build(size: str, **stream: Any) -> Suite:
    """The longer side from a third of the largest to the largest, rounded up with a border."""
    largest = _LARGEST[size]
    suite = photograph_suite(
        _MODELS, "yolov6", size, largest, unit=_STRIDE, range_of_sides=3, **stream
    )

    def yolov6(params: Any, images: Any) -> Any:
        """Boxes in shares of the longest side: the bench compares absolute errors."""
        boxes, class_scores = suite.fun(params, images)
        return boxes / (largest * _STRIDE), class_scores

    return dataclasses.replace(suite, fun=yolov6)


SUITE = SuiteFile(
    about="photographs whose sides are multiples of 32",
    sizes=tuple(_LARGEST),
    default_size="n",
    quick_size="tiny",
    takes_weights=False,
    build=build,
    pads_by_hand=False,
)
