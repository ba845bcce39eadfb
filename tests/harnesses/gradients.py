"""Derivatives taken inside the optimized function."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from tests.harnesses.base import Arg, Harness

S = Arg("s")
BS = Arg("b, s")
BS4 = Arg("b, s, 4")
W43 = Arg((4, 3))
W44 = Arg((4, 4))
V4 = Arg((4,))
TOKENS = Arg("b, s", np.int32)
LABELS = Arg("b, s", np.int32, lambda rng, shape: rng.integers(-1, 3, shape))


def _mlp_loss(w: jax.Array, v: jax.Array, x: jax.Array) -> jax.Array:
    """w: (4, 3), v: (3,), x: (b, s, 4)."""
    return jnp.mean(jnp.square(jax.nn.gelu(x @ w) @ v))


def _cross_entropy(w: jax.Array, x: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the labels that are not -1; w: (4, 3), x: (b, s, 4), labels: (b, s)."""
    picked = jax.nn.one_hot(labels, 3) * jax.nn.log_softmax(x @ w)
    labelled = labels >= 0
    return -jnp.where(labelled, picked.sum(-1), 0).sum() / jnp.maximum(labelled.sum(), 1)


def _cross_entropy_by_index(w: jax.Array, x: jax.Array, labels: jax.Array) -> jax.Array:
    losses = optax.softmax_cross_entropy_with_integer_labels(x @ w, jnp.maximum(labels, 0))
    return losses.mean(where=labels >= 0)


def _attention_loss(w: jax.Array, x: jax.Array) -> jax.Array:
    """Attention of x: (b, s, 4) to itself through w: (4, 4)."""
    scores = jnp.einsum("bsd,btd->bst", x @ w, x) / 2
    return jnp.einsum("bst,btd->bsd", jax.nn.softmax(scores), x).sum()


def _causal_attention_loss(w: jax.Array, x: jax.Array) -> jax.Array:
    scores = jnp.einsum("bsd,btd->bst", x @ w, x)
    length = x.shape[1]
    allowed = jnp.arange(length)[:, None] >= jnp.arange(length)[None]
    scores = jnp.where(allowed[None], scores, -jnp.inf)
    return jnp.square(jnp.einsum("bst,btd->bsd", jax.nn.softmax(scores), x)).mean()


def _layer_norm_loss(scale: jax.Array, x: jax.Array) -> jax.Array:
    """Normalises the 4 features; scale: (4,), x: (b, s, 4)."""
    centred = x - x.mean(-1, keepdims=True)
    return jnp.tanh(
        scale[None, None] * centred * lax.rsqrt(centred.var(-1, keepdims=True) + 1e-5)
    ).sum()


def _sequence_norm_loss(x: jax.Array) -> jax.Array:
    """Normalises along the padded axis."""
    centred = x - x.mean(1, keepdims=True)
    return jnp.tanh(centred * lax.rsqrt(x.var(1, keepdims=True) + 1e-2)).sum()


def _batch_norm_loss(scale: jax.Array, x: jax.Array) -> jax.Array:
    mean, variance = x.mean((0, 1), keepdims=True), x.var((0, 1), keepdims=True)
    return jnp.tanh(scale[None, None] * (x - mean) * lax.rsqrt(variance + 1e-2)).mean()


def _embedding_loss(table: jax.Array, tokens: jax.Array) -> jax.Array:
    return jnp.tanh(table[tokens].sum(1)).mean()


