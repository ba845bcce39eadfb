"""Conformer on spoken sentences, at their own lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sod2jax.bench.suite import Suite, SuiteFile, load_package

_ROOT = Path(__file__).resolve().parents[2]
# Longest recording, in frames of 10 ms.
_LONGEST = {"tiny": 400, "mini": 1600, "small": 1600, "medium": 1600, "full": 1600}
_SHORTEST = 100


def build(size: str, *, batch: int, requests: int, seed: int, weights: Path | None = None) -> Suite:
    """`requests` batches as long as one to three sentences, from a second up to the longest."""
    # Loaded here, not above: reading this file for its sizes should not import flax.
    models = load_package(_ROOT / "models")
    model = models.load("conformer", size, weights=weights, seed=seed)
    from models import speech

    longest = _LONGEST[size]
    rng = np.random.default_rng(seed)
    lengths = speech.request_frames(rng, requests, _SHORTEST, longest)
    return Suite(
        name="conformer",
        fun=model.fun,
        params=model.params,
        requests=[model.inputs(rng, b=batch, t=length) for length in lengths],
        shapes=(None, "_, t, 80"),
        constraints=(*model.constraints, f"t <= {longest}"),
        maximum={"t": longest},
        dims=lambda inputs: {"t": inputs[0].shape[1]},
    )


SUITE = SuiteFile(
    about="spoken sentences, from one second",
    sizes=tuple(_LONGEST),
    default_size="mini",
    quick_size="tiny",
    takes_weights=False,
    build=build,
    pads_by_hand=False,
)
