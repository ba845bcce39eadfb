"""Losses and layers that drop what is not needed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import sod2jax.numpy as snp
from tests.data_dependent.base import DIM, IDS, PAIRS, ROWS, VECTOR, Program, softmax
from tests.harnesses.base import Arg

_rng = np.random.default_rng(0)
SQUARE = _rng.normal(size=(DIM, DIM)).astype(np.float32)
HEAD = _rng.normal(size=(DIM, 3)).astype(np.float32)
TABLE = _rng.normal(size=(10, DIM)).astype(np.float32)


def masked_loss(logits, labels):
    """Mean cross-entropy of the labels that are not to be ignored."""
    keep = labels >= 0
    logp = jax.nn.log_softmax(snp.boolean_index(logits, keep))
    chosen = jnp.take_along_axis(logp, snp.boolean_index(labels, keep)[:, None], axis=1)
    return -jnp.mean(chosen)


def plain_masked_loss(logits, labels):
    rows = [np.log(softmax(x)[y]) for x, y in zip(logits, labels, strict=True) if y >= 0]
    return -np.mean(np.array(rows, np.float32))


def masked_loss_gradient(logits, labels):
    return jax.grad(lambda logits: masked_loss(logits, labels))(logits)


def plain_masked_loss_gradient(logits, labels):
    keep = (labels >= 0)[:, None]
    one_hot = np.eye(3, dtype=np.float32)[np.maximum(labels, 0)]
    return np.where(keep, (softmax(logits) - one_hot) / np.float32(keep.sum()), 0)


def token_pruning(x):
    """Attention among the tokens that the first layer thinks important."""
    score = jnp.mean(x, axis=1)
    kept = snp.flatnonzero(score > 0)
    y = x[kept]
    return kept, jax.nn.softmax(y @ jnp.asarray(SQUARE) @ y.T, axis=-1) @ y


def plain_token_pruning(x):
    kept = np.array([k for k, row in enumerate(x) if row.mean() > 0], int)
    y = x[kept]
    return kept, (softmax(y @ SQUARE @ y.T) if len(y) else np.zeros((0, 0), np.float32)) @ y


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
    easy, heavy = softmax(x @ HEAD), softmax(np.tanh(x @ SQUARE) @ HEAD)
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
    p = softmax(logits)
    order, total, kept = np.argsort(-p, kind="stable"), np.float32(0), []
    for k in order:
        if total < 0.8:
            kept.append(k)
        total += p[k]
    return np.array(kept), p[kept] / p[kept].sum()


_LABELS = Arg("n", np.int32, lambda rng, shape: rng.integers(-2, 3, shape))
_TOKENS = Arg(f"n, m, {DIM}"), Arg("n, m", bool)

PROGRAMS = [
    Program(masked_loss, plain_masked_loss, (Arg("n, 3"), _LABELS)),
    Program(masked_loss_gradient, plain_masked_loss_gradient, (Arg("n, 3"), _LABELS)),
    Program(token_pruning, plain_token_pruning, (ROWS,)),
    Program(unpadded_layer, plain_unpadded_layer, _TOKENS, PAIRS),
    Program(early_exit, plain_early_exit, (ROWS,)),
    Program(embed_once, plain_embed_once, (IDS,)),
    Program(nucleus, plain_nucleus, (VECTOR,)),
]
