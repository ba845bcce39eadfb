"""Photographs at any size."""

from __future__ import annotations

import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from models import photographs


def draw(seed: int, *size: int, **options: object) -> np.ndarray:
    return photographs.batch(np.random.default_rng(seed), *size, **options)


@given(st.integers(1, 3), st.integers(1, 90), st.integers(1, 90), st.integers(0, 99))
def test_batches_have_exactly_the_size_asked_for(batch, height, width, seed):
    images = draw(seed, batch, height, width)
    assert images.shape == (batch, height, width, 3)
    assert images.dtype == np.float32
    assert images.min() >= -1 and images.max() <= 1


def test_sizes_beyond_those_of_the_photographs_are_given_too():
    assert draw(0, 1, 1500, 20).shape == (1, 1500, 20, 3)


def test_images_are_photographs():
    images = draw(0, 16, 64, 48)
    assert images.std(axis=(1, 2, 3)).min() > 0.05
    # Neighbouring pixels of a photograph are alike, in colour channels that differ.
    steps = np.abs(np.diff(images, axis=1)).mean()
    assert steps < 0.3 * images.std()
    assert np.abs(images[..., 0] - images[..., 2]).mean() > 0.05


def test_images_follow_the_generator_and_differ():
    first, again, other = (draw(seed, 8, 32, 32) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({image.tobytes() for image in first}) == 8


def test_normalisation_is_per_channel():
    unit = draw(3, 2, 20, 30, mean=0.0, std=1.0)
    assert unit.min() >= 0 and unit.max() <= 1
    options = {"mean": photographs.IMAGENET_MEAN, "std": photographs.IMAGENET_STD}
    for channel in range(3):
        np.testing.assert_allclose(
            draw(3, 2, 20, 30, **options)[..., channel],
            (unit[..., channel] - options["mean"][channel]) / options["std"][channel],
            rtol=1e-5,
            atol=1e-6,
        )


def test_request_sizes_keep_proportions_and_bounds():
    sizes = photographs.request_sizes(np.random.default_rng(0), 200, 64, 256)
    assert len(sizes) == 200
    longer, shorter = (np.array([pick(size) for size in sizes]) for pick in (max, min))
    assert longer.min() >= 64 and longer.max() <= 256
    assert 0.6 < (shorter / longer).min() < 0.7 and (shorter / longer).max() == 1
    assert len(set(sizes)) > 150
    assert 0 < sum(h > w for h, w in sizes) < sum(h != w for h, w in sizes)


def test_a_missing_package_is_explained(monkeypatch):
    photographs._photographs.cache_clear()
    monkeypatch.setattr(photographs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install scikit-image"):
        draw(0, 1, 8, 8)


def test_scikit_image_is_not_imported():
    draw(0, 1, 8, 8)
    assert "skimage" not in sys.modules
