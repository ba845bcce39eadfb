"""DGNet on photographs in their own proportions, rounded to whole patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sod2jax.bench.images import photograph_suite
from sod2jax.bench.suite import Suite, SuiteFile, load_package

_MODELS = Path(__file__).resolve().parents[2] / "models"
# Longest side of an image, in units of the model: 32 pixels, for "cifar" 8.
_LARGEST = {"tiny": 4, "cifar": 8, "resnet18": 10, "full": 10, "resnet50": 10}


def build(size: str, **stream: Any) -> Suite:
    """The longer side from half the largest to the largest; see `photograph_suite`."""
    load_package(_MODELS)
    from models import dgnet

    unit = dgnet.SIZES[size].unit
    return photograph_suite(_MODELS, "dgnet", size, _LARGEST[size], unit=unit, **stream)


SUITE = SuiteFile(
    about="photographs in their own proportions, in whole patches",
    sizes=tuple(_LARGEST),
    default_size="cifar",
    quick_size="tiny",
    takes_weights=False,
    build=build,
    pads_by_hand=False,
)
