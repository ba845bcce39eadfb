"""CodeBERT: the RoBERTa encoder in flax, written for exact shapes.

Architecture and parameter names follow `transformers.RobertaModel` in evaluation mode. The only
padding it knows is RoBERTa's own: pad tokens keep the padding position, and an attention mask,
where one is given, hides them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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

PAD_ID = source_code.PAD_ID


@dataclass(frozen=True)
class CodeBertConfig:
    """Sizes of the encoder; `pooler` adds the tanh layer over the first token."""

    vocab_size: int
    features: int
    layers: int
    heads: int
    ffn: int
    positions: int
    pooler: bool = True

    @property
    def max_length(self) -> int:
        """Longest input in tokens: positions up to and including the padding one are taken."""
        return self.positions - PAD_ID - 1


SIZES = {
    "tiny": CodeBertConfig(99, features=32, layers=2, heads=4, ffn=64, positions=66),
    "small": CodeBertConfig(8192, features=256, layers=4, heads=4, ffn=1024, positions=514),
    "base": CodeBertConfig(50265, features=768, layers=12, heads=12, ffn=3072, positions=514),
}


def _layer_norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-5, name=name)


class Layer(nn.Module):
    """Post-norm transformer layer on [b, s, d]."""

    config: CodeBertConfig

    @nn.compact
    def __call__(self, x: jax.Array, bias: jax.Array | None) -> jax.Array:
        attended = SelfAttention(self.config.heads, name="attention")(x, bias)
        x = _layer_norm("attention_norm")(x + attended)
        hidden = nn.gelu(nn.Dense(self.config.ffn, name="intermediate")(x), approximate=False)
        return _layer_norm("output_norm")(x + nn.Dense(self.config.features, name="output")(hidden))


class CodeBert(nn.Module):
    """The encoder: token ids to hidden states.

    Args of the call:
      input_ids: int [b, s].
      attention_mask: int or bool [b, s], 1 where a token may be attended to; None for all.

    Returns:
      The last hidden state, float32 [b, s, d]; with `config.pooler` a pair of it and the pooled
      first token, float32 [b, d].
    """

    config: CodeBertConfig

    @nn.compact
    def __call__(
        self, input_ids: jax.Array, attention_mask: jax.Array | None = None
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        x = self._embed(input_ids)
        bias = None
        if attention_mask is not None:
            attend = attention_mask[:, None, None, :].astype(bool)
            bias = jnp.where(attend, 0.0, jnp.finfo(x.dtype).min)
        for i in range(self.config.layers):
            x = Layer(self.config, name=f"layer_{i}")(x, bias)
        if not self.config.pooler:
            return x
        return x, nn.tanh(nn.Dense(self.config.features, name="pooler")(x[:, 0]))

    def _embed(self, input_ids: jax.Array) -> jax.Array:
        config = self.config
        is_token = (input_ids != PAD_ID).astype(jnp.int32)
        position_ids = jnp.cumsum(is_token, axis=1) * is_token + PAD_ID
        words = nn.Embed(config.vocab_size, config.features, name="word_embeddings")
        positions = nn.Embed(config.positions, config.features, name="position_embeddings")
        token_types = nn.Embed(1, config.features, name="token_type_embeddings")
        # RoBERTa has one token type: its row is added to every token.
        x = words(input_ids) + positions(position_ids) + token_types(jnp.zeros((1, 1), jnp.int32))
        return _layer_norm("embeddings_norm")(x)


def param_shapes(config: CodeBertConfig) -> Any:
    """The parameter tree as `jax.ShapeDtypeStruct`s; nothing is computed."""
    ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    return jax.eval_shape(CodeBert(config).init, jax.random.key(0), ids)["params"]


def build(size: str, *, weights: str | Path | None, seed: int) -> Model:
    """CodeBERT at one of `SIZES`; see `models.load`.

    The parameters are all of RobertaModel's, the pooler's too where the checkpoint has one; `fun`
    returns the last hidden state, float32 [b, s, d].
    """
    config = SIZES[size]
    state = None if weights is None else read_state_dict(weights)
    if state is not None and not any("pooler." in name for name in state):
        config = replace(config, pooler=False)
    module = CodeBert(config)

    def codebert(params: Any, input_ids: jax.Array, attention_mask: jax.Array | None = None) -> Any:
        out = module.apply({"params": params}, input_ids, attention_mask)
        return out[0] if config.pooler else out

    def inputs(rng: np.random.Generator, *, b: int, s: int) -> tuple[np.ndarray, ...]:
        if s > config.max_length:
            raise ValueError(f"codebert {size} reads up to {config.max_length} tokens, got {s}")
        return source_code.padded_batch(rng, b, s, config.vocab_size)

    if state is None:
        params = random_params(param_shapes(config), seed)
    else:
        params = from_state_dict(state, config)
    return Model(
        name="codebert",
        size=size,
        fun=codebert,
        params=params,
        shapes=(None, "b, s", "b, s"),
        constraints=(f"s <= {config.max_length}",),
        inputs=inputs,
    )


_MODULE_NAMES = {
    "word_embeddings": "embeddings.word_embeddings",
    "position_embeddings": "embeddings.position_embeddings",
    "token_type_embeddings": "embeddings.token_type_embeddings",
    "embeddings_norm": "embeddings.LayerNorm",
    "pooler": "pooler.dense",
}
_LAYER_MODULE_NAMES = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
_ENCODER_PARTS = ("embeddings.", "encoder.", "pooler.")
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")


def from_state_dict(state: Mapping[str, np.ndarray], config: CodeBertConfig) -> Any:
    """Parameters from the tensors of a Hugging Face RoBERTa or CodeBERT checkpoint.

    Names may begin with "roberta."; heads on top of the encoder are left out, and so is the
    pooler unless `config.pooler`.

    Raises:
      ValueError: naming every tensor of the encoder that is missing, of another shape than the
        configuration's, or unknown to it.
    """
    tensors = _encoder_tensors(state)
    if not config.pooler:
        tensors = {name: t for name, t in tensors.items() if not name.startswith("pooler.")}
    return fit(tensors, param_shapes(config), _torch_name)


def _encoder_tensors(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    plain = {name.removeprefix("roberta."): tensor for name, tensor in state.items()}
    return {
        name: tensor
        for name, tensor in plain.items()
        if name.startswith(_ENCODER_PARTS) and name not in _BUFFERS
    }


def _torch_name(path: tuple[str, ...]) -> str:
    module, *rest = path[:-1]
    if not module.startswith("layer_"):
        return f"{_MODULE_NAMES[module]}.{torch_kind(path)}"
    index = module.removeprefix("layer_")
    return f"encoder.layer.{index}.{_LAYER_MODULE_NAMES['.'.join(rest)]}.{torch_kind(path)}"
