"""Masks, softmaxes and losses whose padding users report as wrong; each named after its thread.

Most come twice: as one writes them for exact shapes, and with the mask that users carry themselves.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from tests.harnesses.base import Arg, Harness


def _some(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A mask with something left in every row."""
    mask = rng.random(shape) < 0.6
    mask[..., rng.integers(shape[-1])] = True
    return mask


def _none_in_first_row(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    mask = _some(rng, shape)
    mask[0] = False
    return mask


def _left_padded(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Each row begins with some zeros and ends in ones, one at least."""
    return np.arange(shape[1]) >= rng.integers(0, shape[1], shape[0])[:, None]


S = Arg("s")
SM = Arg("s", bool, _some)
BS = Arg("b, s")
BSM = Arg("b, s", bool, _some)
BS4 = Arg("b, s, 4")
W44 = Arg((4, 4))
IDS = Arg("b, s", np.int32)
TABLE = Arg((10, 4))
LABELS = Arg("b, s", np.int32, lambda rng, shape: rng.integers(0, 4, shape))


def _entropy(x: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """Entropy of a softmax over x: (s,) that is normalised once more."""
    p = jax.nn.softmax(x, where=where)
    p = p * p.sum() ** -1
    return (p * -jnp.log2(p)).sum(where=where)


def _softmax_of_large(x: jax.Array, where: jax.Array) -> jax.Array:
    """What the mask hides is large."""
    x = jnp.where(where, x, 100.0)
    weights = jnp.arange(x.shape[0])
    return jax.nn.softmax(x, where=where) @ weights + (
        jax.nn.log_softmax(x, where=where).sum(where=where)
    )


def _picked(x: jax.Array, where: jax.Array, i: jax.Array) -> jax.Array:
    def one(row: jax.Array, mask: jax.Array, k: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(100 * row, where=mask)[k]

    return jax.vmap(one)(x, where, i).sum()


SOFTMAX = [
    # Masked lanes had a probability of their own, so the rest did not sum to one.
    Harness(
        "jax_16208_log_softmax_where",
        jax.value_and_grad(lambda x, m: jnp.exp(jax.nn.log_softmax(x, where=m)).max(1).sum()),
        (BS, BSM),
    ),
    # A softmax under a mask, normalised again, had NaN gradients.
    Harness("jax_17070_softmax_normalised_again", jax.value_and_grad(_entropy), (S,)),
    Harness("jax_17070_softmax_normalised_again_masked", jax.value_and_grad(_entropy), (S, SM)),
    # exp of what the mask hides overflowed, and the gradient was NaN everywhere.
    Harness("jax_17117_masked_softmax_gradient", jax.value_and_grad(_softmax_of_large), (S, SM)),
    # The same under vmap, for one class picked per row.
    Harness(
        "jax_19490_vmapped_log_softmax",
        jax.value_and_grad(_picked),
        (BS, Arg("b, s", bool, lambda rng, shape: rng.random(shape) < 2), Arg("b", np.int32)),
    ),
    Harness(
        "jax_19490_vmapped_log_softmax_masked",
        jax.value_and_grad(_picked),
        (BS, BSM, Arg("b", np.int32, lambda rng, shape: rng.integers(0, 1, shape))),
    ),
    # A row with nothing left got a uniform distribution; it should be zeros.
    Harness(
        "keras_21149_fully_masked_row",
        lambda x, m: jax.nn.softmax(x, where=m),
        (BS, Arg("b, s", bool, _none_in_first_row)),
    ),
    Harness(
        "keras_21149_fully_masked_row_gradient",
        jax.grad(lambda x, m: jnp.square(jax.nn.softmax(x, where=m)).sum()),
        (BS, Arg("b, s", bool, _none_in_first_row)),
    ),
    # Scores of minus infinity made the gradient NaN where it should be zero.
    Harness(
        "tensorflow_11756_infinite_mask_gradient",
        jax.value_and_grad(
            lambda x, m: jnp.square(jax.nn.softmax(jnp.where(m, x, -jnp.inf), axis=1)).sum()
        ),
        (BS, BSM),
    ),
]


def _attend(w: jax.Array, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Causal attention over x: (b, s, 4); mask: (b, s) of the keys."""
    length = x.shape[1]
    allowed = jnp.tril(jnp.ones((length, length), bool))[None]
    if mask is not None:
        allowed = allowed & mask[:, None]
    scores = jnp.where(allowed, jnp.einsum("bsd,btd->bst", x @ w, x), -1e9)
    return jnp.einsum("bst,btd->bsd", jax.nn.softmax(scores), x)


def _embedded(table: jax.Array, ids: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Embeddings plus sinusoids of the position among the tokens that are not masked."""
    position = jnp.arange(ids.shape[1])[None] if mask is None else mask.cumsum(1) - 1
    angles = jnp.maximum(position, 0)[..., None] * jnp.arange(1.0, 5.0)[None, None]
    return table[ids] + jnp.sin(angles)


def _last_logits(
    w: jax.Array, table: jax.Array, ids: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
    """Logits after the last token, (b, 10)."""
    return _attend(w, _embedded(table, ids, mask), mask)[:, -1] @ table.T


def _first_token(w: jax.Array, table: jax.Array, ids: jax.Array, key: jax.Array) -> Any:
    logits = _last_logits(w, table, ids)
    return logits.argmax(-1), jax.random.categorical(key, logits)


def _attend_to_tokens(w: jax.Array, table: jax.Array, ids: jax.Array) -> jax.Array:
    """Token 0 is the pad token of the user's own batches."""
    return jnp.square(_attend(w, table[ids], ids != 0)).mean(where=(ids != 0)[..., None])


def _half_pads(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(rng.random(shape) < 0.5, 0, rng.integers(1, 10, shape))


KEY = Arg((2,), np.uint32, lambda rng, shape: rng.integers(0, 2**32, shape))
LEFT = Arg("b, s", bool, _left_padded)

ATTENTION = [
    # Left padding changed the next token at some total lengths.
    Harness("transformers_47651_left_padding", _last_logits, (W44, TABLE, IDS)),
    Harness("transformers_47651_left_padding_masked", _last_logits, (W44, TABLE, IDS, LEFT)),
    Harness(
        "transformers_47651_left_padding_gradient",
        jax.grad(lambda *a: jnp.square(_last_logits(*a)).mean(), argnums=(0, 1)),
        (W44, TABLE, IDS, LEFT),
    ),
    # The first sampled token was wrong wherever the prompt was padded far.
    Harness("tpu_inference_3466_first_token", _first_token, (W44, TABLE, IDS, KEY)),
    # The attention mask of many tokenizers let tokens attend to pads.
    Harness(
        "nemo_3704_attention_to_pads",
        jax.value_and_grad(_attend_to_tokens, argnums=(0, 1)),
        (W44, TABLE, Arg("b, s", np.int32, _half_pads)),
    ),
    # A select of true lengths was lost, and the offsets of packed sequences were wrong.
    Harness(
        "torch_189895_cumulative_lengths",
        lambda m: jnp.concatenate([jnp.zeros(1, int), m.sum(1).cumsum()]),
        (BSM,),
    ),
]


def _cross_entropy(w: jax.Array, x: jax.Array, labels: jax.Array) -> jax.Array:
    """Of every token; w: (4, 4), x: (b, s, 4), labels: (b, s)."""
    return optax.softmax_cross_entropy_with_integer_labels(x @ w, labels)


def _metrics(logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    """logits: (b, 4), labels: (b,)."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return {"loss": losses.mean(), "accuracy": (logits.argmax(-1) == labels).mean()}


def _evaluate_in_batches(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Batches of 3 and what is left over."""
    return lax.map(lambda row: jnp.argmax(row[0]) == row[1], (logits, labels), batch_size=3).mean()


ROWS = (Arg("b, 4"), Arg("b", np.int32, lambda rng, shape: rng.integers(0, 4, shape)))

LOSSES = [
    # The last, partial batch weighed as much as a full one in the mean of means.
    Harness("flax_262_mean_of_partial_batch", _metrics, ROWS),
    # The last partial batch was dropped.
    Harness("flax_263_dropped_remainder", _evaluate_in_batches, ROWS, {"b": 8}),
    # Metrics of a language model need sums and their weight, for any number of examples.
    Harness(
        "flax_264_sum_and_weight",
        lambda w, x, labels: (_cross_entropy(w, x, labels).sum(), jnp.float32(labels.size)),
        (W44, BS4, LABELS),
    ),
    # Accuracy counted rows that only filled the batch.
    Harness("flax_527_accuracy", lambda x, y: (x.argmax(-1) == y).sum() / y.size, ROWS),
    # The statistics of the whole evaluation set, last batch included.
    Harness(
        "flax_1850_confusion_matrix",
        lambda x, y: jnp.zeros((4, 4), int).at[y, x.argmax(-1)].add(1),
        ROWS,
    ),
    # A mean over all tokens of a batch counted the pads.
    Harness(
        "transformers_24725_mean_loss",
        jax.value_and_grad(lambda *a: _cross_entropy(*a).mean()),
        (W44, BS4, LABELS),
    ),
    Harness(
        "transformers_24725_mean_loss_masked",
        jax.value_and_grad(lambda w, x, y, m: _cross_entropy(w, x, y).mean(where=m)),
        (W44, BS4, LABELS, BSM),
    ),
    # The mean of the means of the sequences is another number; both must be right.
    Harness(
        "transformers_34510_mean_of_sequences",
        jax.value_and_grad(lambda w, x, y, m: _cross_entropy(w, x, y).mean(1, where=m).mean()),
        (W44, BS4, LABELS, BSM),
    ),
    # Pads were out of the numerator and still in the denominator.
    Harness(
        "burn_5568_denominator_counts_pads",
        jax.value_and_grad(lambda w, x, y, m: (_cross_entropy(w, x, y) * m).sum() / m.sum()),
        (W44, BS4, LABELS, BSM),
    ),
]

HARNESSES = [*SOFTMAX, *ATTENTION, *LOSSES]
