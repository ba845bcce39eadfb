"""Models as programs of the bench: named before they are built, enlarged by their specs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sod2jax.bench import builtin
from sod2jax.bench.plan_models import PLANNED, NoSuchSizeError, enlarged, matching, repeated

ROOT = Path(__file__).resolve().parents[2]


def test_programs_that_take_long_are_asked_for() -> None:
    usual, all_of_them = list(matching("enc*")), list(matching("enc*", long=True))
    assert "encoder 8192" in {p.name for p in all_of_them} - {p.name for p in usual}
    assert [p for p in PLANNED if p.name.startswith("enc")] == all_of_them


def test_a_model_has_the_sizes_of_its_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(NoSuchSizeError, match="codebert has no size 'huge'; it has: tiny, small"):
        next(matching("model codebert *", "huge"))
    assert not list(matching("model codebert small", "tiny"))


def test_without_suites_there_are_no_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not list(matching("model *"))


@pytest.mark.slow
def test_a_model_runs_at_its_largest_bucket_and_at_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    (sam,) = matching("model sam *", "shallow")
    assert sam.name == "model sam shallow" and sam.bucket == {"h": 16, "w": 16, "n": 4}
    rng = np.random.default_rng(0)
    for sizes in (sam.bucket, sam.smaller):
        _, images, points, labels = sam.arguments(rng, sizes)
        assert images.shape[2] % sizes["w"] == 0 and images.shape[3:] == (3,)
        assert points.shape[2] == labels.shape[2] == sizes["n"]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_request_is_enlarged_as_one_pads_by_hand(batch: int) -> None:
    suite = builtin.build("tiny", batch=batch, requests=1, seed=0)
    (request,) = suite.requests
    larger = enlarged(suite, request, {"s": 64})
    assert len(larger) == len(request)
    assert all(array.shape == (batch, 64) for array in larger)
    assert np.array_equal(larger[0][:, : request[0].shape[1]], request[0])


def test_an_array_is_repeated_to_the_shape_of_its_spec() -> None:
    array = np.arange(6).reshape(1, 3, 2)
    got = repeated(array, "_, 2*h + 1, 2", {"h": 3})
    assert got[0].tolist() == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3], [4, 5], [0, 1]]
    assert repeated(array, None, {}) is array