def _scan_loss(w: jax.Array, x: jax.Array) -> jax.Array:
    """A recurrence of x: (b, s, 4) through w: (4, 4), and the mean of all its states."""

    def step(h: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = jnp.tanh(h @ w + row)
        return h, h

    return jnp.square(lax.scan(step, jnp.zeros((x.shape[0], 4)), x.swapaxes(0, 1))[1]).mean()


def _checkpointed_scan_loss(w: jax.Array, x: jax.Array) -> jax.Array:
    step = jax.checkpoint(lambda h, row: jnp.tanh(h @ w + row))
    final, _ = lax.scan(
        lambda h, row: (step(h, row), None), jnp.zeros((x.shape[0], 4)), x.swapaxes(0, 1)
    )
    return final.sum()


def _checkpointed_loss(w: jax.Array, x: jax.Array) -> jax.Array:
    @jax.checkpoint
    def layer(h: jax.Array) -> jax.Array:
        h = jax.nn.gelu(h @ w)
        return h / (1 + jnp.abs(h).sum(1, keepdims=True))

    return layer(layer(x)).mean()


@jax.custom_vjp
def _clipped(x: jax.Array) -> jax.Array:
    """Identity whose gradient is scaled to unit norm."""
    return x


_clipped.defvjp(lambda x: (x, None), lambda _, g: (g / (1e-3 + jnp.sqrt(jnp.square(g).sum())),))


@jax.custom_jvp
def _log1p_exp(x: jax.Array) -> jax.Array:
    return jnp.log1p(jnp.exp(x))


_log1p_exp.defjvps(lambda t, _, x: t * (1 - 1 / (1 + jnp.exp(x))))


def _branch_loss(x: jax.Array) -> jax.Array:
    return lax.cond(x.sum() > 0, lambda y: jnp.square(y).sum(), lambda y: jnp.sin(y).mean(), x)


def _loop_loss(x: jax.Array) -> jax.Array:
    return lax.fori_loop(0, 3, lambda i, y: jnp.sin(y) / (1 + jnp.abs(y).sum()), x).sum()


LOSSES = [
    Harness(
        "gradient_mlp",
        jax.value_and_grad(_mlp_loss, argnums=(0, 1, 2)),
        (W43, Arg((3,)), BS4),
    ),
    Harness(
        "gradient_cross_entropy",
        jax.value_and_grad(_cross_entropy, argnums=(0, 1)),
        (W43, BS4, LABELS),
    ),
    Harness(
        "gradient_cross_entropy_by_index",
        jax.value_and_grad(_cross_entropy_by_index, argnums=(0, 1)),
        (W43, BS4, Arg("b, s", np.int32, lambda rng, shape: rng.integers(0, 3, shape))),
    ),
    Harness("gradient_attention", jax.value_and_grad(_attention_loss, argnums=(0, 1)), (W44, BS4)),
    Harness(
        "gradient_causal_attention",
        jax.value_and_grad(_causal_attention_loss, argnums=(0, 1)),
        (W44, BS4),
    ),
    Harness("gradient_layer_norm", jax.value_and_grad(_layer_norm_loss, argnums=(0, 1)), (V4, BS4)),
    Harness("gradient_sequence_norm", jax.value_and_grad(_sequence_norm_loss), (BS,)),
    Harness("gradient_batch_norm", jax.value_and_grad(_batch_norm_loss, argnums=(0, 1)), (V4, BS4)),
    Harness("gradient_embedding", jax.value_and_grad(_embedding_loss), (Arg((10, 4)), TOKENS)),
    Harness(
        "gradient_cumsum", jax.value_and_grad(lambda x: jnp.square(jnp.cumsum(x, 1)).sum()), (BS,)
    ),
    Harness("gradient_max_pool", jax.value_and_grad(lambda x: x.max(1).sum()), (BS4,)),
    Harness(
        "gradient_max_with_ties", jax.grad(lambda x: jnp.round(x).max(1).sum() + x.min()), (BS,)
    ),
    Harness(
        "gradient_max_of_equals",
        jax.grad(lambda x: x.max()),
        (Arg("s", make=lambda rng, shape: np.ones(shape)),),
    ),
    Harness(
        "gradient_logsumexp",
        jax.value_and_grad(lambda x: jax.nn.logsumexp(x, axis=1).mean()),
        (BS,),
    ),
    Harness("gradient_logsumexp_all", jax.grad(lambda x: jax.nn.logsumexp(x)), (BS,)),
    Harness(
        "gradient_where",
        jax.value_and_grad(
            lambda x: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), 0).sum() / (x > 0).sum()
        ),
        (BS,),
    ),
    Harness(
        "gradient_masked_mean",
        jax.grad(lambda x, m: jnp.tanh(x).mean(where=m)),
        (BS, Arg("b, s", bool)),
    ),
    Harness(
        "gradient_sorted",
        jax.grad(lambda x: (jnp.sort(x, axis=1) * jnp.arange(x.shape[1])[None]).sum()),
        (BS,),
    ),
    Harness("gradient_norm", jax.grad(lambda x: jnp.sqrt(jnp.square(x).sum(1)).sum()), (BS,)),
    Harness(
        "gradient_merged", jax.grad(lambda w, x: jnp.tanh(x.reshape(-1, 4) @ w).mean()), (W43, BS4)
    ),
]

