"""Suppression against a plain greedy loop in NumPy, at one size, at any size and for batches."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from models.nms import Kept, class_nms, iou, nms
from tests.compile_log import compile_log
from tests.models.greedy import IOU, SCORE, assert_kept, by_class, greedy


def unstacked(kept: Kept) -> list[Kept]:
    """That of each image of a batch."""
    return [Kept(*image) for image in zip(*map(np.asarray, kept), strict=True)]


@functools.cache
def jit(fun: Any, max_results: int | None = None) -> Any:
    return jax.jit(functools.partial(fun, max_results=max_results))


def check(boxes: Any, scores: Any, *thresholds: float, max_results: int | None = None) -> list[int]:
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    thresholds = thresholds or (IOU, SCORE)
    wanted = greedy(boxes, scores, *thresholds, max_results)
    assert_kept(jit(nms, max_results)(boxes, scores, *thresholds), wanted)
    return wanted


def random_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Boxes of sides from 2 to 30 in an image of 40."""
    centres, sides = rng.uniform(0, 40, (n, 2)), rng.uniform(2, 30, (n, 2))
    return np.concatenate((centres - sides / 2, centres + sides / 2), axis=1).astype(np.float32)


def coarse_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Boxes on a grid of five lines: many are equal, touch, lie inside others or have no area."""
    corners = np.sort(rng.integers(0, 5, (n, 2, 2)), axis=1)
    return corners.reshape(n, 4).astype(np.float32)


def coarse_scores(rng: np.random.Generator, n: int) -> np.ndarray:
    """One of five scores, so that many are equal, and some are the threshold itself."""
    return rng.choice(np.float32([0, SCORE, 0.3, 0.5, 1]), n)


# At one size


@pytest.mark.parametrize("seed", range(6))
def test_random_boxes(seed):
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, 60), rng.random(60)
    assert 5 < len(check(boxes, scores)) < (scores > SCORE).sum()


@pytest.mark.parametrize("iou_threshold", [0.0, 1 / 3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_equal_boxes_and_equal_scores(seed, iou_threshold):
    """Overlaps of these boxes are fractions of small integers, and some equal the threshold."""
    rng = np.random.default_rng(seed)
    check(coarse_boxes(rng, 60), coarse_scores(rng, 60), iou_threshold, SCORE)


def test_the_lower_index_wins_a_tie():
    assert check([[0, 0, 2, 2]] * 3, [0.5, 0.9, 0.9]) == [1]


def test_an_overlap_equal_to_the_threshold_is_kept():
    boxes = [[0, 0, 2, 1], [0, 0, 1, 1]]
    assert check(boxes, [0.9, 0.8], 0.5, SCORE) == [0, 1]
    assert check(boxes, [0.9, 0.8], 0.499, SCORE) == [0]


def test_a_dropped_box_drops_no_other():
    """The second overlaps both its neighbours, which do not overlap each other that much."""
    boxes = [[0, 0, 4, 1], [1, 0, 5, 1], [2, 0, 6, 1]]
    assert check(boxes, [0.9, 0.8, 0.7]) == [0, 2]


def test_boxes_without_area():
    """Two equal points do not overlap; a point inside a box does not either."""
    boxes = [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 2, 2], [0, 1, 2, 1]]
    assert check(boxes, [0.9, 0.8, 0.7, 0.6]) == [0, 1, 2, 3]
    assert not iou(jnp.float32(boxes[0]), jnp.float32(boxes)).any()


def test_corners_in_the_wrong_order():
    rng = np.random.default_rng(0)
    boxes = rng.integers(0, 5, (60, 4))
    assert len(check(boxes, coarse_scores(rng, 60))) > 10


def test_one_box():
    assert check([[0, 0, 1, 1]], [0.5]) == [0]
    assert check([[0, 0, 1, 1]], [0.1]) == []


def test_no_box():
    kept = nms(jnp.zeros((0, 4)), jnp.zeros(0), IOU, SCORE)
    assert kept.mask.shape == kept.ranks.shape == (0,)
    assert kept.count == 0


def test_all_but_the_best_are_suppressed():
    assert check([[0, 0, 9, 9]] * 60, np.linspace(0.3, 0.9, 60)) == [59]


def test_none_above_the_score_threshold():
    """A score that equals the threshold is not above it."""
    assert check(random_boxes(np.random.default_rng(0), 60), np.full(60, SCORE)) == []


def test_scores_that_are_not_finite():
    boxes = [[i, 0, i + 1, 1] for i in range(4)]
    scores = [np.nan, -np.inf, 0.5, np.inf]
    assert_kept(nms(jnp.float32(boxes), jnp.float32(scores), IOU, -np.inf), [3, 2])


@pytest.mark.parametrize("max_results", [0, 1, 5, 1000])
def test_at_most_so_many_results(max_results):
    rng = np.random.default_rng(0)
    boxes, scores = random_boxes(rng, 60), rng.random(60)
    kept = check(boxes, scores, max_results=max_results)
    assert kept == check(boxes, scores)[:max_results]


def test_memory_is_linear_in_the_number_of_boxes():
    n = 8192
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((n, 4), (n,))]
    compiled = jax.jit(lambda *args: nms(*args, IOU, SCORE)).lower(*shapes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 100 * n


# Classes and batches


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [coarse_boxes, random_boxes])
def test_classes_do_not_suppress_each_other(make, seed):
    rng = np.random.default_rng(seed)
    boxes, scores = make(rng, 60), coarse_scores(rng, 60)
    labels = rng.integers(0, 80, 60) // 20 * 20
    wanted = by_class(boxes, scores, labels)
    assert_kept(jit(class_nms)(boxes, scores, labels, IOU, SCORE), wanted)
    assert wanted != greedy(boxes, scores)


def test_boxes_of_one_class_only_are_as_without_classes():
    rng = np.random.default_rng(0)
    boxes, scores = coarse_boxes(rng, 60), coarse_scores(rng, 60)
    same = jit(class_nms)(boxes, scores, np.full(60, 79), IOU, SCORE)
    assert_kept(same, greedy(boxes, scores))


def test_images_of_a_batch_are_apart():
    """One with many results, one with a single one, one with none."""
    rng = np.random.default_rng(0)
    boxes = np.stack([random_boxes(rng, 30), np.tile(np.float32([0, 0, 9, 9]), (30, 1))] * 2)
    scores = rng.uniform(0.3, 1, (4, 30)).astype(np.float32)
    scores[3] = 0
    kept = jax.jit(jax.vmap(lambda *image: nms(*image, IOU, SCORE)))(boxes, scores)
    for image, *args in zip(unstacked(kept), boxes, scores, strict=True):
        assert_kept(image, greedy(*args))
    assert kept.count[0] > 5
    assert kept.count[1:].tolist() == [1, kept.count[2], 0]


# At any size

SIZES = (1, 2, 3, 7, 12, 23, 24, 25, 31, 40, 47, 53, 63, 64)


def optimized(fun: Any, *shapes: str) -> Any:
    return sod2jax.optimize(
        fun,
        shapes=shapes,
        constraints=("n <= 64",),
        buckets={"n": (24, 64)},
        on_unsupported="error",
        poison=True,
    )


def run_warm(fun: Any, calls: list[Any]) -> list[Any]:
    """Results of all calls, for which nothing is compiled any more."""
    fun.compile(*calls[0])
    with compile_log() as log:
        seen = [jax.block_until_ready(fun(*args)) for args in calls]
    assert not log
    assert (fun.stats().compiles, fun.stats().exact_fallbacks) == (2, 0)
    return seen


def with_scores(make: Any, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    scores = coarse_scores(rng, n) if make is coarse_boxes else rng.random(n, np.float32)
    return make(rng, n), scores


@pytest.mark.parametrize("max_results", [None, 5])
@pytest.mark.parametrize("make", [coarse_boxes, random_boxes])
def test_any_number_of_boxes(make, max_results):
    rng = np.random.default_rng(0)
    calls = [with_scores(make, rng, n) for n in SIZES]
    fun = optimized(lambda *args: nms(*args, IOU, SCORE, max_results), "n, 4", "n")
    for args, kept in zip(calls, run_warm(fun, calls), strict=True):
        assert kept.mask.shape == args[1].shape
        assert_kept(kept, greedy(*args, max_results=max_results))


def test_any_number_of_boxes_when_none_or_one_is_kept():
    calls = [
        (np.tile(np.float32([1, 2, 3, 4]), (n, 1)), np.full(n, score, np.float32))
        for n in SIZES[::2]
        for score in (0.1, 0.9)
    ]
    fun = optimized(lambda *args: nms(*args, IOU, SCORE), "n, 4", "n")
    for args, kept in zip(calls, run_warm(fun, calls), strict=True):
        assert_kept(kept, [0] if args[1][0] > SCORE else [])


def test_any_number_of_boxes_in_classes_for_a_batch():
    rng = np.random.default_rng(0)
    calls = []
    for n in SIZES:
        images = [(*with_scores(coarse_boxes, rng, n), rng.integers(0, 3, n)) for _ in range(2)]
        calls.append([np.stack(leaves) for leaves in zip(*images, strict=True)])
    fun = optimized(
        jax.vmap(lambda *image: class_nms(*image, IOU, SCORE)), "2, n, 4", "2, n", "2, n"
    )
    for args, kept in zip(calls, run_warm(fun, calls), strict=True):
        for image, *one in zip(unstacked(kept), *args, strict=True):
            assert_kept(image, by_class(*one))
