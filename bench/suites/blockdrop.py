"""BlockDrop on photographs in their own proportions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sod2jax.bench.images import photograph_suite
from sod2jax.bench.suite import Suite, SuiteFile

_MODELS = Path(__file__).resolve().parents[2] / "models"
# Longest side of an image, in pixels.
_LARGEST = {"tiny": 48, "small": 64, "cifar": 64, "full": 320}


def build(size: str, **stream: Any) -> Suite:
    """The longer side from half the largest to the largest; see `photograph_suite`."""
    return photograph_suite(_MODELS, "blockdrop", size, _LARGEST[size], **stream)


SUITE = SuiteFile(
    about="photographs in their own proportions",
    sizes=tuple(_LARGEST),
    default_size="small",
    quick_size="tiny",
    takes_weights=False,
    build=build,
    pads_by_hand=False,
)
