"""Segment Anything on photographs in their own proportions, with a few clicks on each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sod2jax.bench.suite import Suite, SuiteFile, load_package

_ROOT = Path(__file__).resolve().parents[2]
# Longer side of an image, in patches: on a CPU the published 64 take minutes an image.
_LARGEST = {"shallow": 16, "tiny": 16, "small": 20, "full": 24}
_CLICKS = 4


def build(size: str, *, batch: int, requests: int, seed: int, weights: Path | None = None) -> Suite:
    """`requests` batches, photographs scaled by their longer side as the published model does.

    Each asks for one object an image, by one to four clicks.
    """
    # Loaded here, not above: reading this file for its sizes should not import flax.
    models = load_package(_ROOT / "models")
    model = models.load("sam", size, weights=weights, seed=seed)
    from models import photographs, sam

    largest, patch = _LARGEST[size], sam.SIZES[size].encoder.patch
    rng = np.random.default_rng(seed)
    grids = photographs.request_sizes(rng, requests, largest, largest)
    clicks = rng.integers(1, _CLICKS, requests, endpoint=True).tolist()
    return Suite(
        name="sam",
        fun=model.fun,
        params=model.params,
        requests=[
            model.inputs(rng, b=batch, h=h, w=w, p=1, n=n)
            for (h, w), n in zip(grids, clicks, strict=True)
        ],
        shapes=(None, f"_, {patch}*h, {patch}*w, 3", "_, 1, n, 2", "_, 1, n"),
        constraints=(f"h <= {largest}", f"w <= {largest}", f"n <= {_CLICKS}"),
        maximum={"h": largest, "w": largest, "n": _CLICKS},
        dims=lambda inputs: _dims(inputs, patch),
    )


def _dims(inputs: tuple[np.ndarray, ...], patch: int) -> dict[str, int]:
    images, points, _ = inputs
    height, width = images.shape[1:3]
    return {"h": height // patch, "w": width // patch, "n": points.shape[2]}


SUITE = SuiteFile(
    about="photographs in their own proportions, a few clicks on each",
    sizes=tuple(_LARGEST),
    default_size="small",
    quick_size="shallow",
    takes_weights=True,
    build=build,
    pads_by_hand=False,
)
