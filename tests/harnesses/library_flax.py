"""Layers of ``flax.linen`` and ``flax.nnx``: values, or values and gradients of their input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.harnesses.base import Arg, Harness, table
from tests.harnesses.loop import random_parameters

BS4 = Arg("b, s, 4")
ROW = Arg("2, n, 4")
IMAGE = Arg("2, n, 5, 2")
VOLUME = Arg("1, n, 3, 4, 2")
IDS = Arg("b, s", np.int32, lambda rng, shape: rng.integers(0, 12, shape))
LENGTHS = Arg("b", np.int32, lambda rng, shape: np.ones(shape))
MASK = Arg("b, 1, s, s", bool, lambda rng, shape: rng.random(shape) < 0.7)
SMALL = {"b": 3, "s": 6, "n": 7}
EPSILON = 1e-2  # variances are zero at size 1, and the default would scale up rounding


def _layer(
    model: nn.Module, example: tuple[int, ...], *, dtype: Any = np.float32, **options: Any
) -> Callable[..., Any]:
    """Applies a model with random parameters; gives back what it writes to other variables."""

    def apply(x: jax.Array, *rest: jax.Array) -> Any:
        variables = random_parameters(model, np.zeros(example, dtype))
        changing = [name for name in variables if name != "params"]
        return model.apply(variables, x, *rest, **options, mutable=changing)

    return apply


def _rows(grad: bool = False, **models: nn.Module) -> dict[str, Callable[..., Any]]:
    """Models of [b, s, 4]; with ``grad`` the derivative of a loss instead of the value."""
    layers = {name: _layer(model, (1, 2, 4)) for name, model in models.items()}
    if not grad:
        return layers
    return {
        f"{name}_grad": jax.grad(lambda x, call=call: (jnp.sin(call(x)[0]) ** 2).mean())
        for name, call in layers.items()
    }


class _Spectral(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.SpectralNorm(nn.Dense(3))(x, update_stats=True)


DENSE = [
    *table("linen", BS4, {
        **_rows(
            dense=nn.Dense(3),
            dense_general=nn.DenseGeneral((2, 3), axis=-1),
            dense_batched=nn.DenseGeneral((2, 3), axis=(-1,), use_bias=False),
            einsum=nn.Einsum((4, 2, 3), "abc,cde->abde"),
            weight_norm=nn.WeightNorm(nn.Dense(3)),
            prelu=nn.PReLU(),
            sequential=nn.Sequential([nn.Dense(3), nn.gelu, nn.LayerNorm(epsilon=EPSILON)]),
        ),
        "dense_float16": _layer(nn.Dense(3, dtype=np.float32, param_dtype=np.float16), (1, 2, 4)),
        "spectral_norm": _layer(_Spectral(), (1, 2, 4)),
    }),
]  # fmt: skip

NORMS = [
    *table("linen", BS4, _rows(
        layer_norm=nn.LayerNorm(epsilon=EPSILON),
        layer_norm_slow=nn.LayerNorm(epsilon=EPSILON, use_fast_variance=False),
        rms_norm=nn.RMSNorm(),
        group_norm=nn.GroupNorm(num_groups=2, epsilon=EPSILON),
        group_norm_by_size=nn.GroupNorm(num_groups=None, group_size=2, epsilon=EPSILON),
        instance_norm=nn.InstanceNorm(epsilon=EPSILON),
        batch_norm=nn.BatchNorm(use_running_average=False, epsilon=EPSILON),
        batch_norm_slow=nn.BatchNorm(
            use_running_average=False, epsilon=EPSILON, use_fast_variance=False),
        batch_norm_eval=nn.BatchNorm(use_running_average=True, epsilon=10.0),
    )),
    *table("linen", BS4, _rows(
        grad=True,
        group_norm=nn.GroupNorm(num_groups=2, epsilon=EPSILON),
        layer_norm=nn.LayerNorm(epsilon=EPSILON),
    )),
    # Of a single position the gradient is zero, and what is computed is rounding.
    *table("linen", BS4, _rows(
        grad=True, batch_norm=nn.BatchNorm(use_running_average=False, epsilon=EPSILON),
    ), constraints=("s >= 2",)),
]  # fmt: skip


def _conv(spatial: int, transposed: bool = False, **options: Any) -> Callable[..., Any]:
    """A convolution of kernel size 3, and its value at one example of so many axes."""
    kind = nn.ConvTranspose if transposed else nn.Conv
    channels = 4 if spatial == 1 else 2
    options = {"kernel_size": (3,) * spatial, **options}
    return _layer(kind(2, **options), (1, *(5,) * spatial, channels))


CONVOLUTIONS = [
    *table("linen", ROW, {
        **{f"conv_{p.lower()}": _conv(1, padding=p) for p in ("SAME", "CIRCULAR", "CAUSAL")},
        "conv_strided": _conv(1, strides=2),
        "conv_dilated": _conv(1, kernel_dilation=2),
        "conv_grouped": _conv(1, feature_group_count=2),
        "conv_circular_strided": _conv(1, padding="CIRCULAR", strides=2, kernel_size=(2,)),
        "conv_causal_dilated": _conv(1, padding="CAUSAL", kernel_dilation=2),
        "conv_transpose": _conv(1, True, strides=(2,)),
        "conv_transpose_circular": _conv(1, True, strides=(2,), padding="CIRCULAR"),
        "conv_grad": jax.grad(lambda x: (_conv(1, strides=2)(x)[0] ** 2).sum()),
    }, bucket=SMALL),
    *table("linen", ROW, {
        "conv_valid": _conv(1, padding="VALID"),
        "conv_reflect": _conv(1, padding="REFLECT"),
        "conv_local": _conv(1, padding=[(1, 0)]),
    }, bucket=SMALL, constraints=("n >= 3",)),
    *table("linen", IMAGE, {
        **{f"conv2d_{p.lower()}": _conv(2, padding=p) for p in ("SAME", "CIRCULAR")},
        "conv2d_strided": _conv(2, strides=(2, 1)),
        "conv2d_depthwise": _conv(2, feature_group_count=2),
        "conv2d_transpose": _conv(2, True, strides=(2, 2)),
        "conv2d_reflect": _conv(2, padding="REFLECT"),
        "max_pool": lambda x: nn.max_pool(x, (2, 2), (2, 2), "SAME"),
        "avg_pool": lambda x: nn.avg_pool(x, (3, 2), (2, 2), "SAME", count_include_pad=False),
    }, bucket=SMALL, constraints=("n >= 2",)),
    *table("linen", VOLUME, {
        "conv3d": _conv(3),
        "conv3d_strided": _conv(3, strides=2, padding="CIRCULAR"),
        "avg_pool3d": lambda x: nn.avg_pool(x, (2, 2, 2), (2, 1, 2), "SAME"),
    }, bucket=SMALL),
]  # fmt: skip


def _recurrent(model: nn.Module) -> Callable[..., Any]:
    def apply(x: jax.Array, lengths: jax.Array) -> jax.Array:
        variables = random_parameters(model, np.zeros((1, 2, 4), np.float32))
        lengths = jnp.minimum(lengths + jnp.arange(x.shape[0]), x.shape[1])
        return model.apply(variables, x, seq_lengths=lengths)

    return apply


class _Image(nn.Module):
    """A convolutional LSTM over frames: [2, n, 3, 3, 2]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.RNN(nn.ConvLSTMCell(2, (2, 2)))(x)


