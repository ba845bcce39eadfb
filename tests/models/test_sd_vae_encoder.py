"""The VAE encoder against `diffusers`, its parameter counts, checkpoints, and any image size."""

from __future__ import annotations

import math
import re

import jax
import numpy as np
import pytest

from models import load, sd_vae_encoder
from tests.models.dynamic import check_dynamic
from tests.quick import QUICK, last_of

TINY = sd_vae_encoder.SIZES["tiny"]


@pytest.fixture(scope="module")
def diffusers_model():
    """AutoencoderKL with every parameter random, biases and norms too."""
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    levels = len(TINY.channels)
    model = diffusers.AutoencoderKL(
        block_out_channels=TINY.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=TINY.blocks,
        latent_channels=TINY.latents,
        norm_num_groups=TINY.groups,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model


@pytest.fixture(scope="module")
def state(diffusers_model):
    return {name: tensor.numpy() for name, tensor in diffusers_model.state_dict().items()}


def count(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def assert_same_tree(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


# Against diffusers


@pytest.mark.parametrize(
    ("b", "h", "w", "latent"),
    last_of((2, 16, 24, (2, 3)), (1, 65, 71, (8, 8)), (1, 17, 23, (2, 2))),
)
def test_equals_diffusers(diffusers_model, state, b, h, w, latent):
    import torch

    model = load("sd_vae_encoder")
    (images,) = model.inputs(np.random.default_rng(h), b=b, h=h, w=w)
    channels_first = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    with torch.no_grad():
        expected = diffusers_model.encode(channels_first).latent_dist
    fun = jax.jit(model.fun, compiler_options=QUICK)
    seen = fun(sd_vae_encoder.from_state_dict(state, TINY), images)
    for ours, theirs in zip(seen, (expected.mean, expected.logvar), strict=True):
        assert ours.shape == (b, *latent, TINY.latents)
        np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


def compvis_name(name: str) -> str:
    """The name of a tensor of diffusers in the checkpoints that CompVis wrote."""
    for pattern, replacement in (
        (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
        (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
        (r"mid_block\.resnets\.0", "mid.block_1"),
        (r"mid_block\.resnets\.1", "mid.block_2"),
        (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
        (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
        (r"mid_block\.attentions\.0\.to_", "mid.attn_1."),
        (r"conv_norm_out", "norm_out"),
        (r"conv_shortcut", "nin_shortcut"),
    ):
        name = re.sub(pattern, replacement, name)
    return f"first_stage_model.{name}"


def test_checkpoints_of_compvis_load_too(state):
    renamed = {compvis_name(name): tensor for name, tensor in state.items()}
    # There the attention's projections are 1x1 convolutions.
    for name, tensor in renamed.items():
        if ".attn_1." in name and tensor.ndim == 2:
            renamed[name] = tensor[:, :, None, None]
    assert "first_stage_model.encoder.mid.attn_1.q.weight" in renamed
    renamed["cond_stage_model.transformer.text_model.encoder.x"] = np.zeros(1, np.float32)
    assert_same_tree(
        sd_vae_encoder.from_state_dict(renamed, TINY), sd_vae_encoder.from_state_dict(state, TINY)
    )


def test_checkpoint_file_loads(tmp_path, state):
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    pattern = "|".join(map(re.escape, old))
    named = {re.sub(pattern, lambda m: old[m[0]], name): tensor for name, tensor in state.items()}
    numpy_api = pytest.importorskip("safetensors.numpy")
    numpy_api.save_file(named, tmp_path / "diffusion_pytorch_model.safetensors")
    assert_same_tree(
        load("sd_vae_encoder", weights=tmp_path).params,
        sd_vae_encoder.from_state_dict(state, TINY),
    )


def test_tensors_that_do_not_fit_are_named(state):
    broken = dict(state)
    del broken["encoder.down_blocks.2.downsamplers.0.conv.bias"]
    broken["encoder.conv_in.weight"] = np.zeros((8, 4, 3, 3), np.float32)
    with pytest.raises(ValueError, match="does not fit") as error:
        sd_vae_encoder.from_state_dict(broken, TINY)
    assert str(error.value).splitlines()[1:] == [
        "  encoder.conv_in.weight: expected shape (8, 3, 3, 3), found (8, 4, 3, 3)",
        "  missing: encoder.down_blocks.2.downsamplers.0.conv.bias",
    ]


# Parameters and inputs


@pytest.mark.parametrize(
    ("size", "encoder", "quant_conv"),
    [("tiny", 31_456, 72), ("full", 34_163_592, 72), ("sd3", 34_274_208, 0)],
)
def test_parameter_counts_are_the_published_ones(size, encoder, quant_conv):
    shapes = sd_vae_encoder.param_shapes(sd_vae_encoder.SIZES[size])
    assert count(shapes["encoder"]) == encoder
    assert count(shapes) == encoder + quant_conv


def test_inputs_are_photographs_of_the_size_asked_for():
    (images,) = load("sd_vae_encoder").inputs(np.random.default_rng(0), b=2, h=33, w=47)
    assert images.shape == (2, 33, 47, 3) and images.dtype == np.float32
    assert -1 <= images.min() < -0.5 and 0.5 < images.max() <= 1


@pytest.mark.parametrize(("h", "w"), [(7, 64), (64, 129)])
def test_sides_out_of_range_are_refused(h, w):
    with pytest.raises(ValueError, match=f"sides from 8 to 128, got {h} x {w}"):
        load("sd_vae_encoder").inputs(np.random.default_rng(0), b=1, h=h, w=w)


# Any size

SIDES = [(8, 8), (9, 40), (15, 16), (16, 15), (17, 23), (24, 32), (31, 33), (40, 39), (40, 40)]
SIDES += [(8, 40), (33, 9), (39, 17)]


def test_any_size_from_few_executables():
    sizes = [{"b": 1 + i % 2, "h": h, "w": w} for i, (h, w) in enumerate(SIDES)]
    model = load("sd_vae_encoder")
    assert check_dynamic(model, sizes, {"b": (2,), "h": (24, 40), "w": (40,)}).compiles == 2


@pytest.mark.slow
def test_full_size():
    model = load("sd_vae_encoder", "full")
    sizes = [{"b": 1, "h": 64, "w": 96}, {"b": 1, "h": 95, "w": 71}]
    check_dynamic(model, sizes, {"b": (1,), "h": (96,), "w": (96,)})
