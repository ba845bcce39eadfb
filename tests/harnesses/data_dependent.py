"""Programs whose sizes depend on values, as people write them, beside plain NumPy's versions."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sod2jax
import sod2jax.numpy as snp
from tests.harnesses.base import Arg, Harness, bits

HARNESSES: list[Harness] = []  # plain ``jax.jit`` is no reference for these

DIM = 4
_rng = np.random.default_rng(0)
SQUARE = _rng.normal(size=(DIM, DIM)).astype(np.float32)
HEAD = _rng.normal(size=(DIM, 3)).astype(np.float32)
TABLE = _rng.normal(size=(10, DIM)).astype(np.float32)
CENTERS = _rng.normal(size=(5, DIM)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Program:
    """A program with sizes that depend on values.

    Attributes:
      name: unique.
      fun: the function, written with ``jax.numpy`` and ``sod2jax.numpy``.
      plain: the same by other means, in plain NumPy.
      args: its arguments.
      sizes: the sizes to run at, by symbol; the last are the bucket.
    """

    name: str
    fun: Callable[..., Any]
    plain: Callable[..., Any]
    args: tuple[Arg, ...]
    sizes: tuple[Mapping[str, int], ...] = ({"n": 1}, {"n": 5}, {"n": 8})


def check(program: Program, cut: str, eagerly: bool = False) -> None:
    """Runs a program at its sizes; asserts that it equals NumPy's, whatever the padding holds.

    Args:
      program: what to run.
      cut: see ``sod2jax.optimize``.
      eagerly: whether to run the function step by step as well, without ``optimize``.
    """
    optimized = sod2jax.optimize(
        program.fun,
        shapes=tuple(arg.spec if isinstance(arg.spec, str) else None for arg in program.args),
        buckets={name: (size,) for name, size in program.sizes[-1].items()},
        max_executables=1,
        cut=cut,
        on_unsupported="error",
    )
    for number, sizes in enumerate(program.sizes):
        rng = np.random.default_rng(number)
        inputs = tuple(arg.values(rng, sizes) for arg in program.args)
        where = f"{program.name} at {sizes}"
        seen, poisoned = (jax.tree.leaves(optimized.run(inputs, {}, p)) for p in (False, True))
        assert_equal(seen, _plainly(program, inputs), where)
        assert list(map(bits, seen)) == list(map(bits, poisoned)), f"poison changed {where}"
        if eagerly:
            step_by_step = program.fun(*map(jnp.asarray, inputs))
            assert_equal(seen, jax.tree.leaves(step_by_step), f"{where}, step by step")
    assert optimized.stats().exact_fallbacks == 0, optimized.stats()


def _plainly(program: Program, inputs: Any) -> list[Any]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # means of nothing
        return jax.tree.leaves(program.plain(*inputs))


def assert_equal(seen: list[Any], want: list[Any], where: str) -> None:
    """Shapes, integers and booleans equal; floats but for rounding; dtypes JAX's of NumPy's."""
    assert len(seen) == len(want), where
    for k, (a, b) in enumerate(zip(seen, map(np.asarray, want), strict=True)):
        place = f"output {k} of {where}"
        assert isinstance(a, jax.Array), place
        assert (a.shape, a.dtype.kind) == (b.shape, b.dtype.kind), place
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=place)
        else:
            np.testing.assert_array_equal(a, b, err_msg=place)


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _groups(keys: np.ndarray) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = {}
    for at, key in enumerate(keys.tolist()):
        found.setdefault(tuple(key) if isinstance(key, list) else key, []).append(at)
    return dict(sorted(found.items()))


# Losses and layers


def masked_loss(logits, labels):
    """Mean cross-entropy of the labels that are not to be ignored."""
    keep = labels >= 0
    logp = jax.nn.log_softmax(snp.boolean_index(logits, keep))
    chosen = jnp.take_along_axis(logp, snp.boolean_index(labels, keep)[:, None], axis=1)
    return -jnp.mean(chosen)


def plain_masked_loss(logits, labels):
    rows = [np.log(_softmax(x)[y]) for x, y in zip(logits, labels, strict=True) if y >= 0]
    return -np.mean(np.array(rows, np.float32))


def masked_loss_gradient(logits, labels):
    return jax.grad(lambda logits: masked_loss(logits, labels))(logits)


def plain_masked_loss_gradient(logits, labels):
    keep = (labels >= 0)[:, None]
    one_hot = np.eye(3, dtype=np.float32)[np.maximum(labels, 0)]
    return np.where(keep, (_softmax(logits) - one_hot) / np.float32(keep.sum()), 0)


def token_pruning(x):
    """Attention among the tokens that the first layer thinks important."""
    score = jnp.mean(x, axis=1)
    kept = snp.flatnonzero(score > 0)
    y = x[kept]
    return kept, jax.nn.softmax(y @ jnp.asarray(SQUARE) @ y.T, axis=-1) @ y


def plain_token_pruning(x):
    kept = np.array([k for k, row in enumerate(x) if row.mean() > 0], int)
    y = x[kept]
    return kept, (_softmax(y @ SQUARE @ y.T) if len(y) else np.zeros((0, 0), np.float32)) @ y


def unpadded_layer(x, mask):
    """A layer on the true tokens of a padded batch only."""
    flat = x.reshape(-1, DIM)
    true = snp.flatnonzero(mask)
    y = jax.nn.relu(flat[true] @ jnp.asarray(SQUARE))
    return jnp.zeros_like(flat).at[true].set(y).reshape(x.shape)


def plain_unpadded_layer(x, mask):
    return np.maximum(x @ SQUARE, 0) * mask[..., None]


def early_exit(x):
    """A second, heavy head for the rows that the first is not sure of."""
    easy = jax.nn.softmax(x @ jnp.asarray(HEAD))
    hard = snp.flatnonzero(jnp.max(easy, axis=1) < 0.8)
    y = jax.nn.softmax(jnp.tanh(x[hard] @ jnp.asarray(SQUARE)) @ jnp.asarray(HEAD))
    return easy.at[hard].set(y)


def plain_early_exit(x):
    easy, heavy = _softmax(x @ HEAD), _softmax(np.tanh(x @ SQUARE) @ HEAD)
    return np.where(easy.max(1, keepdims=True) < 0.8, heavy, easy)


def embed_once(ids):
    """Every different token is looked up and projected once."""
    different, which = snp.unique(ids, return_inverse=True)
    return jnp.tanh(jnp.asarray(TABLE)[different] @ jnp.asarray(SQUARE))[which]


def plain_embed_once(ids):
    return np.tanh(TABLE[ids] @ SQUARE)


def nucleus(logits):
    """The tokens that make up 80 % of the probability, renormalised."""
    p = jax.nn.softmax(logits)
    order = jnp.argsort(-p)
    ranked = p[order]
    inside = jnp.cumsum(ranked) - ranked < 0.8
    kept = snp.compress(inside, ranked)
    return snp.compress(inside, order), kept / jnp.sum(kept)


def plain_nucleus(logits):
    p = _softmax(logits)
    order, total, kept = np.argsort(-p, kind="stable"), np.float32(0), []
    for k in order:
        if total < 0.8:
            kept.append(k)
        total += p[k]
    return np.array(kept), p[kept] / p[kept].sum()


# Detection and geometry


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
    return boxes[np.array(kept, int)], logits.argmax(1), _softmax(logits)


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
    groups = _groups(np.floor(points).astype(np.int32))
    return np.array(list(groups)), np.array([points[g].mean(0) for g in groups.values()])


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


# Graphs and sparse matrices


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


# Tables, signals and text


def group_means(keys, values):
    """The mean of the rows of each key."""
    different, which, counts = snp.unique(keys, return_inverse=True, return_counts=True)
    return different, jax.ops.segment_sum(values, which, different.shape[0]) / counts[:, None]


def plain_group_means(keys, values):
    groups = _groups(keys)
    return np.array(list(groups)), np.array([values[g].mean(0) for g in groups.values()])


def run_lengths(x):
    """Run-length encoding."""
    starts = snp.flatnonzero(jnp.concatenate([jnp.ones(1, bool), x[1:] != x[:-1]]))
    return x[starts], jnp.diff(starts, append=x.shape[0])


def plain_run_lengths(x):
    values, lengths = [], []
    for value in x.tolist():
        if not values or values[-1] != value:
            values.append(value)
            lengths.append(0)
        lengths[-1] += 1
    return np.array(values), np.array(lengths)


def run_decoding(values, lengths):
    """Run-length decoding: a size without a bound."""
    decoded = snp.repeat(values, lengths)
    return decoded, jnp.cumsum(decoded), decoded[::-1]


def plain_run_decoding(values, lengths):
    decoded = [v for v, n in zip(values.tolist(), lengths.tolist(), strict=True) for _ in range(n)]
    decoded = np.array(decoded, int)
    return decoded, np.cumsum(decoded), decoded[::-1]


def robust_statistics(x):
    """Statistics of what is not an outlier."""
    y = snp.boolean_index(x, jnp.abs(x - x.mean()) <= 1.2 * x.std())
    scaled = (y - y.mean()) / (y.std() + 0.1)
    return y.shape[0] / x.shape[0], jnp.median(y), scaled, jnp.sort(y)[:1]


def plain_robust_statistics(x):
    y = np.array([v for v in x if abs(v - x.mean()) <= 1.2 * x.std()], np.float32)
    return (
        len(y) / len(x),
        np.median(y),
        (y - y.mean()) / (y.std() + np.float32(0.1)),
        y.min()[None],
    )


def crossings(signal):
    """When a signal rises through zero, and the mean of what comes after the first time."""
    low = signal < 0
    times = snp.flatnonzero(low[:-1] & ~low[1:]) + 1
    return (
        times,
        signal[times],
        jnp.sum(jnp.where(times[:, None] <= jnp.arange(len(signal))[None], 1, 0)),
    )


def plain_crossings(signal):
    times = [t for t in range(1, len(signal)) if signal[t - 1] < 0 <= signal[t]]
    times = np.array(times, int)
    return times, signal[times], np.sum([len(signal) - t for t in times], dtype=int)


def overlap_of_vocabularies(a, b):
    """Jaccard's index, and what is in one text only."""
    common, both = snp.intersect1d(a, b), snp.union1d(a, b)
    return common, common.shape[0] / both.shape[0], snp.setxor1d(a, b)


