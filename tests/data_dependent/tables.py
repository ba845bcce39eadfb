"""Tables, statistics, signals and text."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import sod2jax.numpy as snp
from tests.data_dependent.base import FEW, IDS, PAIRS, ROWS, VECTOR, Program, groups
from tests.harnesses.base import Arg


def group_means(keys, values):
    """The mean of the rows of each key."""
    different, which, counts = snp.unique(keys, return_inverse=True, return_counts=True)
    return different, jax.ops.segment_sum(values, which, different.shape[0]) / counts[:, None]


def plain_group_means(keys, values):
    rows = groups(keys)
    return np.array(list(rows)), np.array([values[g].mean(0) for g in rows.values()])


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
    p = np.array([len(g) for g in groups(ids).values()], np.float32) / np.float32(len(ids))
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


_TEXTS = IDS, Arg("m", np.int32)

PROGRAMS = [
    Program(group_means, plain_group_means, (FEW, ROWS)),
    Program(run_lengths, plain_run_lengths, (FEW,)),
    Program(run_decoding, plain_run_decoding, (IDS, FEW)),
    Program(robust_statistics, plain_robust_statistics, (VECTOR,)),
    Program(crossings, plain_crossings, (VECTOR,), ({"n": 2}, {"n": 5}, {"n": 8})),
    Program(overlap_of_vocabularies, plain_overlap_of_vocabularies, _TEXTS, PAIRS),
    Program(entropy, plain_entropy, (IDS,)),
    Program(positive_histogram, plain_positive_histogram, (VECTOR,)),
    Program(sentences, plain_sentences, (FEW,)),
]
