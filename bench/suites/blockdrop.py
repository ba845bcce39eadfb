"""BlockDrop on photographs in their own proportions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sod2jax.bench.suite import Suite, SuiteFile, load_package

_ROOT = Path(__file__).resolve().parents[2]
# Longest side of an image, in pixels.
_LARGEST = {"tiny": 48, "small": 64, "cifar": 64, "full": 320}


def build(size: str, *, batch: int, requests: int, seed: int, weights: Path | None = None) -> Suite:
    """`requests` batches, the longer side from half the largest to the largest."""
    # Loaded here, not above: reading this file for its sizes should not import flax.
    models = load_package(_ROOT / "models")
    model = models.load("blockdrop", size, weights=weights, seed=seed)
    from models import photographs

    largest = _LARGEST[size]
    rng = np.random.default_rng(seed)
    sizes = photographs.request_sizes(rng, requests, largest // 2, largest)
    return Suite(
        name="blockdrop",
        fun=model.fun,
        params=model.params,
        requests=[model.inputs(rng, b=batch, h=h, w=w) for h, w in sizes],
        shapes=(None, "_, h, w, 3"),
        constraints=(*model.constraints, f"h <= {largest}", f"w <= {largest}"),
        maximum={"h": largest, "w": largest},
        dims=lambda inputs: dict(zip("hw", inputs[0].shape[1:3], strict=True)),
    )


SUITE = SuiteFile(
    about="photographs in their own proportions",
    sizes=tuple(_LARGEST),
    default_size="small",
    quick_size="tiny",
    takes_weights=False,
    build=build,
    pads_by_hand=False,
)
