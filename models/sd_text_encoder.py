"""Stable Diffusion's text encoder: the text model of CLIP ViT-L/14, written for exact shapes.

Architecture and parameter names follow `transformers.CLIPTextModel`. A token sees only those
before it, so that the padding after a text changes nothing in it: there is no mask to give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import source_code
from models.attention import SelfAttention
from models.base import Model, random_params
from models.checkpoint import fit, read_state_dict, torch_kind

_QUICK_GELU_SLOPE = 1.702


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of the encoder; the last two ids of the vocabulary begin and end a text."""

    vocab_size: int
    features: int
    layers: int
    heads: int
    mlp: int
    positions: int

    @property
    def bos_id(self) -> int:
        return self.vocab_size - 2

    @property
    def eos_id(self) -> int:
        """Ends a text, and pads it too."""
        return self.vocab_size - 1


SIZES = {
    "tiny": TextEncoderConfig(99, features=32, layers=2, heads=4, mlp=64, positions=16),
    "small": TextEncoderConfig(8192, features=256, layers=4, heads=4, mlp=1024, positions=77),
    "full": TextEncoderConfig(49408, features=768, layers=12, heads=12, mlp=3072, positions=77),
}


def _layer_norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-5, name=name)


class Layer(nn.Module):
    """Pre-norm transformer layer on [b, s, d]."""

    config: TextEncoderConfig

    @nn.compact
    def __call__(self, x: jax.Array, bias: jax.Array) -> jax.Array:
        attention = SelfAttention(self.config.heads, name="attention")
        x = x + attention(_layer_norm("attention_norm")(x), bias)
        hidden = nn.Dense(self.config.mlp, name="up")(_layer_norm("mlp_norm")(x))
        hidden = hidden * nn.sigmoid(_QUICK_GELU_SLOPE * hidden)
        return x + nn.Dense(self.config.features, name="down")(hidden)


class TextEncoder(nn.Module):
    """Token ids, int [b, s], to hidden states.

    Returns:
      The last hidden state, float32 [b, s, d], and that of the first end-of-text token of each
      row, float32 [b, d]; of the first token where a row has none.
    """

    config: TextEncoderConfig

    @nn.compact
    def __call__(self, input_ids: jax.Array) -> tuple[jax.Array, jax.Array]:
        config = self.config
        tokens = nn.Embed(config.vocab_size, config.features, name="token_embedding")
        positions = nn.Embed(config.positions, config.features, name="position_embedding")
        length = input_ids.shape[1]
        x = tokens(input_ids) + positions.embedding[:length][None]

        place = jnp.arange(length)
        seen = place[:, None] >= place[None, :]
        bias = jnp.where(seen, 0.0, jnp.finfo(x.dtype).min)[None, None]
        for i in range(config.layers):
            x = Layer(config, name=f"layer_{i}")(x, bias)
        x = _layer_norm("final_norm")(x)

        end = jnp.argmax(input_ids == config.eos_id, axis=1)
        return x, jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]


def param_shapes(config: TextEncoderConfig) -> Any:
    """The parameter tree as `jax.ShapeDtypeStruct`s; nothing is computed."""
    ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    return jax.eval_shape(TextEncoder(config).init, jax.random.key(0), ids)["params"]


def build(size: str, *, weights: str | Path | None, seed: int) -> Model:
    """The text encoder at one of `SIZES`; see `models.load`.

    `fun` returns the last hidden state, float32 [b, s, d]: what images are conditioned on.
    """
    config = SIZES[size]
    module = TextEncoder(config)

    def sd_text_encoder(params: Any, input_ids: jax.Array) -> Any:
        return module.apply({"params": params}, input_ids)[0]

    def inputs(rng: np.random.Generator, *, b: int, s: int) -> tuple[np.ndarray, ...]:
        if s > config.positions:
            raise ValueError(
                f"sd_text_encoder {size} reads up to {config.positions} tokens, got {s}"
            )
        ids, _ = source_code.padded_batch(rng, b, s, config.vocab_size)
        return (clip_ids(ids, config),)

    if weights is None:
        params = random_params(param_shapes(config), seed)
    else:
        params = from_state_dict(read_state_dict(weights), config)
    return Model(
        name="sd_text_encoder",
        size=size,
        fun=sd_text_encoder,
        params=params,
        shapes=(None, "b, s"),
        constraints=(f"s <= {config.positions}",),
        inputs=inputs,
    )


def clip_ids(ids: np.ndarray, config: TextEncoderConfig) -> np.ndarray:
    """Ids of `models.source_code` in CLIP's order: special tokens last, end of text as padding."""
    special = np.array([config.bos_id, config.eos_id, config.eos_id], np.int32)
    first = len(special)
    return np.where(ids < first, special[np.minimum(ids, first - 1)], ids - np.int32(first))


_MODULE_NAMES = {
    "token_embedding": "embeddings.token_embedding",
    "position_embedding": "embeddings.position_embedding",
    "final_norm": "final_layer_norm",
}
_LAYER_MODULE_NAMES = {
    "attention_norm": "layer_norm1",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
    "mlp_norm": "layer_norm2",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
}
_PREFIXES = ("cond_stage_model.transformer.", "text_model.")
_PARTS = ("embeddings.", "encoder.", "final_layer_norm.")
_BUFFER = "embeddings.position_ids"


def from_state_dict(state: Mapping[str, np.ndarray], config: TextEncoderConfig) -> Any:
    """Parameters from the tensors of a CLIP, CLIP text or Stable Diffusion checkpoint.

    Names may begin with "text_model.", or with "cond_stage_model.transformer.text_model.";
    everything that is not of the text model, and the projection on top of it, is left out.

    Raises:
      ValueError: naming every tensor of the text model that is missing, of another shape than the
        configuration's, or unknown to it.
    """
    plain = {_without_prefixes(name): tensor for name, tensor in state.items()}
    tensors = {n: t for n, t in plain.items() if n.startswith(_PARTS) and n != _BUFFER}
    return fit(tensors, param_shapes(config), _torch_name)


def _without_prefixes(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _torch_name(path: tuple[str, ...]) -> str:
    module, *rest = path[:-1]
    if not module.startswith("layer_"):
        return f"{_MODULE_NAMES[module]}.{torch_kind(path)}"
    index = module.removeprefix("layer_")
    return f"encoder.layers.{index}.{_LAYER_MODULE_NAMES['.'.join(rest)]}.{torch_kind(path)}"
