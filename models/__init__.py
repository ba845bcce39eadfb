"""Models with dynamic shapes, each written for exact shapes and loaded by name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from models.base import Model as Model

NAMES = (
    "blockdrop",
    "codebert",
    "conformer",
    "convnet_aig",
    "dgnet",
    "ranet",
    "sam",
    "sd_text_encoder",
    "sd_vae_encoder",
    "skipnet",
    "yolov6",
)


def load(
    name: str,
    size: str = "tiny",
    *,
    weights: str | Path | None = None,
    seed: int = 0,
    **options: Any,
) -> Model:
    """Builds a model; only the module of this one model is imported.

    Args:
      name: one of `NAMES`.
      size: a configuration of that model, such as "tiny" or "base".
      weights: a checkpoint (.safetensors, or a torch .bin or .pt file), or a directory that
        holds one; without it the parameters are random.
      seed: of the random parameters.
      **options: what this model's `build` takes besides, such as `gating` of a gated model.

    Raises:
      ValueError: for a name or a size that does not exist, and for a checkpoint whose tensors
        do not fit the configuration.
    """
    if name not in NAMES:
        raise ValueError(f"there is no model {name!r}; the models are: {', '.join(NAMES)}")
    module = importlib.import_module(f"models.{name}")
    if size not in module.SIZES:
        sizes = ", ".join(module.SIZES)
        raise ValueError(f"{name} has no size {size!r}; its sizes are: {sizes}")
    return module.build(size, weights=weights, seed=seed, **options)
