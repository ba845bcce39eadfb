"""DGNet on photographs in their own proportions, rounded to whole patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sod2jax.bench.suite import Suite, SuiteFile, load_package

_ROOT = Path(__file__).resolve().parents[2]
# Longest side of an image, in units of the model: 32 pixels, for "cifar" 8.
_LARGEST = {"tiny": 4, "cifar": 8, "resnet18": 10, "full": 10, "resnet50": 10}


def build(size: str, *, batch: int, requests: int, seed: int, weights: Path | None = None) -> Suite:
    """`requests` batches, the longer side from half the largest to the largest."""
    # Loaded here, not above: reading this file for its sizes should not import flax.
    models = load_package(_ROOT / "models")
    model = models.load("dgnet", size, weights=weights, seed=seed)
    from models import dgnet, photographs

    largest, unit = _LARGEST[size], dgnet.SIZES[size].unit
    rng = np.random.default_rng(seed)
    pixels = photographs.request_sizes(rng, requests, unit * largest // 2, unit * largest)
    sizes = [(-(-h // unit), -(-w // unit)) for h, w in pixels]
    return Suite(
        name="dgnet",
        fun=model.fun,
        params=model.params,
        requests=[model.inputs(rng, b=batch, h=h, w=w) for h, w in sizes],
        shapes=(None, f"_, {unit}*h, {unit}*w, 3"),
        constraints=(*model.constraints, f"h <= {largest}", f"w <= {largest}"),
        maximum={"h": largest, "w": largest},
        dims=lambda inputs: {"h": inputs[0].shape[1] // unit, "w": inputs[0].shape[2] // unit},
    )


SUITE = SuiteFile(
    about="photographs in their own proportions, in whole patches",
    sizes=tuple(_LARGEST),
    default_size="cifar",
    quick_size="tiny",
    takes_weights=False,
    build=build,
    pads_by_hand=False,
)
