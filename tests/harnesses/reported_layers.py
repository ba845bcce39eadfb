"""Layers whose padding users report as wrong: norms, pooling, embeddings, groups; by thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from tests.harnesses.base import Arg, Harness
from tests.harnesses.loop import random_parameters
from tests.harnesses.reported import BS, BS4, BSM, IDS, TABLE, W44

_EXAMPLE = np.zeros((1, 1, 4), np.float32)


def _trained(layer: nn.Module) -> Callable[..., Any]:
    """Value, updated statistics and gradient of a loss on ``layer`` as a residual; x: (b, s, 4)."""

    def loss(x: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, Any]:
        variables = random_parameters(layer, _EXAMPLE)
        where = None if mask is None else jnp.broadcast_to(mask[..., None], x.shape)
        options: dict[str, Any] = {} if mask is None else {"mask": where}
        y, state = layer.apply(variables, x, **options, mutable=["batch_stats"])
        return jnp.tanh(x + y).mean(where=where), state

    return jax.value_and_grad(loss, has_aux=True)


# A large epsilon: at size 1 the variance is zero, and the default one would scale up rounding.
EPSILON = 1e-2
BATCH_NORM = nn.BatchNorm(use_running_average=False, epsilon=EPSILON)

NORMS = [
    # Statistics of a batch counted the pads; so did those of each example.
    Harness(f"torch_{name}", _trained(layer), args)
    for thread, layer in (
        ("70529_batch_norm", BATCH_NORM),
        ("81985_instance_norm", nn.InstanceNorm(epsilon=EPSILON)),
        ("81985_group_norm", nn.GroupNorm(num_groups=2, epsilon=EPSILON)),
        ("81985_layer_norm_of_sequence", nn.LayerNorm(reduction_axes=(1, 2), epsilon=EPSILON)),
        ("81985_rms_norm_of_sequence", nn.RMSNorm(reduction_axes=(1, 2))),
    )
    for name, args in ((thread, (BS4,)), (f"{thread}_masked", (BS4, BSM)))
]


class _ConvolutionModule(nn.Module):
    """Depthwise convolution along the sequence, then a norm, as in a Conformer."""

    norm: nn.Module

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(4, (3,), feature_group_count=4)(x)
        return nn.swish(self.norm(x))


def _norm_and_max(table: jax.Array, ids: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Ids beyond the table embed as NaN."""
    where = None if mask is None else mask[..., None]
    options: dict[str, Any] = {} if mask is None else {"mask": where}
    variables = random_parameters(BATCH_NORM, _EXAMPLE)
    y, _ = BATCH_NORM.apply(
        variables, jnp.take(table, ids, axis=0), **options, mutable=["batch_stats"]
    )
    return y.max((1, 2), where=where, initial=-1e9).sum()


def _masked_norm_and_max(table: jax.Array, ids: jax.Array) -> jax.Array:
    return _norm_and_max(table, ids, ids < table.shape[0])


WIDE_IDS = Arg("b, s", np.int32, lambda rng, shape: rng.integers(0, 20, shape))

MODULES = [
    # Pads reached true frames through the convolution, and the statistics of the norm.
    Harness(
        "torchaudio_4205_conformer_batch_norm", _trained(_ConvolutionModule(BATCH_NORM)), (BS4,)
    ),
    Harness(
        "torchaudio_4205_conformer_group_norm",
        _trained(_ConvolutionModule(nn.GroupNorm(num_groups=2, epsilon=EPSILON))),
        (BS4,),
    ),
    # Masked NaNs of an embedding came back in the gradient of norm and max.
    Harness(
        "jax_26328_embedding_norm_max",
        jax.value_and_grad(_norm_and_max),
        (TABLE, IDS),
        delicate=True,
    ),
    Harness(
        "jax_26328_embedding_norm_max_masked",
        jax.value_and_grad(_masked_norm_and_max),
        (TABLE, WIDE_IDS),
    ),
]


def _ignored_average(x: jax.Array) -> jax.Array:
    """Mean of each row of x: (b, s) over what is not -99."""
    keep = x != -99
    return jnp.where(keep, x, 0).sum(1) / jnp.maximum(keep.sum(1), 1)


