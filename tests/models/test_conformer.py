"""The Conformer against `transformers`, a torch twin, and itself at any length."""

from __future__ import annotations

import math
import re

import jax
import numpy as np
import pytest

from models import conformer, load
from models.checkpoint import fit
from models.conformer import ConformerConfig
from models.relative_attention import distance_encodings
from tests.models.dynamic import check_dynamic
from tests.quick import QUICK, last_of

TINY = conformer.SIZES["tiny"]
# Parakeet's form, small.
PARAKEET = ConformerConfig(
    32,
    layers=2,
    heads=4,
    kernel=9,
    classes=None,
    bands=16,
    stem="separable",
    stem_features=8,
    scale_stem=True,
    depthwise_bias=True,
)
# The blocks of Wav2Vec2-Conformer.
WITHOUT_BIASES = ConformerConfig(32, layers=1, heads=4, kernel=7, pointwise_bias=False)


def randomised(module):
    """The torch module for evaluation, with all weights, biases and statistics random."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif "norm" in name and name.endswith("weight"):
                tensor.uniform_(0.3, 1.5, generator=generator)
            elif tensor.ndim > 1:
                tensor.normal_(std=tensor[0].numel() ** -0.5, generator=generator)
            else:
                tensor.normal_(std=0.3, generator=generator)
    return module.eval()


def numpy_state(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def parakeet():
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.ParakeetEncoderConfig(
        hidden_size=PARAKEET.features,
        num_hidden_layers=PARAKEET.layers,
        num_attention_heads=PARAKEET.heads,
        intermediate_size=4 * PARAKEET.features,
        conv_kernel_size=PARAKEET.kernel,
        subsampling_conv_channels=PARAKEET.stem_features,
        num_mel_bins=PARAKEET.bands,
    )
    return randomised(transformers.ParakeetEncoder(config))


def jit(config):
    return jax.jit(conformer.Conformer(config).apply, compiler_options=QUICK)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def assert_near(seen, wanted):
    largest = float(np.abs(wanted).max())
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-5 * largest)


# Against transformers


@pytest.mark.parametrize(
    ("b", "t", "frames"), last_of((1, 1, 1), (2, 8, 1), (1, 200, 25), (3, 77, 10))
)
def test_equals_parakeet(parakeet, b, t, frames):
    import torch

    features = noise(b, t, PARAKEET.bands)
    with torch.no_grad():
        wanted = parakeet(torch.from_numpy(features)).last_hidden_state.numpy()
    params = conformer.from_state_dict(numpy_state(parakeet), PARAKEET)
    seen = jit(PARAKEET)(params, features)
    assert seen.shape == (b, frames, PARAKEET.features)
    assert_near(seen, wanted)


def parakeet_name(name: str) -> str:
    """What Parakeet calls a tensor of a layer of Wav2Vec2-Conformer."""
    for pattern, replacement in (
        (r"ffn(\d)_layer_norm", r"norm_feed_forward\1"),
        (r"ffn(\d)\.intermediate_dense", r"feed_forward\1.linear1"),
        (r"ffn(\d)\.output_dense", r"feed_forward\1.linear2"),
        (r"self_attn_layer_norm", "norm_self_att"),
        (r"linear_([qkv])", r"\1_proj"),
        (r"linear_out", "o_proj"),
        (r"linear_pos", "relative_k_proj"),
        (r"pos_bias_", "bias_"),
        (r"conv_module\.layer_norm", "norm_conv"),
        (r"conv_module\.batch_norm", "conv.norm"),
        (r"conv_module", "conv"),
        (r"final_layer_norm", "norm_out"),
    ):
        name = re.sub(pattern, replacement, name)
    return f"layers.0.{name}"


def block_variables(state, config):
    """Variables of the first block alone."""
    shapes = conformer.param_shapes(config)
    first = {kind: {"layers_0": tree["layers_0"]} for kind, tree in shapes.items()}
    tensors = {
        name: tensor[..., 0] if "pointwise" in name else tensor
        for name, tensor in state.items()
        if "num_batches" not in name
    }
    fitted = fit(tensors, first, conformer._torch_name)
    return {kind: tree["layers_0"] for kind, tree in fitted.items()}


@pytest.mark.parametrize(("b", "t"), last_of((1, 1), (3, 5), (2, 40)))
def test_blocks_without_biases_equal_wav2vec2_conformer(b, t):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.Wav2Vec2ConformerConfig(
        hidden_size=WITHOUT_BIASES.features,
        num_hidden_layers=1,
        num_attention_heads=WITHOUT_BIASES.heads,
        intermediate_size=4 * WITHOUT_BIASES.features,
        conv_depthwise_kernel_size=WITHOUT_BIASES.kernel,
        conv_dim=(16,),
        conv_kernel=(10,),
        conv_stride=(5,),
        num_feat_extract_layers=1,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        position_embeddings_type="relative",
        hidden_act="swish",
    )
    encoder = randomised(transformers.Wav2Vec2ConformerModel(config)).encoder
    x = noise(b, t, WITHOUT_BIASES.features)
    with torch.no_grad():
        positions = encoder.embed_positions(torch.from_numpy(x))
        wanted = encoder.layers[0](torch.from_numpy(x), relative_position_embeddings=positions)

    state = {parakeet_name(name): t for name, t in numpy_state(encoder.layers[0]).items()}
    block = block_variables(state, WITHOUT_BIASES)
    ours = distance_encodings(t, WITHOUT_BIASES.features)
    np.testing.assert_allclose(ours, positions[0], atol=1e-5)
    apply = jax.jit(conformer.Block(WITHOUT_BIASES).apply, compiler_options=QUICK)
    assert_near(apply(block, x, ours), wanted.numpy())


# Against the twin


@pytest.mark.parametrize(("b", "t"), last_of((1, 7), (3, 30), (2, 103)))
def test_equals_the_twin(b, t):
    torch = pytest.importorskip("torch")
    from tests.models.twins.conformer import Conformer

    twin = randomised(
        Conformer(TINY.bands, TINY.features, TINY.layers, TINY.heads, TINY.kernel, TINY.classes)
    )
    (features,) = load("conformer").inputs(np.random.default_rng(t), b=b, t=t)
    with torch.no_grad():
        wanted = twin(torch.from_numpy(features)).numpy()
    seen = jit(TINY)(conformer.from_state_dict(numpy_state(twin), TINY), features)
    assert seen.shape == (b, ((t - 1) // 2 - 1) // 2, TINY.classes)
    assert_near(seen, wanted)


# Parameters, checkpoints and inputs


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("small", 8_831_808),
        ("medium", 27_513_856),
        ("full", 115_352_576),
        ("parakeet", 607_749_120),
    ],
)
def test_parameter_counts_are_the_published_ones(size, expected):
    params = conformer.param_shapes(conformer.SIZES[size])["params"]
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == expected


def test_checkpoint_file_loads(tmp_path, parakeet, monkeypatch):
    numpy_api = pytest.importorskip("safetensors.numpy")
    state = {f"encoder.{name}": tensor for name, tensor in numpy_state(parakeet).items()}
    state["ctc_head.weight"] = np.zeros((9, PARAKEET.features, 1), np.float32)
    numpy_api.save_file(state, tmp_path / "model.safetensors")
    monkeypatch.setitem(conformer.SIZES, "parakeet", PARAKEET)
    jax.tree.map(
        np.testing.assert_array_equal,
        load("conformer", "parakeet", weights=tmp_path).params,
        conformer.from_state_dict(numpy_state(parakeet), PARAKEET),
    )


def test_tensors_that_do_not_fit_are_named(parakeet):
    broken = numpy_state(parakeet)
    del broken["layers.1.conv.norm.running_mean"]
    broken["layers.0.self_attn.bias_u"] = np.zeros((8, 4), np.float32)
    with pytest.raises(ValueError, match="does not fit") as error:
        conformer.from_state_dict(broken, PARAKEET)
    assert str(error.value).splitlines()[1:] == [
        "  layers.0.self_attn.bias_u: expected shape (4, 8), found (8, 4)",
        "  missing: layers.1.conv.norm.running_mean",
    ]


def test_outputs_of_random_weights_are_of_order_one():
    model = load("conformer")
    log_probabilities = np.asarray(jit(TINY)(model.params, *inputs(model, 2, 95)))
    np.testing.assert_allclose(np.exp(log_probabilities).sum(-1), 1, rtol=1e-5)
    assert 0.3 < log_probabilities.std() < 3


def inputs(model, b, t):
    return model.inputs(np.random.default_rng(0), b=b, t=t)


def test_inputs_are_features_of_the_length_asked_for():
    (features,) = inputs(load("conformer"), 3, 51)
    assert features.shape == (3, 51, 80) and features.dtype == np.float32
    np.testing.assert_allclose(features.mean(1), 0, atol=1e-4)


def test_too_few_frames_are_refused():
    with pytest.raises(ValueError, match="7 frames or more, got 6"):
        inputs(load("conformer"), 1, 6)


# Any length

LENGTHS = [7, 8, 10, 11, 13, 29, 40, 41, 58, 67, 79, 80]


def test_any_length_from_few_executables():
    sizes = [{"b": 1 + i % 3, "t": t} for i, t in enumerate(LENGTHS)]
    assert check_dynamic(load("conformer"), sizes, {"b": (3,), "t": (40, 80)}).compiles == 2


def test_parakeet_at_any_length(monkeypatch):
    monkeypatch.setitem(conformer.SIZES, "parakeet", PARAKEET)
    sizes = [{"b": 2, "t": 1}, {"b": 1, "t": 9}, {"b": 2, "t": 71}, {"b": 1, "t": 80}]
    model = load("conformer", "parakeet")
    assert check_dynamic(model, sizes, {"b": (2,), "t": (80,)}).compiles == 1


@pytest.mark.slow
def test_full_size():
    model = load("conformer", "full")
    check_dynamic(model, [{"b": 1, "t": 61}, {"b": 2, "t": 95}], {"b": (2,), "t": (96,)})
