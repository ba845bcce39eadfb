"""CodeBERT against `transformers`, its parameter counts, checkpoints and symbolic trace."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import codebert, load
from models.checkpoint import read_state_dict
from tests.quick import last_of

TINY = codebert.SIZES["tiny"]
WITHOUT_POOLER = dataclasses.replace(TINY, pooler=False)
SHAPES = last_of((1, 7), (1, 64), (3, 33))


def hf_config():
    transformers = pytest.importorskip("transformers")
    return transformers.RobertaConfig(
        vocab_size=TINY.vocab_size,
        hidden_size=TINY.features,
        num_hidden_layers=TINY.layers,
        num_attention_heads=TINY.heads,
        intermediate_size=TINY.ffn,
        max_position_embeddings=TINY.positions,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )


@pytest.fixture(scope="module")
def hf_model():
    """RobertaModel with every parameter random, biases and norms too."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.RobertaModel(hf_config()).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Embeddings stay small, as trained ones are: the norm's epsilon then matters.
            std = 0.02 if name.endswith("embeddings.weight") else 0.3
            parameter.normal_(std=std, generator=generator)
    return model


@pytest.fixture(scope="module")
def state(hf_model):
    return {name: tensor.numpy() for name, tensor in hf_model.state_dict().items()}


def random_state(config: codebert.CodeBertConfig) -> dict[str, np.ndarray]:
    """A checkpoint in Hugging Face's names and shapes, written out by hand."""
    d, ffn = config.features, config.ffn
    shapes = {
        "embeddings.word_embeddings.weight": (config.vocab_size, d),
        "embeddings.position_embeddings.weight": (config.positions, d),
        "embeddings.token_type_embeddings.weight": (1, d),
        "embeddings.LayerNorm.weight": (d,),
        "embeddings.LayerNorm.bias": (d,),
        "pooler.dense.weight": (d, d),
        "pooler.dense.bias": (d,),
    }
    for i in range(config.layers):
        layer = f"encoder.layer.{i}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value"):
            shapes |= {f"{layer}.{part}.weight": (d, d), f"{layer}.{part}.bias": (d,)}
        for part, inputs in (("attention.output", d), ("output", ffn)):
            shapes |= {
                f"{layer}.{part}.dense.weight": (d, inputs),
                f"{layer}.{part}.dense.bias": (d,),
                f"{layer}.{part}.LayerNorm.weight": (d,),
                f"{layer}.{part}.LayerNorm.bias": (d,),
            }
        shapes |= {
            f"{layer}.intermediate.dense.weight": (ffn, d),
            f"{layer}.intermediate.dense.bias": (ffn,),
        }
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def assert_same_tree(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def count(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def token_ids(rng: np.random.Generator, b: int, s: int) -> np.ndarray:
    return rng.integers(3, TINY.vocab_size, size=(b, s), dtype=np.int32)


def ragged_mask(rng: np.random.Generator, b: int, s: int) -> np.ndarray:
    lengths = rng.integers(1, s + 1, size=b)
    return (np.arange(s) < lengths[:, None]).astype(np.int32)


# Against transformers


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("b", "s"), SHAPES)
def test_equals_transformers(hf_model, state, b, s, masked):
    import torch

    rng = np.random.default_rng(s)
    ids = token_ids(rng, b, s)
    mask = ragged_mask(rng, b, s) if masked else None
    if mask is not None:
        ids = np.where(mask == 1, ids, codebert.PAD_ID)

    with torch.no_grad():
        expected = hf_model(
            torch.from_numpy(ids).long(),
            attention_mask=None if mask is None else torch.from_numpy(mask),
        )
    params = codebert.from_state_dict(state, TINY)
    apply = jax.jit(codebert.CodeBert(TINY).apply)
    hidden, pooled = apply({"params": params}, ids, mask)

    np.testing.assert_allclose(hidden, expected.last_hidden_state, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pooled, expected.pooler_output, rtol=1e-4, atol=1e-5)


def test_transformers_with_a_head_loads_too(state):
    transformers = pytest.importorskip("transformers")
    with_head = transformers.RobertaForMaskedLM(hf_config())
    with_head.roberta.load_state_dict(
        {k: v for k, v in torch_state(state).items() if not k.startswith("pooler")}
    )
    named = {name: tensor.numpy() for name, tensor in with_head.state_dict().items()}
    assert any(name.startswith("lm_head.") for name in named)
    assert_same_tree(
        codebert.from_state_dict(named, WITHOUT_POOLER),
        codebert.from_state_dict(state, WITHOUT_POOLER),
    )


def torch_state(state: dict[str, np.ndarray]):
    import torch

    return {name: torch.from_numpy(tensor.copy()) for name, tensor in state.items()}


# Parameters


@pytest.mark.parametrize(
    ("size", "pooler", "expected"),
    [
        ("tiny", False, 22_464),
        ("tiny", True, 23_520),
        ("base", False, 124_055_040),
        ("base", True, 124_645_632),
    ],
)
def test_parameter_counts_are_the_published_ones(size, pooler, expected):
    config = dataclasses.replace(codebert.SIZES[size], pooler=pooler)
    assert count(codebert.param_shapes(config)) == expected


def test_random_params_are_float32_and_follow_the_seed():
    first, again, other = (load("codebert", seed=seed).params for seed in (1, 1, 2))
    assert {leaf.dtype for leaf in jax.tree.leaves(first)} == {jnp.dtype("float32")}
    assert_same_tree(first, again)
    kernel = ("layer_0", "intermediate", "kernel")
    drawn, differs = (tree[kernel[0]][kernel[1]][kernel[2]] for tree in (first, other))
    assert not np.array_equal(drawn, differs)
    assert 0.018 < np.std(drawn) < 0.022


# Masks, padding, symbolic shapes


def test_padded_and_masked_rows_equal_exact_ones():
    model = load("codebert")
    rng = np.random.default_rng(0)
    ids, mask = model.inputs(rng, b=3, s=40)
    fun = jax.jit(model.fun)
    padded = fun(model.params, ids, mask)
    for row, length in enumerate(mask.sum(axis=1)):
        exact = fun(model.params, ids[row : row + 1, :length])
        np.testing.assert_allclose(padded[row, :length], exact[0], rtol=1e-4, atol=1e-5)


def test_bool_mask_equals_int_mask():
    model = load("codebert")
    ids, mask = model.inputs(np.random.default_rng(0), b=2, s=12)
    fun = jax.jit(model.fun)
    np.testing.assert_array_equal(
        fun(model.params, ids, mask), fun(model.params, ids, mask.astype(bool))
    )


@pytest.mark.parametrize("masked", [False, True])
def test_traces_with_symbolic_shapes(masked):
    model = load("codebert")
    b, s = jax.export.symbolic_shape("b, s", constraints=model.constraints)
    ids = jax.ShapeDtypeStruct((b, s), jnp.int32)
    traced = jax.jit(model.fun).trace(model.params, ids, ids if masked else None)
    assert traced.out_info.shape == (b, s, TINY.features)


def test_specs_fit_the_inputs():
    model = load("codebert")
    args = (model.params, *model.inputs(np.random.default_rng(0), b=2, s=9))
    specs = jax.export.symbolic_args_specs(args, model.shapes, constraints=model.constraints)
    assert [str(d) for d in specs[1].shape] == ["b", "s"]
    assert specs[1].shape == specs[2].shape


def test_inputs_over_the_maximum_are_refused():
    model = load("codebert")
    with pytest.raises(ValueError, match="up to 64 tokens, got 65"):
        model.inputs(np.random.default_rng(0), b=1, s=65)


# State dicts and checkpoint files


def test_prefix_and_buffers_and_heads_are_left_out():
    plain = random_state(TINY)
    dressed = {f"roberta.{name}": tensor for name, tensor in plain.items()}
    dressed |= {
        "roberta.embeddings.position_ids": np.arange(66)[None],
        "lm_head.dense.weight": np.zeros((32, 32), np.float32),
    }
    assert_same_tree(codebert.from_state_dict(dressed, TINY), codebert.from_state_dict(plain, TINY))


def test_every_tensor_that_does_not_fit_is_named():
    state = random_state(TINY)
    del state["encoder.layer.1.output.dense.bias"]
    state["encoder.layer.0.intermediate.dense.weight"] = np.zeros((32, 64), np.float32)
    state["encoder.layer.2.output.dense.bias"] = np.zeros(32, np.float32)
    with pytest.raises(ValueError, match="does not fit") as error:
        codebert.from_state_dict(state, TINY)
    assert str(error.value).splitlines()[1:] == [
        "  encoder.layer.0.intermediate.dense.weight: expected shape (64, 32), found (32, 64)",
        "  missing: encoder.layer.1.output.dense.bias",
        "  not in the configuration: encoder.layer.2.output.dense.bias",
    ]


def test_safetensors_file_loads(tmp_path):
    numpy_api = pytest.importorskip("safetensors.numpy")
    state = random_state(TINY)
    numpy_api.save_file(state, tmp_path / "model.safetensors")
    expected = codebert.from_state_dict(state, TINY)
    for weights in (tmp_path, tmp_path / "model.safetensors"):
        assert_same_tree(load("codebert", weights=weights).params, expected)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "checkpoint.pt"])
