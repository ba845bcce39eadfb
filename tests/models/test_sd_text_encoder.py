"""The text encoder against `transformers`, its parameter counts, checkpoints, and any length."""

from __future__ import annotations

import dataclasses
import math

import jax
import numpy as np
import pytest

from models import load, sd_text_encoder
from tests.models.dynamic import check_dynamic
from tests.quick import QUICK, last_of

TINY = sd_text_encoder.SIZES["tiny"]


@pytest.fixture(scope="module")
def hf_model():
    """CLIPTextModel with every parameter random, biases and norms too."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPTextConfig(
        vocab_size=TINY.vocab_size,
        hidden_size=TINY.features,
        intermediate_size=TINY.mlp,
        num_hidden_layers=TINY.layers,
        num_attention_heads=TINY.heads,
        max_position_embeddings=TINY.positions,
        bos_token_id=TINY.bos_id,
        eos_token_id=TINY.eos_id,
        pad_token_id=TINY.eos_id,
    )
    model = transformers.CLIPTextModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model


@pytest.fixture(scope="module")
def state(hf_model):
    return {name: tensor.numpy() for name, tensor in hf_model.state_dict().items()}


def run(params, ids):
    apply = jax.jit(sd_text_encoder.TextEncoder(TINY).apply, compiler_options=QUICK)
    return apply({"params": params}, ids)


# Against transformers


@pytest.mark.parametrize(("b", "s"), last_of((1, 5), (1, 1), (2, 16), (3, 11)))
def test_equals_transformers(hf_model, state, b, s):
    import torch

    (ids,) = load("sd_text_encoder").inputs(np.random.default_rng(s), b=b, s=s)
    with torch.no_grad():
        expected = hf_model(torch.from_numpy(ids).long())
    hidden, pooled = run(sd_text_encoder.from_state_dict(state, TINY), ids)
    np.testing.assert_allclose(hidden, expected.last_hidden_state, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pooled, expected.pooler_output, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["text_model.", "cond_stage_model.transformer.text_model."])
def test_checkpoints_that_hold_more_load_too(state, prefix):
    dressed = {prefix + name: tensor for name, tensor in state.items()}
    dressed |= {
        f"{prefix}embeddings.position_ids": np.arange(TINY.positions)[None],
        "text_projection.weight": np.zeros((32, 32), np.float32),
        "vision_model.embeddings.class_embedding": np.zeros(32, np.float32),
    }
    jax.tree.map(
        np.testing.assert_array_equal,
        sd_text_encoder.from_state_dict(dressed, TINY),
        sd_text_encoder.from_state_dict(state, TINY),
    )


def test_checkpoint_file_loads(tmp_path, state):
    numpy_api = pytest.importorskip("safetensors.numpy")
    numpy_api.save_file(state, tmp_path / "model.safetensors")
    jax.tree.map(
        np.testing.assert_array_equal,
        load("sd_text_encoder", weights=tmp_path).params,
        sd_text_encoder.from_state_dict(state, TINY),
    )


# Parameters and inputs


@pytest.mark.parametrize(("size", "expected"), [("tiny", 20_832), ("full", 123_060_480)])
def test_parameter_counts_are_the_published_ones(size, expected):
    shapes = sd_text_encoder.param_shapes(sd_text_encoder.SIZES[size])
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == expected


def test_inputs_are_texts_between_their_special_tokens():
    (ids,) = load("sd_text_encoder").inputs(np.random.default_rng(0), b=8, s=12)
    assert ids.shape == (8, 12) and ids.dtype == np.int32
    assert (ids[:, 0] == TINY.bos_id).all() and (ids[:, -1] == TINY.eos_id).all()
    first_end = np.argmax(ids == TINY.eos_id, axis=1)
    assert first_end.max() == 11
    for row, end in zip(ids, first_end, strict=True):
        assert (row[1:end] < TINY.bos_id).all() and (row[end:] == TINY.eos_id).all()


def test_texts_over_the_maximum_are_refused():
    with pytest.raises(ValueError, match="up to 16 tokens, got 17"):
        load("sd_text_encoder").inputs(np.random.default_rng(0), b=1, s=17)


def test_padding_after_a_text_changes_nothing():
    model = load("sd_text_encoder")
    (ids,) = model.inputs(np.random.default_rng(0), b=2, s=9)
    padded = np.pad(ids, ((0, 0), (0, 7)), constant_values=TINY.eos_id)
    short, pooled = run(model.params, ids)
    longer, pooled_padded = run(model.params, padded)
    np.testing.assert_allclose(longer[:, :9], short, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pooled_padded, pooled, rtol=1e-4, atol=1e-5)


# Any length

SIZES = [{"b": 1 + s % 4, "s": s} for s in (1, 2, 3, 5, 7, 8, 9, 10, 12, 14, 15, 16)]


def test_any_length_from_few_executables():
    stats = check_dynamic(load("sd_text_encoder"), SIZES, {"b": (4,), "s": (9, 16)})
    assert stats.compiles == 2


def test_pooled_token_at_any_length():
    module = sd_text_encoder.TextEncoder(TINY)
    model = dataclasses.replace(
        load("sd_text_encoder"), fun=lambda params, ids: module.apply({"params": params}, ids)
    )
    assert check_dynamic(model, SIZES[::4], {"b": (4,), "s": (16,)}).compiles == 1


@pytest.mark.slow
def test_full_size():
    model = load("sd_text_encoder", "full")
    check_dynamic(model, [{"b": 1, "s": 7}, {"b": 2, "s": 77}], {"b": (2,), "s": (77,)})