def plain_overlap_of_vocabularies(a, b):
    a, b = set(a.tolist()), set(b.tolist())
    return np.array(sorted(a & b), int), len(a & b) / len(a | b), np.array(sorted(a ^ b), int)


def entropy(ids):
    """Entropy of the words of a text: counts without a bound, then those that are not 0."""
    counts = snp.bincount(ids)
    p = snp.compress(counts > 0, counts) / ids.shape[0]
    return -jnp.sum(p * jnp.log2(p))


def plain_entropy(ids):
    p = np.array([len(g) for g in _groups(ids).values()], np.float32) / np.float32(len(ids))
    return -np.sum(p * np.log2(p))


def positive_histogram(x):
    """Histogram of the positive numbers, and the share of each."""
    y = snp.extract(x > 0, x)
    counts, edges = jnp.histogram(y, bins=np.array([0.0, 0.5, 1.0, 2.0, 9.0], np.float32))
    return counts, edges, jnp.searchsorted(jnp.sort(y), x)


def plain_positive_histogram(x):
    y = x[x > 0]
    counts, edges = np.histogram(y, bins=np.array([0.0, 0.5, 1.0, 2.0, 9.0], np.float32))
    return counts.astype(np.float32), edges, np.array([np.sum(y < v) for v in x])


def sentences(ids):
    """Lengths of the pieces between separators, and the longest piece's place."""
    ends = snp.concatenate([snp.flatnonzero(ids == 0), jnp.array([ids.shape[0]])])
    lengths = jnp.diff(ends, prepend=-1) - 1
    return lengths, jnp.argmax(lengths)


