"""Suppression as a plain greedy loop in NumPy: what `models.nms` is compared with."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from models.nms import Kept

IOU, SCORE = 0.45, 0.25


def overlap(a: np.ndarray, b: np.ndarray) -> Any:
    """Of two boxes; NaN where neither has an area."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        both = np.maximum(sides, 0).prod()
        areas = [(box[2:] - box[:2]).prod() for box in (a, b)]
        return both / (areas[0] + areas[1] - both)


def greedy(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float = IOU,
    score_threshold: float = SCORE,
    max_results: int | None = None,
) -> list[int]:
    """Indices of the boxes kept, best first."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if len(kept) == max_results:
            break
        if not scores[i] > np.float32(score_threshold):
            continue
        if not any(overlap(boxes[i], boxes[k]) > np.float32(iou_threshold) for k in kept):
            kept.append(int(i))
    return kept


def assert_kept(seen: Kept, wanted: list[int]) -> None:
    n = len(seen.mask)
    ranks = np.full(n, n, np.int32)
    ranks[wanted] = np.arange(len(wanted))
    assert (seen.mask.dtype, seen.ranks.dtype, seen.count.dtype) == (bool, np.int32, np.int32)
    np.testing.assert_array_equal(seen.ranks, ranks)
    np.testing.assert_array_equal(seen.mask, ranks < n)
    assert seen.count == len(wanted)
    np.testing.assert_array_equal(np.argsort(seen.ranks)[: seen.count], wanted)


def by_class(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> list[int]:
    """Every class on its own, then all that is kept in order of score."""
    kept = []
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        kept += [int(members[i]) for i in greedy(boxes[members], scores[members])]
    return sorted(kept, key=lambda i: (-scores[i], i))