RECURRENT = [
    *table("linen", BS4, _rows(
        rnn_simple=nn.RNN(nn.SimpleCell(3)),
        rnn_lstm=nn.RNN(nn.LSTMCell(3)),
        rnn_gru=nn.RNN(nn.GRUCell(3), return_carry=True),
        rnn_mgu=nn.RNN(nn.MGUCell(3), reverse=True),
        rnn_bidirectional=nn.Bidirectional(nn.RNN(nn.GRUCell(3)), nn.RNN(nn.GRUCell(3))),
    ), bucket=SMALL),
    *table("linen", (BS4, LENGTHS), {
        "rnn_lengths": _recurrent(nn.RNN(nn.SimpleCell(3), return_carry=True)),
        "rnn_lengths_reverse": _recurrent(nn.RNN(nn.GRUCell(3), reverse=True, keep_order=True)),
        "rnn_bidirectional_lengths": _recurrent(
            nn.Bidirectional(nn.RNN(nn.SimpleCell(3)), nn.RNN(nn.SimpleCell(3)))),
    }, bucket={"b": 9, "s": 9}),
    Harness("linen_conv_lstm", _layer(_Image(), (1, 2, 3, 3, 2)), (Arg("2, n, 3, 3, 2"),),
            bucket=SMALL),
]  # fmt: skip


class _Layers(nn.Module):
    """Three layers with one code: scanned over their parameters, each rematerialised."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scanned = nn.scan(
            nn.remat(_Residual), variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )
        return scanned()(x, None)[0]


class _Residual(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, _: Any) -> tuple[jax.Array, None]:
        return x + nn.Dense(4)(jnp.tanh(x - x.mean(1, keepdims=True))), None


class _Experts(nn.Module):
    """Two dense layers in parallel, lifted by ``vmap``, mixed by a gate."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        experts = nn.vmap(
            nn.Dense, variable_axes={"params": 0}, split_rngs={"params": True},
            in_axes=None, out_axes=-1, axis_size=2,
        )(3)  # fmt: skip
        return jnp.einsum("bsde,bse->bsd", experts(x), nn.softmax(nn.Dense(2)(x)))


