"""The suite of a folder that has none: a small encoder in plain JAX on random tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax.bench.suite import Inputs, Suite, SuiteFile, pad_tokens, trim_tokens

PAD_TOKEN = 0


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the encoder; `width` is divided among `heads`."""

    layers: int
    width: int
    heads: int
    hidden: int
    vocabulary: int
    max_length: int


CONFIGS = {
    "tiny": EncoderConfig(1, 32, 2, 64, 128, 64),
    "small": EncoderConfig(2, 128, 4, 512, 4096, 256),
}


def encoder(params: Any, ids: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """A pre-norm transformer encoder: ids[b, s], optional mask[b, s] -> states[b, s, d]."""
    x = embedded(params, ids)
    for layer in params["layers"]:
        x = block(layer, x, mask)
    return normalise(x)
    return normalise(x)


def embedded(params: Any, ids: jax.Array) -> jax.Array:
    """Tokens at their positions: ids[b, s] -> states[b, s, d]."""
    return params["tokens"][ids] + params["positions"][: ids.shape[1]][None]


def block(layer: Any, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """One layer: states[b, s, d] -> states[b, s, d]."""
    x = x + _attention(layer, normalise(x), mask)
    return x + jax.nn.gelu(normalise(x) @ layer["up"]) @ layer["down"]


def _attention(layer: Any, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    query, key, value = jnp.einsum("bsd,ndhk->nbshk", x, layer["qkv"])
    scores = jnp.einsum("bshk,bthk->bhst", query, key) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = jnp.where(mask[:, None, None, :] != 0, scores, -1e9)
    mixed = jnp.einsum("bhst,bthk->bshk", jax.nn.softmax(scores), value)
    return jnp.einsum("bshk,hkd->bsd", mixed, layer["out"])


def normalise(x: jax.Array) -> jax.Array:
    """States of mean 0 and variance 1."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def init(config: EncoderConfig, rng: np.random.Generator) -> Any:
    """Weights scaled by their fan-in, so that states stay of order 1."""
    width, heads = config.width, config.heads

    def weight(*shape: int, fan_in: int) -> np.ndarray:
        return (rng.standard_normal(shape) / fan_in**0.5).astype(np.float32)

    layers = [
        {
            "qkv": weight(3, width, heads, width // heads, fan_in=width),
            "out": weight(heads, width // heads, width, fan_in=width),
            "up": weight(width, config.hidden, fan_in=width),
            "down": weight(config.hidden, width, fan_in=config.hidden),
        }
        for _ in range(config.layers)
    ]
    return {
        "tokens": weight(config.vocabulary, width, fan_in=1),
        "positions": weight(config.max_length, width, fan_in=1),
        "layers": layers,
    }


def _request(config: EncoderConfig, batch: int, rng: np.random.Generator) -> Inputs:
    """Random rows of random lengths; several rows are padded to the longest, with a mask."""
    lengths = rng.integers(4, config.max_length, size=batch, endpoint=True)
    longest = int(lengths.max())
    ids = rng.integers(1, config.vocabulary, size=(batch, longest), dtype=np.int32)
    if batch == 1:
        return (ids,)
    mask = (np.arange(longest) < lengths[:, None]).astype(np.int32)
    return np.where(mask == 1, ids, PAD_TOKEN).astype(np.int32), mask


def build(size: str, *, batch: int, requests: int, seed: int, weights: Path | None = None) -> Suite:
    """Builds the built-in suite; it has no weights to load."""
    del weights
    config = CONFIGS[size]
    rng = np.random.default_rng(seed)
    return Suite(
        name="encoder",
        fun=encoder,
        params=jax.device_put(init(config, rng)),
        requests=[_request(config, batch, rng) for _ in range(requests)],
        shapes=(None, "_, s") if batch == 1 else (None, "_, s", "_, s"),
        constraints=(f"s <= {config.max_length}",),
        maximum={"s": config.max_length},
        dims=lambda inputs: {"s": inputs[0].shape[1]},
        pad=lambda inputs, sizes: pad_tokens(inputs, sizes["s"], PAD_TOKEN),
        trim=trim_tokens,
    )


SUITE = SuiteFile(
    about="small built-in encoder, random tokens of random lengths",
    sizes=tuple(CONFIGS),
    default_size="small",
    quick_size="tiny",
    takes_weights=False,
    build=build,
)