def plain_sentences(ids):
    lengths = [len(piece) for piece in "".join(chr(65 + i) for i in ids).split("A")]
    return np.array(lengths), np.argmax(lengths)


VECTOR, ROWS = Arg("n"), Arg(f"n, {DIM}")
IDS = Arg("n", np.int32)
_pairs = ({"n": 1, "m": 3}, {"n": 7, "m": 1}, {"n": 8, "m": 4})


def _labels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-2, 3, shape)


def _few(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 3, shape)


def _none(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 1, shape)


_programs: list[tuple[Callable[..., Any], Callable[..., Any], tuple[Arg, ...], Any]] = [
    (masked_loss, plain_masked_loss, (Arg("n, 3"), Arg("n", np.int32, _labels)), None),
    (
        masked_loss_gradient,
        plain_masked_loss_gradient,
        (Arg("n, 3"), Arg("n", np.int32, _labels)),
        None,
    ),
    (token_pruning, plain_token_pruning, (ROWS,), None),
    (unpadded_layer, plain_unpadded_layer, (Arg(f"n, m, {DIM}"), Arg("n, m", bool)), _pairs),
    (early_exit, plain_early_exit, (ROWS,), None),
    (embed_once, plain_embed_once, (IDS,), None),
    (nucleus, plain_nucleus, (VECTOR,), None),
    (
        detection_heads,
        plain_detection_heads,
        (Arg("n, 2"), Arg("n, 2"), VECTOR, ROWS),
        None,
    ),
    (voxels, plain_voxels, (Arg("n, 2"),), None),
    (kmeans_step, plain_kmeans_step, (ROWS,), None),
    (
        edge_filter,
        plain_edge_filter,
        (Arg(f"3, {DIM}"), Arg("n, 2", np.int32, _few), VECTOR),
        None,
    ),
    (sparse_product, plain_sparse_product, (Arg("n, m"), Arg("m")), _pairs),
    (group_means, plain_group_means, (Arg("n", np.int32, _few), ROWS), None),
    (run_lengths, plain_run_lengths, (Arg("n", np.int32, _few),), None),
    (run_decoding, plain_run_decoding, (IDS, Arg("n", np.int32, _few)), None),
    (robust_statistics, plain_robust_statistics, (VECTOR,), None),
    (crossings, plain_crossings, (VECTOR,), ({"n": 2}, {"n": 5}, {"n": 8})),
    (
        overlap_of_vocabularies,
        plain_overlap_of_vocabularies,
        (IDS, Arg("m", np.int32)),
        _pairs,
    ),
    (entropy, plain_entropy, (IDS,), None),
    (positive_histogram, plain_positive_histogram, (VECTOR,), None),
    (sentences, plain_sentences, (Arg("n", np.int32, _few),), None),
]
PROGRAMS = {
    fun.__name__: Program(fun.__name__, fun, plain, args, *([sizes] if sizes else []))
    for fun, plain, args, sizes in _programs
}
