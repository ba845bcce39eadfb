"""Stable Diffusion's VAE encoder on photographs in their own proportions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sod2jax.bench.images import photograph_suite
from sod2jax.bench.suite import Suite, SuiteFile, load_package

_MODELS = Path(__file__).resolve().parents[2] / "models"


def build(size: str, **stream: Any) -> Suite:
    """The longer side from half the model's largest to the largest; see `photograph_suite`."""
    load_package(_MODELS)
    from models import sd_vae_encoder

    largest = sd_vae_encoder.SIZES[size].max_side
    return photograph_suite(_MODELS, "sd_vae_encoder", size, largest, **stream)


SUITE = SuiteFile(
    about="photographs in their own proportions",
    sizes=("tiny", "small", "full"),
    default_size="small",
    quick_size="tiny",
    takes_weights=True,
    build=build,
    pads_by_hand=False,
)
