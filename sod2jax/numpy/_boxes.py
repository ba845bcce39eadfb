"""Suppression of overlapping boxes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.numpy import _base


def nms(boxes: Any, scores: Any, iou_threshold: float, score_threshold: float | None = None) -> Any:
    """Non-maximum suppression: the boxes that no kept box of a higher score overlaps too much.

    Greedy, as ``torchvision.ops.nms``: of equal scores the lower index goes first. Takes as many
    steps as boxes are kept, with O(n) memory in each.

    Args:
      boxes: float[n, 4], corners x1, y1, x2, y2 with x1 <= x2 and y1 <= y2.
      scores: float[n].
      iou_threshold: a box whose intersection over union with a kept one is above it is dropped.
      score_threshold: if given, boxes whose scores are not above it are left out at first.

    Returns:
      int32[count]: indices of the kept boxes by descending score, count <= n.

    Raises:
      ValueError: the shapes do not fit.
      DataDependentSizeError: under a trace that is not that of an optimized function.
    """
    library = jnp if _base.concerns_jax("nms", boxes, scores) else np
    boxes, scores = library.asarray(boxes), library.asarray(scores)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be [n, 4], got {list(boxes.shape)}")
    if scores.ndim != 1 or scores.shape[0] != boxes.shape[0]:
        raise ValueError(f"scores must be [{boxes.shape[0]}], got {list(scores.shape)}")
    if library is np:
        return _one_by_one(boxes, scores, iou_threshold, score_threshold)
    order, kept = _kept(boxes, scores, iou_threshold, score_threshold)
    return _base.take(order, _base.places(kept, "boxes")).astype(_base.index_dtype())


def _overlaps(library: Any, box: Any, boxes: Any) -> Any:
    """Intersection over union of a box [4] with each of others [n, 4]."""
    sides = [
        library.minimum(boxes[:, k + 2], box[k + 2]) - library.maximum(boxes[:, k], box[k])
        for k in (0, 1)
    ]
    common = library.maximum(sides[0], 0) * library.maximum(sides[1], 0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return common / (areas + (box[2] - box[0]) * (box[3] - box[1]) - common)


def _one_by_one(boxes: Any, scores: Any, iou_threshold: Any, score_threshold: Any) -> np.ndarray:
    left = np.argsort(-scores, kind="stable")
    if score_threshold is not None:
        left = left[scores[left] > score_threshold]
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(best)
        with np.errstate(invalid="ignore"):  # of two empty boxes
            left = left[~(_overlaps(np, boxes[best], boxes[left]) > iou_threshold)]
    return np.array(kept, np.intp)


def _kept(boxes: Any, scores: Any, iou_threshold: Any, score_threshold: Any) -> tuple[Any, Any]:
    """(int32[n]: boxes by descending score, bool[n]: which of these are kept)."""
    n = scores.shape[0]
    at, size = _base.positions(n), jnp.asarray(n, np.int32)
    _, order = lax.sort((-scores, at), num_keys=1)
    boxes = _base.pick(boxes, order)
    start = jnp.full(scores.shape, True)
    if score_threshold is not None:
        start = _base.pick(scores, order) > score_threshold

    def first(left: Any) -> Any:
        """Place of the best box that is left; n if there is none."""
        return jnp.min(jnp.where(left, at, size), initial=np.iinfo(np.int32).max)

    def step(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        best, left, kept = state
        is_best = at == best
        box = jnp.where(is_best[:, None], boxes, 0).sum(0)  # no index: there may be no boxes
        far = ~(_overlaps(jnp, box, boxes) > iou_threshold)
        left &= far & (at > best)
        return first(left), left, kept | is_best

    state = (first(start), start, jnp.full(scores.shape, False))
    _, _, kept = lax.while_loop(lambda state: state[0] < size, step, state)
    return order, kept
