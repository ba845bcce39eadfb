"""YOLOv6 with suppression on photographs whose sides are the next multiples of 32."""

from __future__ import annotations

from pathlib import Path

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
    model = models.load("yolov6", size, weights=weights, seed=seed, detect=True)
    from models import photographs

    largest = _LARGEST[size]
    pixels = largest * _STRIDE
    rng = np.random.default_rng(seed)
    # As detectors round a photograph up, with a border.
    sizes = [
        (-(-h // _STRIDE), -(-w // _STRIDE))
        for h, w in photographs.request_sizes(rng, requests, pixels // 3, pixels)
    ]
    return Suite(
        name="yolov6",
        fun=model.fun,
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
