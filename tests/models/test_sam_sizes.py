"""Segment Anything at any size of image, number of prompts and number of points."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from models import load, sam
from models.sam import Sam
from models.sam_decoder import postprocess
from tests.models.dynamic import check_dynamic

TINY = sam.SIZES["tiny"]
# Every dimension at its smallest, at its bucket's, and at sizes that divide nothing.
CALLS = [(1, 1, 1, 1, 1), (2, 16, 16, 4, 4), (1, 16, 1, 4, 1), (2, 5, 10, 1, 2), (1, 6, 9, 3, 3)]
CALLS += [(1, 12, 12, 2, 1), (1, 7, 13, 1, 4), (2, 3, 2, 2, 3), (1, 15, 16, 3, 1), (2, 11, 4, 1, 1)]
CALLS += [(1, 2, 14, 4, 2), (2, 8, 5, 3, 4)]
BUCKETS = {"b": (2,), "h": (16,), "w": (16,), "p": (4,), "n": (4,)}


@pytest.fixture(scope="module")
def model() -> Any:
    return load("sam")


def sizes(calls: list[tuple[int, ...]]) -> list[dict[str, int]]:
    return [dict(zip("bhwpn", call, strict=True)) for call in calls]


@pytest.mark.parametrize("calls", [CALLS[:4], pytest.param(CALLS, marks=pytest.mark.slow)], ids=len)
def test_any_size_from_one_executable(calls):
    assert check_dynamic(load("sam", "shallow"), sizes(calls), BUCKETS).compiles == 1


def test_postprocessing_at_any_size_from_one_executable(model):
    """Three sizes, of which the last two come from arrays that are not read.

    An image that is resized to its own size is a matter of another program.
    """
    bounds = {"h": 6, "w": 6, "u": 96, "v": 96, "y": 70, "x": 70}

    def crop_and_scale(_: Any, masks: jax.Array, photograph: jax.Array, original: jax.Array) -> Any:
        image = (4 * masks.shape[1], 4 * masks.shape[2])
        return postprocess(masks, image, photograph.shape, original.shape)

    def arrays(rng: np.random.Generator, *, h: int, w: int, **dims: int) -> Any:
        masks = rng.normal(size=(2, 4 * h, 4 * w)).astype(np.float32)
        u, v, y, x = (dims[name] for name in "uvyx")
        return masks, np.zeros((u, v), np.uint8), np.zeros((y, x), np.uint8)

    rng = np.random.default_rng(0)
    calls = [bounds, {**dict.fromkeys(bounds, 1), "y": 2, "x": 3}]
    for h, w in rng.integers(1, 6, (5, 2), endpoint=True).tolist():
        u, v = rng.integers(1, (16 * h, 16 * w), endpoint=True).tolist()
        y, x = rng.integers(1, 70, 2, endpoint=True).tolist()
        y, x = (n % 70 + 1 if n == m else n for n, m in ((y, u), (x, v)))
        calls.append({"h": h, "w": w, "u": u, "v": v, "y": y, "x": x})
    posts = dataclasses.replace(
        model,
        fun=crop_and_scale,
        params=None,
        shapes=(None, "_, 4*h, 4*w", "u, v", "y, x"),
        constraints=("u <= 16*h", "v <= 16*w"),
        inputs=arrays,
    )
    buckets = {name: (bound,) for name, bound in bounds.items()}
    assert check_dynamic(posts, calls, buckets).compiles == 1


@pytest.mark.slow
def test_any_size_with_all_blocks(model):
    assert check_dynamic(model, sizes(CALLS), BUCKETS).compiles == 1


@pytest.mark.slow
@pytest.mark.parametrize("multimask", [True, False])
def test_any_size_with_boxes_and_masks_of_the_size_of_a_photograph(multimask):
    """The size of an output comes from an array that is not read."""
    model = load("sam", multimask=multimask)

    def more_inputs(rng: np.random.Generator, *, y: int, x: int, **dims: int) -> Any:
        images, points, labels = model.inputs(rng, **dims)
        boxes = np.concatenate((points.min(axis=2), points.max(axis=2)), axis=-1)
        return images, points, labels, boxes, np.zeros((y, x), np.uint8)

    boxed = dataclasses.replace(
        model,
        shapes=(*model.shapes, "b, p, 4", "y, x"),
        constraints=(*model.constraints, "y <= 100", "x <= 100"),
        inputs=more_inputs,
    )
    photographs = [(100, 100), (1, 1), (37, 61), (100, 8)]
    calls = [
        {**dims, "y": y, "x": x}
        for dims, (y, x) in zip(sizes(CALLS[1:5]), photographs, strict=True)
    ]
    buckets = {**BUCKETS, "y": (100,), "x": (100,)}
    assert check_dynamic(boxed, calls, buckets).compiles == 1


@pytest.mark.slow
def test_any_size_with_prompts_on_embeddings(model):
    """As a user corrects a mask: the image is embedded once, the last mask is a prompt too."""

    def decode(params: Any, *args: jax.Array) -> Any:
        embeddings, points, labels, masks = args
        return Sam(TINY).apply(params, embeddings, points, labels, None, masks, method="decode")

    def prompts(rng: np.random.Generator, **dims: int) -> Any:
        _, points, labels = model.inputs(rng, **dims)
        b, p, h, w = (dims[name] for name in "bphw")
        embeddings = rng.normal(size=(b, h, w, TINY.decoder.features)).astype(np.float32)
        masks = rng.normal(size=(b, p, 4 * h, 4 * w)).astype(np.float32)
        return embeddings, points, labels, masks

    decoder = dataclasses.replace(
        model,
        fun=decode,
        shapes=(None, "b, h, w, _", "b, p, n, 2", "b, p, n", "b, p, 4*h, 4*w"),
        inputs=prompts,
    )
    assert check_dynamic(decoder, sizes(CALLS), BUCKETS).compiles == 1


@pytest.mark.slow
def test_full_size():
    calls = sizes([(1, 4, 6, 1, 1), (1, 5, 3, 2, 3)])
    buckets = {"b": (1,), "h": (6,), "w": (6,), "p": (2,), "n": (3,)}
    assert check_dynamic(load("sam", "full"), calls, buckets).compiles == 1