def test_torch_file_loads(tmp_path, name):
    torch = pytest.importorskip("torch")
    state = random_state(TINY)
    torch.save(torch_state(state), tmp_path / name)
    expected = codebert.from_state_dict(state, TINY)
    for weights in (tmp_path, tmp_path / name):
        assert_same_tree(load("codebert", weights=weights).params, expected)


def test_half_precision_checkpoints_become_float32(tmp_path):
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    tensors = {"w": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}
    torch.save(tensors, tmp_path / "a.pt")
    safetensors_torch.save_file(tensors, tmp_path / "a.safetensors")
    for file in ("a.pt", "a.safetensors"):
        read = read_state_dict(tmp_path / file)["w"]
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, [1.5, -2.0])


def test_nested_torch_file_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"model": {"w": torch.zeros(2)}}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="flat mapping"):
        read_state_dict(tmp_path / "a.pt")


def test_unusable_paths_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_state_dict(tmp_path / "absent.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint \("):
        read_state_dict(tmp_path)
    (tmp_path / "weights.npz").touch()
    with pytest.raises(ValueError, match=r"ending in \.safetensors, \.bin, \.pt"):
        read_state_dict(tmp_path / "weights.npz")
    (tmp_path / "a.pt").touch()
    (tmp_path / "b.pt").touch()
    with pytest.raises(ValueError, match=r"several checkpoints, name one of them: a\.pt, b\.pt"):
        read_state_dict(tmp_path)


def test_missing_torch_is_explained(tmp_path, monkeypatch):
    (tmp_path / "a.pt").touch()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        read_state_dict(tmp_path / "a.pt")


# The registry


def test_unknown_names_and_sizes_list_what_exists():
    with pytest.raises(ValueError, match=r"no model 'bert'; the models are: .*codebert"):
        load("bert")
    with pytest.raises(ValueError, match="no size 'huge'; its sizes are: tiny, small, base"):
        load("codebert", "huge")


def test_models_are_imported_on_demand():
    root = Path(__file__).resolve().parents[2]
    code = "import sys, models; sys.exit('models.codebert' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
