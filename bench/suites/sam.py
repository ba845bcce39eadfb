"""Segment Anything on photographs in their own proportions, with a few clicks on each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sod2jax.bench.suite import Suite, SuiteFile, load_package

_ROOT = Path(__file__).resolve().parents[2]
# Longest side of an image, in patches: on a CPU the published 64 take minutes an image.
_LARGEST = {"shallow": 16, "tiny": 16, "small": 20, "full": 24}
# Most objects that a request asks for, and most clicks on each.
_PROMPTS, _POINTS = 4, 8


def build(size: str, *, batch: int, requests: int, seed: int, weights: Path | None = None) -> Suite:
    """`requests` batches, the longer side from half the largest to the largest."""
    # Loaded here, not above: reading this file for its sizes should not import flax.
    models = load_package(_ROOT / "models")
    model = models.load("sam", size, weights=weights, seed=seed)
    from models import photographs, sam

    largest = _LARGEST[size]
    rng = np.random.default_rng(seed)
    grids = photographs.request_sizes(rng, requests, largest // 2, largest)
    prompts = rng.integers(1, (_PROMPTS, _POINTS), (requests, 2), endpoint=True).tolist()
    patch = sam.SIZES[size].encoder.patch
    limits = {"h": largest, "w": largest, "p": _PROMPTS, "n": _POINTS}
    return Suite(
        name="sam",
        fun=model.fun,
        params=model.params,
        requests=[
            model.inputs(rng, b=batch, h=h, w=w, p=p, n=n)
            for (h, w), (p, n) in zip(grids, prompts, strict=True)
        ],
        shapes=(None, *(spec.replace("b,", "_,") for spec in model.shapes[1:])),
        constraints=tuple(f"{name} <= {limit}" for name, limit in limits.items()),
        maximum=limits,
        dims=lambda inputs: _dims(inputs, patch),
    )


def _dims(inputs: tuple[np.ndarray, ...], patch: int) -> dict[str, int]:
    images, points, _ = inputs
    height, width = images.shape[1:3]
    return {"h": height // patch, "w": width // patch, "p": points.shape[1], "n": points.shape[2]}


SUITE = SuiteFile(
    about="photographs in their own proportions, a few clicks on each",
    sizes=tuple(_LARGEST),
    default_size="small",
    quick_size="shallow",
    takes_weights=True,
    build=build,
    pads_by_hand=False,
)
