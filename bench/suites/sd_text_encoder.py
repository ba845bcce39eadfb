"""Stable Diffusion's text encoder on source code of any length up to that of a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sod2jax.bench.suite import Inputs, Suite, SuiteFile, load_package, trim_tokens

_ROOT = Path(__file__).resolve().parents[2]
_SHORTEST = 4


def build(size: str, *, batch: int, requests: int, seed: int, weights: Path | None = None) -> Suite:
    """`requests` batches of texts, their lengths uniform from 4 tokens to the model's maximum."""
    # Loaded here, not above: reading this file for its sizes should not import flax.
    models = load_package(_ROOT / "models")
    model = models.load("sd_text_encoder", size, weights=weights, seed=seed)
    from models import sd_text_encoder

    config = sd_text_encoder.SIZES[size]
    rng = np.random.default_rng(seed)
    lengths = rng.integers(_SHORTEST, config.positions, size=requests, endpoint=True)

    # A token sees only those before it: by hand, too, there is nothing to mask.
    def pad(inputs: Inputs, sizes: Mapping[str, int]) -> Inputs:
        width = ((0, 0), (0, sizes["s"] - inputs[0].shape[1]))
        return (np.pad(inputs[0], width, constant_values=config.eos_id),)

    return Suite(
        name="sd_text_encoder",
        fun=model.fun,
        params=model.params,
        requests=[model.inputs(rng, b=batch, s=int(length)) for length in lengths],
        shapes=(None, "_, s"),
        constraints=model.constraints,
        maximum={"s": config.positions},
        dims=lambda inputs: {"s": inputs[0].shape[1]},
        pad=pad,
        trim=trim_tokens,
    )


SUITE = SuiteFile(
    about="source code of 4 to 77 tokens",
    sizes=("tiny", "small", "full"),
    default_size="small",
    quick_size="tiny",
    takes_weights=True,
    build=build,
)
