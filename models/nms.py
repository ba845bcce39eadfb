"""Exact greedy non-maximum suppression, written for exact shapes.

Nothing is gathered: the result says of every box whether it is kept, and as which one, so its
shape is that of the boxes. Memory is linear in their number: one row of overlaps at a time, and
as many rows as boxes are kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

CLASS_OFFSET = 4096.0


class Kept(NamedTuple):
    """Which of n boxes are kept; `jnp.argsort(ranks)[:count]` are their indices, best first.

    Attributes:
      mask: bool [n], True for a kept box.
      ranks: int32 [n], from 0, the position of a kept box among the kept; n for the others.
      count: int32, how many are kept.
    """

    mask: jax.Array
    ranks: jax.Array
    count: jax.Array


def iou(box: jax.Array, boxes: jax.Array) -> jax.Array:
    """Intersection over union of one box with each of many, 0 where the union is empty.

    Args:
      box: [4], the corners x1, y1, x2, y2.
      boxes: [n, 4].

    Returns:
      [n], of the boxes' dtype.
    """
    near = jnp.maximum(boxes[:, :2], box[None, :2])
    far = jnp.minimum(boxes[:, 2:], box[None, 2:])
    sides = jnp.maximum(far - near, 0)
    both = sides[:, 0] * sides[:, 1]
    union = _area(box[None]) + _area(boxes) - both
    return both / jnp.where(union == 0, 1, union)


def _area(boxes: jax.Array) -> jax.Array:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def nms(
    boxes: jax.Array,
    scores: jax.Array,
    iou_threshold: Any,
    score_threshold: Any,
    max_results: int | None = None,
) -> Kept:
    """Keeps the best box, drops those that overlap it too much, and again with what remains.

    Boxes come by descending score, the lower index first where scores are equal; a box is dropped
    if its overlap with a kept one exceeds the threshold, as in `torchvision.ops.nms`.

    Args:
      boxes: float [n, 4], the corners x1, y1, x2, y2.
      scores: float [n]; a box whose score is NaN is never kept.
      iou_threshold: the largest overlap of two kept boxes, from 0 to 1, compared in the boxes'
        dtype.
      score_threshold: only boxes with a higher score are considered.
      max_results: how many to keep at most; None for no limit.
    """
    n = scores.shape[0]
    none = Kept(jnp.zeros_like(scores, bool), jnp.full_like(scores, n, jnp.int32), jnp.int32(0))
    if n == 0:
        return none
    index = lax.iota(jnp.int32, n)

    def undecided(state: tuple[jax.Array, Kept]) -> jax.Array:
        open_, kept = state
        return open_.any() if max_results is None else open_.any() & (kept.count < max_results)

    def keep_best(state: tuple[jax.Array, Kept]) -> tuple[jax.Array, Kept]:
        open_, kept = state
        best = jnp.argmax(jnp.where(open_, scores, -jnp.inf))
        is_best = index == best
        overlaps = iou(boxes[best], boxes) > iou_threshold
        ranks = jnp.where(is_best, kept.count, kept.ranks)
        return open_ & ~is_best & ~overlaps, Kept(kept.mask | is_best, ranks, kept.count + 1)

    _, kept = lax.while_loop(undecided, keep_best, (scores > score_threshold, none))
    return kept


def class_nms(
    boxes: jax.Array,
    scores: jax.Array,
    labels: jax.Array,
    iou_threshold: Any,
    score_threshold: Any,
    max_results: int | None = None,
    *,
    offset: float = CLASS_OFFSET,
) -> Kept:
    """`nms` among the boxes of each class, in one run: boxes of one class overlap no others.

    Moved boxes are rounded to their dtype: in float32 and with the default offset, coordinates of
    the 80th class are multiples of 1/32.

    Args:
      boxes: float [n, 4]; coordinates span less than `offset`.
      scores: float [n].
      labels: int [n], the class of each box, from 0.
      iou_threshold: see `nms`.
      score_threshold: see `nms`.
      max_results: of all classes together; None for no limit.
      offset: how far the boxes of a class are moved from those of the class before.
    """
    moved = boxes + labels[:, None].astype(boxes.dtype) * offset
    return nms(moved, scores, iou_threshold, score_threshold, max_results)
