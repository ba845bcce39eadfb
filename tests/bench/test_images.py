"""The suites of image models: photographs, of sides that are multiples of the model's unit."""

from __future__ import annotations

from pathlib import Path

import pytest

from sod2jax.bench.suite import load_file

SUITES = Path(__file__).resolve().parents[2] / "bench" / "suites"


@pytest.mark.parametrize(
    ("name", "unit", "largest", "smallest"),
    [("convnet_aig", 1, 48, 24), ("dgnet", 32, 4, 2), ("yolov6", 32, 6, 2), ("ranet", 1, 48, 24)],
)
def test_sides_are_whole_units_in_range(name: str, unit: int, largest: int, smallest: int) -> None:
    file = load_file(SUITES / f"{name}.py").SUITE
    suite = file.build(file.quick_size, batch=2, requests=8, seed=0)
    assert suite.maximum == {"h": largest, "w": largest}
    sizes = [suite.dims(inputs) for inputs in suite.requests]
    for inputs, at in zip(suite.requests, sizes, strict=True):
        assert inputs[0].shape == (2, unit * at["h"], unit * at["w"], 3)
        assert smallest <= max(at.values()) <= largest
    assert len({tuple(at.items()) for at in sizes}) > 2


def test_what_requests_share_comes_after_their_images() -> None:
    suite = load_file(SUITES / "ranet.py").SUITE.build("tiny", batch=1, requests=2, seed=0)
    (_, first), (_, second) = suite.requests
    assert first is second and len(suite.shapes) == 3


def test_bounds_are_named_once() -> None:
    suite = load_file(SUITES / "sd_vae_encoder.py").SUITE.build("tiny", batch=1, requests=1, seed=0)
    assert suite.constraints == ("h >= 8", "h <= 128", "w >= 8", "w <= 128")