def _some_ignored(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(rng.random(shape) < 0.3, -99, rng.normal(size=shape))


def _fitted(f: Callable[[jax.Array], jax.Array]) -> Callable[..., Any]:
    """Squared error of the masked mean of f(x): (b, s, 4), and its gradient."""

    def loss(w: jax.Array, x: jax.Array, mask: jax.Array) -> jax.Array:
        return jnp.square(f(x @ w).mean(1, where=mask[..., None])).mean()

    return jax.value_and_grad(loss)


def _bag_of_words(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Sum of embeddings; token 0 embeds as zeros and gets no gradient."""
    return jnp.tanh(table.at[0].set(0.0)[ids].sum(1)).mean()


MASKS_AND_EMBEDDINGS = [
    # Sums and products of layers lost the mask.
    Harness("keras_18416_mask_after_add", _fitted(lambda x: x + x), (W44, BS4, BSM)),
    Harness("keras_18543_mask_after_product", _fitted(lambda x: x * 1 * x), (W44, BS4, BSM)),
    # Masking of a second input did nothing.
    Harness(
        "keras_19311_second_input_masked",
        jax.value_and_grad(lambda x, y, m: (jnp.where(m, y, 0) * x).sum(1).mean()),
        (BS, BS, BSM),
    ),
    # Compiled, masked values counted as zeros in the mean.
    Harness(
        "keras_20165_average_of_unmasked",
        lambda x: (_ignored_average(x), jax.grad(lambda y: _ignored_average(y).sum())(x)),
        (Arg("b, s", make=_some_ignored),),
    ),
    # The embedding of the pad token moved, or counted.
    Harness("torch_1812_padding_idx", jax.value_and_grad(_bag_of_words), (TABLE, IDS)),
    Harness(
        "torch_1812_padding_idx_adam",
        lambda table, ids: optax.adam(0.1).update(
            jax.grad(_bag_of_words)(table, ids), optax.adam(0.1).init(table)
        )[0],
        (TABLE, IDS),
        delicate=True,
    ),
]


def _pooled(pool: Callable[..., jax.Array], **how: Any) -> Callable[..., Any]:
    def loss(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = pool(x - 3, (3,), (2,), "SAME", **how)
        return jnp.square(y).sum(), y

    return jax.value_and_grad(loss, has_aux=True)


POOLING = [
    # The mean at the edges divides by the whole window; with an option, by what is inside.
    Harness("flax_2401_avg_pool_edges", _pooled(nn.avg_pool), (BS4,)),
    Harness(
        "flax_2448_avg_pool_edges_uncounted", _pooled(nn.avg_pool, count_include_pad=False), (BS4,)
    ),
    # A zero at the edge must not win over numbers that are all negative.
    Harness("flax_2401_max_pool_edges", _pooled(nn.max_pool), (BS4,)),
]


def _experts(rows: jax.Array, matrices: jax.Array, sizes: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = lax.ragged_dot(rows, matrices, sizes)
    return jnp.square(y).sum(), y


def _routed(rows: jax.Array, matrices: jax.Array, expert: jax.Array) -> jax.Array:
    """Each row goes through the matrix of its expert; many experts get none."""
    order = jnp.argsort(expert)
    sizes = jnp.bincount(expert, length=matrices.shape[0])
    return jnp.square(lax.ragged_dot(rows[order], matrices, sizes)).sum()


MATRICES = Arg((5, 4, 3))
FEW_EXPERTS = Arg("s", np.int32, lambda rng, shape: rng.choice([1, 3], shape))

GROUPS = [
    # Groups without rows had a gradient that was not zero.
    Harness(
        "tokamax_887_ragged_dot_empty_groups",
        jax.value_and_grad(_routed, argnums=(0, 1)),
        (Arg("s, 4"), MATRICES, FEW_EXPERTS),
    ),
    # Rows beyond the last group held anything.
    Harness(
        "cudnn_frontend_592_rows_of_no_group",
        jax.value_and_grad(_experts, argnums=(0, 1), has_aux=True),
        (Arg("s, 4"), MATRICES, Arg((5,), np.int32, lambda rng, shape: np.array([0, 1, 0, 0, 0]))),
    ),
]


def _log_likelihood(scale: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Of a Gaussian process at x: (s,) with unit noise; scale: ()."""
    covariance = jnp.exp(-jnp.square((x[:, None] - x[None]) / scale)) + jnp.eye(x.shape[0])
    factor = jnp.linalg.cholesky(covariance)
    white = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
    return -(white @ white) / 2 - jnp.log(jnp.diagonal(factor)).sum()


PROCESSES = [
    # Padding a Gaussian process by far points was inexact, by NaN poisonous.
    Harness(
        "tinygp_106_growing_data",
        jax.value_and_grad(_log_likelihood, argnums=(0, 1, 2)),
        (Arg((), make=lambda rng, shape: np.full(shape, 0.7)), Arg("s"), Arg("s")),
    ),
]

HARNESSES = [*NORMS, *MODULES, *MASKS_AND_EMBEDDINGS, *POOLING, *GROUPS, *PROCESSES]
