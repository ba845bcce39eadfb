from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from sod2jax.bench import builtin
from sod2jax.bench.suite import load_file, load_package, pad_tokens, trim_tokens

ROOT = Path(__file__).resolve().parents[2]


def test_pad_tokens_masks_what_it_adds() -> None:
    ids, mask = pad_tokens((np.array([[5, 6, 7]], np.int32),), 5, 1)
    assert ids.tolist() == [[5, 6, 7, 1, 1]]
    assert mask.tolist() == [[1, 1, 1, 0, 0]]
    assert ids.dtype == mask.dtype == np.int32


def test_pad_tokens_keeps_a_given_mask() -> None:
    given = np.array([[1, 1], [1, 0]], np.int32)
    ids, mask = pad_tokens((np.array([[5, 6], [7, 0]], np.int32), given), 3, 0)
    assert ids.tolist() == [[5, 6, 0], [7, 0, 0]]
    assert mask.tolist() == [[1, 1, 0], [1, 0, 0]]


def test_trim_tokens_cuts_the_second_axis() -> None:
    assert trim_tokens(np.zeros((2, 8, 3)), {"s": 5}).shape == (2, 5, 3)


def test_load_package_resolves_its_own_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "zoo_of_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text("from zoo_of_tests.cat import LEGS as LEGS\n")
    (folder / "cat.py").write_text("LEGS = 4\n")
    package = load_package(folder)
    assert package.LEGS == 4
    assert load_package(folder) is package
    with pytest.raises(ImportError, match="loaded already"):
        load_package(tmp_path / "other" / "zoo_of_tests")


@pytest.mark.parametrize("batch", [1, 4])
def test_builtin_padding_does_not_change_results(batch: int) -> None:
    suite = builtin.build("tiny", batch=batch, requests=2, seed=0)
    assert suite.pad is not None and suite.trim is not None
    fun = jax.jit(suite.fun)
    for inputs in suite.requests:
        dims = suite.dims(inputs)
        exact = np.asarray(fun(suite.params, *inputs))
        padded = fun(suite.params, *suite.pad(inputs, suite.maximum))
        assert np.abs(exact - suite.trim(padded, dims)).max() < 1e-5
        assert 0.1 < exact.std() < 10
        assert len(suite.shapes) == 1 + len(inputs)


def test_builtin_is_the_same_for_the_same_seed() -> None:
    first, second = (builtin.build("tiny", batch=4, requests=3, seed=7) for _ in range(2))
    for a, b in zip(first.requests, second.requests, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert np.array_equal(first.params["tokens"], second.params["tokens"])


@pytest.mark.parametrize("batch", [1, 4])
def test_codebert_suite(batch: int) -> None:
    file = load_file(ROOT / "bench" / "suites" / "codebert.py").SUITE
    assert file.sizes == ("tiny", "small", "base")
    suite = file.build("tiny", batch=batch, requests=3, seed=0)
    assert suite.pad is not None
    for inputs in suite.requests:
        assert inputs[0].shape == (batch, suite.dims(inputs)["s"])
        padded = suite.pad(inputs, suite.maximum)
        assert [array.shape for array in padded] == [(batch, suite.maximum["s"])] * 2
    assert suite.shapes == ((None, "_, s") if batch == 1 else (None, "_, s", "_, s"))


@pytest.mark.parametrize("batch", [1, 4])
def test_text_encoder_suite_pads_without_a_mask(batch: int) -> None:
    file = load_file(ROOT / "bench" / "suites" / "sd_text_encoder.py").SUITE
    suite = file.build("tiny", batch=batch, requests=3, seed=0)
    assert suite.pad is not None and suite.trim is not None
    fun = jax.jit(suite.fun)
    for inputs in suite.requests:
        dims = suite.dims(inputs)
        assert inputs[0].shape == (batch, dims["s"])
        padded = suite.trim(fun(suite.params, *suite.pad(inputs, suite.maximum)), dims)
        np.testing.assert_allclose(padded, fun(suite.params, *inputs), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 4])
def test_vae_encoder_suite_has_images_of_many_sizes(batch: int) -> None:
    file = load_file(ROOT / "bench" / "suites" / "sd_vae_encoder.py").SUITE
    suite = file.build("tiny", batch=batch, requests=8, seed=0)
    assert not file.pads_by_hand and suite.pad is None
    sizes = {(dims["h"], dims["w"]) for dims in map(suite.dims, suite.requests)}
    assert len(sizes) > 4
    assert all(64 <= max(size) <= suite.maximum["h"] == 128 for size in sizes)
    assert {images.shape for (images,) in suite.requests} == {(batch, h, w, 3) for h, w in sizes}


@pytest.mark.parametrize("batch", [1, 4])
def test_conformer_suite_has_recordings_of_many_lengths(batch: int) -> None:
    file = load_file(ROOT / "bench" / "suites" / "conformer.py").SUITE
    suite = file.build("tiny", batch=batch, requests=8, seed=0)
    assert not file.pads_by_hand and suite.pad is None
    lengths = {suite.dims(inputs)["t"] for inputs in suite.requests}
    assert len(lengths) > 5
    assert all(100 <= length <= suite.maximum["t"] == 400 for length in lengths)
    assert {features.shape for (features,) in suite.requests} == {(batch, t, 80) for t in lengths}


def test_a_suite_prints_without_its_weights_and_requests() -> None:
    suite = builtin.build("tiny", batch=1, requests=3, seed=0)
    assert repr(suite) == (
        "Suite(name='encoder', shapes=(None, '_, s'), constraints=('s <= 64',), maximum={'s': 64})"
    )