class _Decoder(nn.Module):
    """Embedded tokens through causal attention, and back through the embedding."""

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        embed = nn.Embed(12, 4)
        x = embed(tokens)
        mask = nn.make_causal_mask(tokens)
        return embed.attend(x + nn.MultiHeadDotProductAttention(2)(x, mask=mask))


_ATTENTION = nn.MultiHeadDotProductAttention(num_heads=2)

MODELS = [
    *table("linen", BS4, {
        **_rows(
            attention=_ATTENTION,
            attention_normalised=nn.MultiHeadDotProductAttention(2, normalize_qk=True),
            scanned_layers=_Layers(),
            lifted_vmap=_Experts(),
        ),
        **_rows(grad=True, attention=_ATTENTION, scanned_layers=_Layers()),
        "dropout": lambda x: nn.Dropout(0.4, deterministic=False).apply(
            {}, x, rngs={"dropout": jax.random.key(1)}),
        "dropout_broadcast": lambda x: nn.Dropout(0.4, (1,), deterministic=False).apply(
            {}, x, rngs={"dropout": jax.random.key(1)}),
    }, bucket=SMALL),
    Harness("linen_attention_mask", lambda x, m: _layer(_ATTENTION, (1, 2, 4), mask=m)(x),
            (BS4, MASK), bucket=SMALL),
    *table("linen", IDS, {
        "embed": _layer(nn.Embed(12, 4), (1, 2), dtype=np.int32),
        "decoder": _layer(_Decoder(), (1, 2), dtype=np.int32),
        "masks": lambda i: (nn.make_attention_mask(i > 2, i > 5), nn.make_causal_mask(i),
                            nn.combine_masks(nn.make_causal_mask(i), nn.make_attention_mask(i, i))),
    }, bucket=SMALL),
]  # fmt: skip


def _twin(make: Callable[[nnx.Rngs], Any]) -> Callable[..., Any]:
    """A module of ``flax.nnx`` with random parameters; gives its output and its new state."""

    def fill(leaf: Any) -> Any:
        rng = np.random.default_rng(0)
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        return jnp.asarray(rng.uniform(0.1, 1.0, leaf.shape).astype(leaf.dtype))

    def apply(x: jax.Array) -> Any:
        graph, state = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
        module = nnx.merge(graph, jax.tree.map(fill, state))
        return module(x), jax.tree.leaves(nnx.state(module, nnx.BatchStat))

    return apply


NNX = [
    *table("nnx", BS4, {
        "linear": _twin(lambda r: nnx.Linear(4, 3, rngs=r)),
        "linear_general": _twin(lambda r: nnx.LinearGeneral(4, (2, 3), rngs=r)),
        "einsum": _twin(lambda r: nnx.Einsum("abc,cd->abd", (4, 3), (3,), rngs=r)),
        "layer_norm": _twin(lambda r: nnx.LayerNorm(4, epsilon=EPSILON, rngs=r)),
        "rms_norm": _twin(lambda r: nnx.RMSNorm(4, rngs=r)),
        "group_norm": _twin(lambda r: nnx.GroupNorm(4, num_groups=2, epsilon=EPSILON, rngs=r)),
        "instance_norm": _twin(lambda r: nnx.InstanceNorm(4, epsilon=EPSILON, rngs=r)),
        "batch_norm": _twin(lambda r: nnx.BatchNorm(4, epsilon=EPSILON, rngs=r)),
        "conv_causal": _twin(lambda r: nnx.Conv(4, 3, 3, padding="CAUSAL", rngs=r)),
        "conv_circular": _twin(lambda r: nnx.Conv(4, 3, 3, padding="CIRCULAR", rngs=r)),
        "conv_transpose": _twin(lambda r: nnx.ConvTranspose(4, 3, 3, strides=2, rngs=r)),
        "attention": _twin(lambda r: nnx.MultiHeadAttention(2, 4, decode=False, rngs=r)),
        "rnn": _twin(lambda r: nnx.RNN(nnx.SimpleCell(4, 3, rngs=r), rngs=r)),
        "lstm": _twin(lambda r: nnx.RNN(nnx.OptimizedLSTMCell(4, 3, rngs=r), rngs=r)),
    }, bucket=SMALL),
    Harness("nnx_embed", _twin(lambda r: nnx.Embed(12, 4, rngs=r)), (IDS,)),
]  # fmt: skip

HARNESSES = [*DENSE, *NORMS, *CONVOLUTIONS, *RECURRENT, *MODELS, *NNX]
