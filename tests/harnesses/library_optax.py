"""Losses and projections of ``optax``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import losses, projections

from tests.harnesses.base import Arg, Harness, table


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice([-1.0, 1.0], shape)


def _coins(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 2, shape)


def _probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1])


BS = Arg("b, s")
BSK = Arg("b, s, 3")
N = Arg("n")
MASK = Arg("b, s", bool)
SIGNS = Arg("b, s", np.float32, _signs)
COINS = Arg("b, s", np.float32, _coins)
DISTRIBUTION = Arg("b, s, 3", np.float32, _probabilities)
CLASSES = Arg("b, s", np.int32, lambda rng, shape: rng.integers(0, 3, shape))


def _trained(loss: Callable[..., jax.Array]) -> Callable[..., Any]:
    """The loss of every example, and the gradient of its mean."""

    def both(x: jax.Array, *rest: jax.Array) -> Any:
        value, pull = jax.vjp(lambda y: loss(y, *rest), x)
        return value, pull(jnp.ones_like(value) / value.size)

    return both


def _trained_all(**rows: Callable[..., jax.Array]) -> dict[str, Callable[..., Any]]:
    return {name: _trained(loss) for name, loss in rows.items()}


def _paddings(sizes: jax.Array, length: Any) -> jax.Array:
    """1.0 beyond the size of each row: [b] -> [b, length]."""
    return (jnp.arange(length)[None] >= sizes[:, None]).astype(np.float32)


def _ctc(logits: jax.Array, labels: jax.Array) -> jax.Array:
    frames = jnp.full(logits.shape[0], logits.shape[1]) - jnp.arange(logits.shape[0]) % 2
    lengths = jnp.arange(labels.shape[0]) % (labels.shape[1] + 1)
    return losses.ctc_loss(
        logits, _paddings(frames, logits.shape[1]), labels, _paddings(lengths, labels.shape[1])
    )


def _ctc_all(logits: jax.Array, labels: jax.Array) -> Any:
    return losses.ctc_loss_with_forward_probs(
        logits, jnp.zeros(logits.shape[:2]), labels, jnp.zeros(labels.shape)
    )


PAIRS = [
    *table("optax", (BS, BS), _trained_all(
        squared_error=losses.squared_error,
        l2_loss=losses.l2_loss,
        huber_loss=lambda x, y: losses.huber_loss(x, y, delta=0.5),
        log_cosh=losses.log_cosh,
        cosine_distance=lambda x, y: losses.cosine_distance(x, y, epsilon=0.1),
        cosine_similarity=lambda x, y: losses.cosine_similarity(x, y, epsilon=0.1, axis=0),
        ranking_softmax_loss=lambda x, y: losses.ranking_softmax_loss(x, jnp.abs(y)),
        ranking_per_list=lambda x, y: losses.ranking_softmax_loss(x, jnp.abs(y), reduce_fn=None),
        softmax_cross_entropy_axis=lambda x, y: losses.softmax_cross_entropy(
            x, jax.nn.softmax(y), axis=1),
        softmax_cross_entropy_symbolic=lambda x, y: losses.safe_softmax_cross_entropy(
            x, jax.nn.softmax(y)),
        kl_over_symbolic=lambda x, y: losses.kl_divergence(
            jax.nn.log_softmax(x), jax.nn.softmax(y)),
        fenchel_young=lambda x, y: losses.make_fenchel_young_loss(jax.nn.logsumexp)(
            x, jax.nn.softmax(y)),
    )),
    *table("optax", (BS, SIGNS), _trained_all(
        hinge_loss=losses.hinge_loss,
        perceptron_loss=losses.perceptron_loss,
    )),
    *table("optax", (BS, COINS), _trained_all(
        sigmoid_binary_cross_entropy=losses.sigmoid_binary_cross_entropy,
        sigmoid_focal_loss=lambda x, y: losses.sigmoid_focal_loss(x, y, alpha=0.3),
        sparsemax_loss=losses.sparsemax_loss,
        binary_dice_loss=lambda x, y: losses.binary_dice_loss(x[..., None], y[..., None]),
        smooth_labels=lambda x, y: losses.sigmoid_binary_cross_entropy(
            x, losses.smooth_labels(y, 0.1)),
    )),
    *table("optax", (BSK, DISTRIBUTION), _trained_all(
        softmax_cross_entropy=losses.softmax_cross_entropy,
        safe_softmax_cross_entropy=losses.safe_softmax_cross_entropy,
        poly_loss=losses.poly_loss_cross_entropy,
        kl_divergence=lambda x, y: losses.kl_divergence(jax.nn.log_softmax(x), y),
        kl_log_targets=lambda x, y: losses.kl_divergence_with_log_targets(
            jax.nn.log_softmax(x), jnp.log(y + 0.1)),
        generalized_kl=lambda x, y: losses.generalized_kl_divergence(x, y),
        dice_loss=lambda x, y: losses.dice_loss(x, y),
        triplet_margin_loss=lambda x, y: losses.triplet_margin_loss(x, y, jnp.cos(x + y)),
    )),
    *table("optax", (BSK, CLASSES), _trained_all(
        integer_labels=losses.softmax_cross_entropy_with_integer_labels,
        integer_labels_where=lambda x, i: losses.softmax_cross_entropy_with_integer_labels(
            x, i, where=(i > 0)[..., None] | (jnp.arange(3) > 0)[None, None]),
    )),
    *table("optax", (Arg("n, 3"), Arg("n", np.int32, lambda rng, s: rng.integers(0, 3, s))),
           _trained_all(
        multiclass_hinge=losses.multiclass_hinge_loss,
        multiclass_perceptron=losses.multiclass_perceptron_loss,
        multiclass_sparsemax=losses.multiclass_sparsemax_loss,
    )),
    *table("optax", (Arg("b, s", np.float32), MASK), {
        "cosine_where": lambda x, m: losses.cosine_similarity(
            x, jnp.cos(x), epsilon=0.1, where=m),
        "ranking_where": lambda x, m: losses.ranking_softmax_loss(
            x, jnp.abs(x), where=m.at[:, 0].set(True)),
        "kl_where": lambda x, m: losses.kl_divergence(x, jax.nn.softmax(x + 1), where=m),
    }),
    Harness("optax_ntxent", lambda x, i: losses.ntxent(x, i % 2, 0.5),
            (Arg("n, 3"), Arg("n", np.int32)), constraints=("n >= 3",)),
    Harness("optax_ntxent_grad", jax.grad(lambda x, i: losses.ntxent(x, i % 2, 0.5)),
            (Arg("n, 3"), Arg("n", np.int32)), constraints=("n >= 3",)),
]  # fmt: skip

# At least two frames for each label, so that no loss is one of an impossible alignment.
LABELS = Arg("b, t", np.int32, lambda rng, shape: rng.integers(1, 4, shape))
CTC = {"bucket": {"b": 3, "s": 9, "t": 3}, "constraints": ("s >= 2*t + 1",)}

SEQUENCES = [
    Harness("optax_ctc_loss", _ctc, (Arg("b, s, 4"), LABELS), **CTC),
    Harness("optax_ctc_forward", _ctc_all, (Arg("b, s, 4"), LABELS), **CTC),
    Harness("optax_ctc_grad", jax.grad(lambda x, i: _ctc(x, i).mean()), (Arg("b, s, 4"), LABELS),
            **CTC),
]  # fmt: skip

PROJECTIONS = [
    *table("optax", N, {
        "projection_simplex": projections.projection_simplex,
        "projection_simplex_scaled": lambda x: projections.projection_simplex(x, 2.5),
        "projection_l1_ball": lambda x: projections.projection_l1_ball(3 * x, 1.5),
        "projection_l1_sphere": lambda x: projections.projection_l1_sphere(x, 2.0),
        "projection_l2": lambda x: (
            projections.projection_l2_ball(x, 0.5), projections.projection_l2_sphere(x)),
        "projection_linf": lambda x: projections.projection_linf_ball(x, 0.3),
        "projection_box": lambda x: (
            projections.projection_box(x, -0.5, 0.7), projections.projection_hypercube(x),
            projections.projection_non_negative(x)),
        "projection_hyperplane": lambda x: projections.projection_hyperplane(x, jnp.cos(x), 0.5),
        "projection_halfspace": lambda x: projections.projection_halfspace(x, jnp.cos(x), -0.5),
        "projection_vector": lambda x: projections.projection_vector(x, jnp.cos(x)),
        "projection_simplex_grad": jax.grad(
            lambda x: (projections.projection_simplex(x) ** 2).sum()),
        "global_norm": lambda x: optax.tree.norm({"a": x, "b": jnp.outer(x, x)}),
    }),
    *table("optax", BS, {
        "clip_by_global_norm": lambda x: optax.clip_by_global_norm(0.5).update(
            {"x": x}, optax.EmptyState())[0],
        "clip_by_block_rms": lambda x: optax.clip_by_block_rms(0.5).update(
            {"x": x}, optax.EmptyState())[0],
        "adam_of_symbolic_parameters": lambda x: _two_steps(optax.adam(0.1), x),
        "momentum_of_symbolic_parameters": lambda x: _two_steps(optax.sgd(0.1, momentum=0.9), x),
        "per_row_norm": lambda x: optax.centralize().update({"x": x}, optax.EmptyState())[0],
        "safe_norm": lambda x: (optax.safe_norm(x, 0.1), optax.safe_root_mean_squares(x, 0.1)),
    }),
]  # fmt: skip


def _two_steps(optimizer: optax.GradientTransformation, x: jax.Array) -> jax.Array:
    """The parameters are as large as the input is, such as a table of embeddings for one batch."""
    state = optimizer.init(x)
    for _ in range(2):
        updates, state = optimizer.update(jnp.sin(x), state, x)
        x = optax.apply_updates(x, updates)
    return x


HARNESSES = [*PAIRS, *SEQUENCES, *PROJECTIONS]
