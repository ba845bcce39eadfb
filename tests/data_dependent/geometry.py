"""Detection, points, graphs and sparse matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import sod2jax.numpy as snp
from tests.data_dependent.base import (
    DIM,
    PAIRS,
    ROWS,
    VECTOR,
    Program,
    few,
    groups,
    softmax,
)
from tests.data_dependent.layers import HEAD
from tests.harnesses.base import Arg

CENTERS = np.random.default_rng(1).normal(size=(5, DIM)).astype(np.float32)


def detection_heads(corner, extent, scores, features):
    """A head on the features of each box that suppression leaves."""
    boxes = jnp.concatenate([corner, corner + jnp.abs(extent)], axis=1)
    kept = snp.nms(boxes, scores, iou_threshold=0.2, score_threshold=-0.5)
    logits = features[kept] @ jnp.asarray(HEAD)
    return boxes[kept], jnp.argmax(logits, axis=1), jax.nn.softmax(logits)


def plain_detection_heads(corner, extent, scores, features):
    boxes = np.concatenate([corner, corner + np.abs(extent)], axis=1)
    left, kept = [k for k in np.argsort(-scores, kind="stable") if scores[k] > -0.5], []
    while left:
        best, *rest = left
        kept.append(best)
        left = [k for k in rest if not _overlap(boxes[best], boxes[k]) > 0.2]
    logits = features[np.array(kept, int)] @ HEAD
    return boxes[np.array(kept, int)], logits.argmax(1), softmax(logits)


def _overlap(a, b):
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    common = sides.prod()
    return common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common)


def voxels(points):
    """Mean point of each occupied cell of a grid."""
    cells = jnp.floor(points).astype(np.int32)
    different, which, counts = snp.unique(cells, return_inverse=True, return_counts=True, axis=0)
    sums = jax.ops.segment_sum(points, which, num_segments=different.shape[0])
    return different, sums / counts[:, None]


def plain_voxels(points):
    cells = groups(np.floor(points).astype(np.int32))
    return np.array(list(cells)), np.array([points[g].mean(0) for g in cells.values()])


def kmeans_step(x):
    """Moves the centers that have points; the others stay."""
    centers = jnp.asarray(CENTERS)
    distance = jnp.sum((x[:, None] - centers[None]) ** 2, axis=-1)
    used, which, counts = snp.unique(
        jnp.argmin(distance, axis=1), return_inverse=True, return_counts=True
    )
    means = jax.ops.segment_sum(x, which, used.shape[0]) / counts[:, None]
    return used, centers.at[used].set(means)


def plain_kmeans_step(x):
    nearest = np.array([((row - CENTERS) ** 2).sum(1).argmin() for row in x])
    moved = CENTERS.copy()
    for k in set(nearest.tolist()):
        moved[k] = x[nearest == k].mean(0)
    return np.array(sorted(set(nearest.tolist()))), moved


def edge_filter(nodes, ends, weights):
    """Messages along the heavy edges; which nodes hear nothing."""
    heavy = weights > 0
    source, target = snp.compress(heavy, ends, axis=0).T
    message = nodes[source] * snp.compress(heavy, weights)[:, None]
    heard = jax.ops.segment_sum(message, target, num_segments=nodes.shape[0])
    return heard, snp.setdiff1d(jnp.arange(nodes.shape[0]), target)


def plain_edge_filter(nodes, ends, weights):
    heard, silent = np.zeros_like(nodes), set(range(len(nodes)))
    for (source, target), weight in zip(ends, weights, strict=True):
        if weight > 0:
            heard[target] += weight * nodes[source]
            silent.discard(int(target))
    return heard, np.array(sorted(silent), int)


def sparse_product(a, v):
    """A dense matrix to coordinates, and their product with a vector."""
    a = jnp.where(jnp.abs(a) > 0.7, a, 0)
    row, column = snp.nonzero(a)
    return row, column, jax.ops.segment_sum(a[row, column] * v[column], row, a.shape[0])


def plain_sparse_product(a, v):
    a = np.where(np.abs(a) > 0.7, a, 0)
    places = [(i, j) for i in range(a.shape[0]) for j in range(a.shape[1]) if a[i, j]]
    row, column = np.array(places, int).reshape(-1, 2).T
    return row, column, a @ v


_BOXES = Arg("n, 2"), Arg("n, 2")

PROGRAMS = [
    Program(detection_heads, plain_detection_heads, (*_BOXES, VECTOR, ROWS)),
    Program(voxels, plain_voxels, (Arg("n, 2"),)),
    Program(kmeans_step, plain_kmeans_step, (ROWS,)),
    Program(
        edge_filter,
        plain_edge_filter,
        (Arg(f"3, {DIM}"), Arg("n, 2", np.int32, few), VECTOR),
    ),
    Program(sparse_product, plain_sparse_product, (Arg("n, m"), Arg("m")), PAIRS),
]