CONTROL = [
    Harness("gradient_scan", jax.value_and_grad(_scan_loss, argnums=(0, 1)), (W44, BS4)),
    Harness(
        "gradient_scan_checkpointed",
        jax.value_and_grad(_checkpointed_scan_loss, argnums=(0, 1)),
        (W44, BS4),
    ),
    Harness(
        "gradient_scan_nested",
        jax.grad(
            lambda x: lax.map(
                lambda r: lax.scan(lambda c, v: (jnp.tanh(c + v), c), 0.0, r)[0], x
            ).sum()
        ),
        (BS,),
    ),
    Harness(
        "gradient_scan_forward_mode",
        lambda x: jax.jvp(
            lambda y: lax.scan(lambda c, v: (jnp.tanh(c + v), c * v), 0.0, y), (x,), (x + 1,)
        ),
        (S,),
    ),
    Harness(
        "gradient_checkpoint", jax.value_and_grad(_checkpointed_loss, argnums=(0, 1)), (W44, BS4)
    ),
    Harness("gradient_custom_vjp", jax.grad(lambda x: jnp.sin(_clipped(x * 2)).sum()), (BS,)),
    Harness("gradient_custom_jvp", jax.grad(lambda x: _log1p_exp(x).mean()), (BS,)),
    Harness("gradient_cond", jax.value_and_grad(_branch_loss), (BS,)),
    Harness("gradient_fori", jax.value_and_grad(_loop_loss), (BS,)),
    Harness(
        "gradient_while_forward_mode",
        lambda x: jax.jvp(
            lambda y: lax.while_loop(lambda z: jnp.abs(z).sum() > 1, lambda z: z / 2, y), (x,), (x,)
        ),
        (BS,),
    ),
    Harness(
        "gradient_while_vmapped_forward_mode",
        lambda x: jax.vmap(
            lambda r: jax.jvp(
                lambda y: lax.while_loop(lambda z: jnp.abs(z).sum() > 1, lambda z: z / 2, y),
                (r,),
                (r,),
            )
        )(x),
        (BS,),
    ),
]

MODES = [
    Harness(
        "gradient_jvp",
        lambda x, y: jax.jvp(lambda z: jax.nn.softmax(z, axis=1), (x,), (y,)),
        (BS, BS),
    ),
    Harness(
        "gradient_vjp", lambda x, y: jax.vjp(lambda z: jax.nn.softmax(z, axis=1), x)[1](y), (BS, BS)
    ),
    Harness(
        "gradient_linearize",
        lambda x, y: jax.linearize(lambda z: z / z.sum(), x)[1](y),
        (BS, BS),
        delicate=True,
    ),
    Harness(
        "gradient_jacobian_parameters",
        jax.jacrev(lambda w, x: jnp.tanh(x @ w).mean((0, 1))),
        (W43, BS4),
    ),
    Harness("gradient_jacobian_forward", jax.jacfwd(lambda w, x: jnp.tanh(x @ w)), (V4, BS4)),
    Harness("gradient_hessian", jax.hessian(lambda w, x: jnp.tanh(x @ w).mean()), (V4, BS4)),
    Harness(
        "gradient_hessian_vector",
        lambda x, y: jax.jvp(jax.grad(lambda z: jnp.tanh(z).sum() ** 2), (x,), (y,)),
        (BS, BS),
    ),
    Harness(
        "gradient_per_example",
        lambda w, x: jax.vmap(jax.grad(lambda v, r: jnp.tanh(r @ v).mean()), (None, 0))(w, x),
        (W44, BS4),
    ),
    Harness(
        "gradient_of_gradient",
        jax.grad(lambda x: jnp.square(jax.grad(lambda y: jnp.sin(y).sum() * y.mean())(x)).sum()),
        (BS,),
    ),
]

HARNESSES = [*LOSSES, *CONTROL, *MODES]
