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
    ours = _base.concerns_jax("nms", boxes, scores)
    boxes, scores = jnp.asarray(boxes), jnp.asarray(scores)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be [n, 4], got {list(boxes.shape)}")
    if scores.ndim != 1 or scores.shape[0] != boxes.shape[0]:
        raise ValueError(f"scores must be [{boxes.shape[0]}], got {list(scores.shape)}")
    order, kept = _kept(boxes, scores, iou_threshold, score_threshold)
    if not ours:
        return np.asarray(order)[np.asarray(kept)].astype(np.intp)
    return _base.take(order, _base.places(kept, "boxes")).astype(_base.index_dtype())


def _kept(boxes: Any, scores: Any, iou_threshold: Any, score_threshold: Any) -> tuple[Any, Any]:
    """(int32[n]: boxes by descending score, bool[n]: which of these are kept)."""
    n = scores.shape[0]
    at, size = _base.positions(n), jnp.asarray(n, np.int32)
    _, order = lax.sort((-scores, at), num_keys=1)
    x1, y1, x2, y2 = (boxes[order, k] for k in range(4))
    areas = (x2 - x1) * (y2 - y1)
    start = jnp.full(scores.shape, True)
    if score_threshold is not None:
        start = scores[order] > score_threshold

    def first(left: Any) -> Any:
        """Place of the best box that is left; n if there is none."""
        return jnp.min(jnp.where(left, at, size), initial=np.iinfo(np.int32).max)

    def step(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        best, left, kept = state
        bx1, by1, bx2, by2, area = (v[best] for v in (x1, y1, x2, y2, areas))
        width = jnp.maximum(jnp.minimum(x2, bx2) - jnp.maximum(x1, bx1), 0)
        height = jnp.maximum(jnp.minimum(y2, by2) - jnp.maximum(y1, by1), 0)
        common = width * height
        left &= ~(common / (areas + area - common) > iou_threshold) & (at > best)
        return first(left), left, kept | (at == best)

    state = (first(start), start, jnp.full(scores.shape, False))
    _, _, kept = lax.while_loop(lambda state: state[0] < size, step, state)
    return order, kept
