"""What the suites of image models share: photographs in their own proportions."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sod2jax.bench.suite import Inputs, Suite, load_package


def photograph_suite(
    models: Path,
    name: str,
    size: str,
    largest: int,
    *,
    batch: int,
    requests: int,
    seed: int,
    weights: Path | None = None,
    unit: int = 1,
    range_of_sides: int = 2,
    shared: Callable[[Any, np.random.Generator], Inputs] = lambda model, rng: (),
) -> Suite:
    """Batches of photographs, whose longer sides are uniform up to the largest.

    Args:
      models: folder of the package ``models``, which is loaded.
      name: the model.
      size: its configuration.
      largest: longest side of an image, in units.
      batch: images per request.
      requests: how many.
      seed: of weights and requests.
      weights: checkpoint instead of random weights.
      unit: pixels that sides are rounded up to multiples of; what symbols count.
      range_of_sides: the largest longer side over the smallest.
      shared: (model, generator) -> inputs that every request has after its images.
    """
    # Loaded here, not above: reading a suite for its sizes should not import flax.
    package = load_package(models)
    photographs = importlib.import_module(f"{package.__name__}.photographs")
    model = package.load(name, size, weights=weights, seed=seed)
    rng = np.random.default_rng(seed)
    last = shared(model, rng)
    pixels = largest * unit
    sides = photographs.request_sizes(rng, requests, pixels // range_of_sides, pixels)
    sizes = [(-(-h // unit), -(-w // unit)) for h, w in sides]
    bounds = (*model.constraints, f"h <= {largest}", f"w <= {largest}")
    of_unit = "" if unit == 1 else f"{unit}*"
    return Suite(
        name=name,
        fun=model.fun,
        params=model.params,
        requests=[(*model.inputs(rng, b=batch, h=h, w=w), *last) for h, w in sizes],
        shapes=(None, f"_, {of_unit}h, {of_unit}w, 3", *(None for _ in last)),
        constraints=tuple(dict.fromkeys(bounds)),
        maximum={"h": largest, "w": largest},
        dims=lambda inputs: {"h": inputs[0].shape[1] // unit, "w": inputs[0].shape[2] // unit},
    )
