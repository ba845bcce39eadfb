"""Functions of ``jax.nn``, ``jax.ops``, ``jax.image`` and ``jax.lax``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness, table

N = Arg("n")
BS = Arg("b, s")
MASK = Arg("b, s", bool)
IDS = Arg("n", np.int32, lambda rng, shape: rng.integers(-1, 5, shape))
SORTED = Arg("n", np.int32, lambda rng, shape: np.sort(rng.integers(0, 4, shape)))
IMAGE = Arg("n, 5, 2")

ACTIVATIONS = {
    name: getattr(jax.nn, name)
    for name in (
        "celu elu gelu hard_sigmoid hard_silu hard_tanh identity leaky_relu log_sigmoid mish relu "
        "relu6 selu sigmoid silu soft_sign softplus sparse_plus sparse_sigmoid squareplus tanh "
        "log1mexp"
    ).split()
    if hasattr(jax.nn, name)
}


def _all_activations(x: jax.Array) -> Any:
    """The derivatives see every activation, and so do the sums over the true lanes."""
    positive = jnp.abs(x) + 0.1
    return {
        name: fun(positive if name == "log1mexp" else x).mean(0)
        for name, fun in ACTIVATIONS.items()
    }


def _by_rows(x: jax.Array, mask: jax.Array) -> jax.Array:
    """A mask with at least one true element in each row."""
    return mask.at[:, 0].set(True)


NN = [
    *table("nn", BS, {
        "activations": _all_activations,
        "activations_grad": jax.grad(
            lambda x: sum(y.sum() for y in jax.tree.leaves(_all_activations(x)))),
        "softmax_axes": lambda x: (jax.nn.softmax(x, (0, 1)), jax.nn.log_softmax(x, 0)),
        "softmax_axes_contracted": lambda x: jax.nn.softmax(x, (0, 1)).sum(0) @ jnp.cos(x).T,
        "softmax_axes_of_infinities": lambda x: jnp.einsum(
            "bs,bs->", jax.nn.softmax(jnp.where(x > 1, jnp.inf, x), (0, 1)), x),
        "logsumexp_axes": lambda x: jax.nn.logsumexp(x, axis=(0, 1), keepdims=True),
        "logsumexp_scaled": lambda x: jax.nn.logsumexp(x, 1, b=jnp.abs(x), keepdims=True),
        "logsumexp_signed": lambda x: jax.nn.logsumexp(x, 0, b=jnp.sin(x), return_sign=True),
        "logmeanexp": lambda x: jax.nn.logmeanexp(x, axis=1),
        "standardize": lambda x: jax.nn.standardize(x, axis=0, epsilon=0.1),
        "standardize_given": lambda x: jax.nn.standardize(x, mean=x.mean(), variance=x.var() + 1),
        "soft_maximum": lambda x: (jax.nn.softmax(x / 1e-3), jax.nn.softmax(1e4 * x)),
        "softmax_grad": jax.grad(lambda x: (jax.nn.softmax(x) ** 2).sum()),
        "log_softmax_grad": jax.grad(lambda x: jax.nn.log_softmax(x, 0)[0].sum()),
    }),
    *table("nn", (BS, MASK), {
        "softmax_where": lambda x, m: jax.nn.softmax(x, where=_by_rows(x, m)),
        "log_softmax_where": lambda x, m: jnp.where(
            _by_rows(x, m), jax.nn.log_softmax(x, where=_by_rows(x, m)), 0.0),
        "logsumexp_where": lambda x, m: jax.nn.logsumexp(x, 1, where=m),
        "logmeanexp_where": lambda x, m: jax.nn.logmeanexp(x, 0, where=m),
        "standardize_where": lambda x, m: jax.nn.standardize(x, where=_by_rows(x, m), epsilon=0.1),
        "softmax_where_grad": jax.grad(
            lambda x, m: (jax.nn.softmax(x, where=_by_rows(x, m)) ** 2).sum()),
    }),
    *table("nn", IDS, {
        "one_hot": lambda i: (jax.nn.one_hot(i, 5), jax.nn.one_hot(i, 5, axis=0, dtype=bool)),
        "one_hot_of_size": lambda i: jax.nn.one_hot(i, i.shape[0] + 2),
    }),
    *table("nn", Arg("n, 6"), {
        "glu": lambda x: (jax.nn.glu(x), jax.nn.glu(jnp.stack([x, 2 * x]), axis=0)),
        "glu_symbolic": lambda x: jax.nn.glu(jnp.concatenate([x, -x]), axis=0),
        "scaled_matmul": lambda x: jax.nn.gelu(x @ x.T, approximate=False),
    }),
]  # fmt: skip

QUERY = Arg("b, t, 4, 2")
KEY = Arg("b, s, 4, 2")
FEW = Arg("b, s, 2, 2")
ONE = Arg("s, 2, 4")
LENGTHS = Arg("b", np.int32, lambda rng, shape: rng.integers(1, 2, shape))
BIAS = Arg("b, 4, t, s")
SMALL = {"b": 2, "s": 6, "t": 5}


def _attention(*names: str, **fixed: Any) -> Callable[..., jax.Array]:
    """Attention with the third and further arguments under these names."""

    def call(q: jax.Array, k: jax.Array, *rest: jax.Array) -> jax.Array:
        options = {**dict(zip(names, rest, strict=True)), **fixed}
        return jax.nn.dot_product_attention(q, k, jnp.sin(k), **options)

    return call


ATTENTION = [
    *table("attention", (QUERY, KEY), {
        "plain": _attention(),
        "scaled": _attention(scale=0.3),
        "grad": jax.grad(lambda q, k: _attention()(q, k).sum() ** 2, argnums=(0, 1)),
    }, bucket=SMALL),
    Harness("attention_mask", _attention("mask"),
            (QUERY, KEY, Arg("b, 4, t, s", bool, lambda rng, shape: rng.random(shape) < 0.8)),
            bucket=SMALL),
    Harness("attention_bias", _attention("bias"), (QUERY, KEY, BIAS), bucket=SMALL),
    Harness("attention_lengths", _attention("query_seq_lengths", "key_value_seq_lengths"),
            (QUERY, KEY, LENGTHS, LENGTHS), bucket=SMALL),
    Harness("attention_grouped", _attention(), (QUERY, FEW), bucket=SMALL),
    *table("attention", ONE, {
        "causal": lambda x: _attention(is_causal=True)(x, x),
        "window": lambda x: _attention(local_window_size=(2, 1))(x, x),
        "window_causal": lambda x: _attention(local_window_size=2, is_causal=True)(x, x),
        "causal_grad": jax.grad(lambda x: _attention(is_causal=True)(x, x).sum() ** 2),
    }, bucket=SMALL),
]  # fmt: skip

OPS = [
    *table("ops", (N, SORTED), {
        "segment_sum": lambda x, i: jax.ops.segment_sum(x, i, 4),
        "segment_sorted": lambda x, i: jax.ops.segment_sum(x, i, 4, indices_are_sorted=True),
        "segment_max": lambda x, i: (jax.ops.segment_max(x, i, 5), jax.ops.segment_min(x, i, 5)),
        "segment_prod": lambda x, i: jax.ops.segment_prod(x, i, 4),
        "segment_of_size": lambda x, i: jax.ops.segment_sum(x, i, x.shape[0]),
        "segment_softmax": lambda x, i: jnp.exp(x) / jax.ops.segment_sum(jnp.exp(x), i, 4)[i],
        "segment_mean": lambda x, i: jax.ops.segment_sum(x, i, 4)
            / jnp.maximum(jax.ops.segment_sum(jnp.ones_like(x), i, 4), 1),
        "segment_buckets": lambda x, i: jax.ops.segment_sum(x, i, 4, bucket_size=3),
        "segment_grad": lambda x, i: jax.grad(
            lambda y: (jax.ops.segment_max(y, i, 4, mode="drop") ** 2)[0])(x),
    }),
    Harness("ops_segment_ids_beyond", lambda x, i: jax.ops.segment_sum(x, i, 3), (N, IDS)),
]  # fmt: skip


def _resized(method: str, **options: Any) -> Callable[[jax.Array], Any]:
    """Up and down, along the axis of symbolic size and along the other one."""
    return lambda x: [
        jax.image.resize(x, shape, method, **options) for shape in ((3, 7, 2), (11, 3, 2))
    ]


IMAGES = [
    *table("image", IMAGE, {
        **{f"resize_{m}": _resized(m) for m in "nearest linear cubic lanczos3 lanczos5".split()},
        "resize_aliased": _resized("linear", antialias=False),
        "resize_doubled": lambda x: jax.image.resize(x, (2 * x.shape[0], 5, 2), "linear"),
        "resize_halved": lambda x: jax.image.resize(x, ((x.shape[0] + 1) // 2, 5, 2), "cubic"),
        "resize_nearest_doubled": lambda x: jax.image.resize(x, (2 * x.shape[0], 5, 2), "nearest"),
        "scale_and_translate": lambda x: jax.image.scale_and_translate(
            x, (6, 4, 2), (0, 1), jnp.array([1.3, 0.7]), jnp.array([0.5, -0.2]), "linear"),
        "resize_grad": jax.grad(lambda x: (jax.image.resize(x, (4, 4, 2), "linear") ** 2).sum()),
    }),
]  # fmt: skip

LAX = [
    *table("lax", N, {
        "collapse": lambda x: lax.collapse(jnp.outer(x, x), 0, 2),
        "slices": lambda x: (lax.slice_in_dim(x, 0, 1), lax.dynamic_slice_in_dim(x, 3, 1)),
        "index_in_dim": lambda x: (lax.index_in_dim(x, 0), lax.dynamic_index_in_dim(x, 7)),
        "updates": lambda x: lax.dynamic_update_slice_in_dim(x, jnp.array([9.0]), 99, 0),
        "index_take": lambda x: lax.index_take(x, (jnp.array([0, 0]),), (0,)),
        "broadcast_shapes": lambda x: lax.broadcast_shapes((3, 1), x.shape)[0] + lax.zeta(3.0, 2.0),
        "sort_pairs": lambda x: lax.sort((jnp.round(x), x, -x), num_keys=2),
        "sort_key_val": lambda x: lax.sort_key_val(jnp.round(x), jnp.arange(x.shape[0])),
        "top_k": lambda x: lax.top_k(x, 1),
        "cumulative": lambda x: (lax.cummax(x), lax.cummin(x, reverse=True), lax.cumlogsumexp(x)),
        "reduce_precision": lambda x: lax.reduce_precision(x, 5, 3),
        "map_batched": lambda x: lax.map(lambda y: y * 2 + x[0], x, batch_size=3),
        "map": lambda x: lax.map(lambda y: jnp.sin(y) + x.sum(), x),
        "while_norm": lambda x: lax.while_loop(
            lambda y: jnp.linalg.norm(y) > 0.1, lambda y: y / 2, x),
        "switch": lambda x: lax.switch(jnp.argmax(x) % 3, [jnp.sin, jnp.cos, lambda y: -y], x),
        "cond": lambda x: lax.cond(x.sum() > 0, lambda y: y - y.mean(), lambda y: y[::-1], x),
        "broadcasted_iota": lambda x: lax.broadcasted_iota(np.int32, (3, x.shape[0]), 1),
        "full_like": lambda x: (lax.full_like(x, 2.0), lax.full((x.shape[0], 2), 1)),
        "reciprocal": lambda x: (lax.reciprocal(x), lax.rsqrt(jnp.abs(x)), lax.integer_pow(x, 3)),
        "stop_gradient": jax.grad(lambda x: (x * lax.stop_gradient(x - x.mean())).sum()),
        "conv_patches": lambda x: lax.conv_general_dilated_patches(
            x[None, None], (3,), (1,), "SAME"),
        "reduce_window": lambda x: lax.reduce_window(
            x, -jnp.inf, lax.max, (3,), (2,), "SAME"),
        "batch_matmul": lambda x: lax.batch_matmul(x[:, None, None], x[:, None, None]),
        "expand_dims": lambda x: lax.expand_dims(x, (0, 2)),
        "erf_inv": lambda x: (lax.erf_inv(jnp.tanh(x)), lax.nextafter(x, 2 * x)),
    }),
]  # fmt: skip

HARNESSES = [*NN, *ATTENTION, *OPS, *IMAGES, *LAX]
