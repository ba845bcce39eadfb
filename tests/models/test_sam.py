"""Segment Anything against transformers, its parameter counts and checkpoints."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import load, sam
from models.sam import Sam
from models.sam_decoder import postprocess
from models.sam_encoder import resize_cubic
from tests.quick import QUICK

TINY = sam.SIZES["tiny"]
PATCH, GRID = TINY.encoder.patch, TINY.encoder.grid


def jit(fun: Any) -> Any:
    return jax.jit(fun, compiler_options=QUICK)


def assert_near(seen: Any, wanted: np.ndarray) -> None:
    largest = float(np.abs(wanted).max())
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-4 * largest)


@pytest.fixture(scope="module")
def torch_model() -> Any:
    pytest.importorskip("transformers")
    from tests.models.twins.sam import sam_model

    return sam_model(TINY)


@pytest.fixture(scope="module")
def state(torch_model: Any) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in torch_model.state_dict().items()}


@pytest.fixture(scope="module")
def params(state: Any) -> Any:
    return sam.from_state_dict(state, TINY)


@pytest.fixture(scope="module")
def model() -> Any:
    return load("sam")


def inputs(model: Any, b: int, h: int, w: int, p: int, n: int) -> tuple[np.ndarray, ...]:
    return model.inputs(np.random.default_rng(n), b=b, h=h, w=w, p=p, n=n)


def decoded(config: sam.SamConfig, params: Any, *args: Any) -> Any:
    return jit(lambda *args: Sam(config).apply(*args, method="decode"))(params, *args)


def boxes_in(rng: np.random.Generator, b: int, p: int, width: int, height: int) -> np.ndarray:
    corners = np.sort(rng.uniform(0, 1, (b, p, 2, 2)), axis=2) * (width, height)
    return corners.reshape(b, p, 4).astype(np.float32)


# Against transformers


@pytest.mark.parametrize(
    ("b", "p", "n"), [(2, 3, 2), pytest.param(1, 1, 1, marks=pytest.mark.slow)]
)
def test_equals_transformers(torch_model, params, model, b, p, n):
    from tests.models.twins.sam import segment

    images, points, labels = inputs(model, b, GRID, GRID, p, n)
    masks, quality = segment(torch_model, images, input_points=points, input_labels=labels)
    seen = jit(model.fun)(params, images, points, labels)
    assert seen.low_resolution.shape == (b, p, 3, 4 * GRID, 4 * GRID)
    assert_near(seen.low_resolution, masks[:, :, 1:])
    assert_near(seen.quality, quality[:, :, 1:])


PROMPTS = {
    "five points, some of which are none": (5, False, False),
    "points and a box": (2, True, False),
    "a box": (0, True, False),
    "points and a mask": (3, False, True),
}


@pytest.mark.parametrize(("n", "box", "mask"), PROMPTS.values(), ids=PROMPTS)
def test_decoder_equals_transformers(torch_model, params, n, box, mask):
    from tests.models.twins.sam import decode

    rng, side = np.random.default_rng(n), GRID * PATCH
    b, p = (1, 3) if mask else (2, 3)
    embeddings = rng.normal(size=(b, GRID, GRID, TINY.decoder.features)).astype(np.float32)
    ours, theirs = {}, {}
    if n:
        points = rng.uniform(0, side, (b, p, n, 2)).astype(np.float32)
        labels = rng.integers(-1 if n == 5 else 0, 2, (b, p, n), np.int32)
        ours = {"points": points, "labels": labels}
        theirs = {"input_points": points, "input_labels": labels}
    if box:
        ours["boxes"] = theirs["input_boxes"] = boxes_in(rng, b, p, side, side)
    if mask:
        logits = rng.normal(size=(b, 1, 4 * GRID, 4 * GRID)).astype(np.float32)
        ours["masks"] = theirs["input_masks"] = logits

    wanted = decode(torch_model, embeddings, **theirs)
    order = ("points", "labels", "boxes", "masks")
    seen = decoded(TINY, params, embeddings, *(ours.get(name) for name in order))
    for left, right in zip(seen, wanted, strict=True):
        assert_near(left, right)


def test_norms_of_the_decoder_have_the_epsilon_asked_for():
    """Tokens are so small here that the epsilon decides what a norm makes of them."""
    pytest.importorskip("transformers")
    from tests.models.twins.sam import decode, sam_model, torch

    official, config = (
        dataclasses.replace(TINY, decoder=dataclasses.replace(TINY.decoder, blocks=1, **changes))
        for changes in ({}, {"block_eps": 1e-6})
    )
    small = sam_model(config)
    with torch.no_grad():
        small.prompt_encoder.not_a_point_embed.weight.mul_(1e-3)
        for name, parameter in small.mask_decoder.named_parameters():
            if "token.weight" in name or "self_attn" in name:
                parameter.mul_(1e-3)
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(1, GRID, GRID, TINY.decoder.features)).astype(np.float32)
    points, labels = np.zeros((1, 1, 1, 2), np.float32), np.full((1, 1, 1), -1, np.int32)
    wanted, _ = decode(small, embeddings, input_points=points, input_labels=labels)
    state = {name: tensor.numpy() for name, tensor in small.state_dict().items()}
    args = (sam.from_state_dict(state, config), embeddings, points, labels)
    assert_near(decoded(config, *args)[0], wanted)
    with pytest.raises(AssertionError):
        assert_near(decoded(official, *args)[0], wanted)


SIZES = [(1, 1, 2, 1, 1), (2, 14, 9, 2, 3)]
SLOW_SIZES = [(1, 12, 5, 1, 2), (1, 15, 15, 2, 1)]


@pytest.mark.parametrize(
    ("b", "h", "w", "p", "n"),
    [*SIZES, *(pytest.param(*size, marks=pytest.mark.slow) for size in SLOW_SIZES)],
)
def test_any_size_equals_the_parts_of_transformers(torch_model, params, model, b, h, w, p, n):
    from tests.models.twins.sam import AnySize

    args = inputs(model, b, h, w, p, n)
    masks, quality = AnySize(torch_model, TINY).segment(*args)
    seen = jit(model.fun)(params, *args)
    assert seen.low_resolution.shape == (b, p, 3, 4 * h, 4 * w)
    assert_near(seen.low_resolution, masks)
    assert_near(seen.quality, quality)


@pytest.mark.parametrize("size", [1, 5, 12, 17])
def test_tables_are_interpolated_as_by_torch(size):
    torch = pytest.importorskip("torch")
    table = np.random.default_rng(0).normal(size=(12, 7, 3)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(table).permute(2, 0, 1)[None], (size, 7), mode="bicubic"
    )
    seen = resize_cubic(jnp.asarray(table), size)
    np.testing.assert_allclose(seen, wanted[0].permute(1, 2, 0), rtol=1e-5, atol=1e-5)
    if size == 12:
        np.testing.assert_array_equal(seen, table)


@pytest.mark.parametrize(
    ("photograph", "original"),
    [((96, 64), (300, 200)), ((50, 96), (25, 48)), ((96, 96), (96, 96)), ((96, 71), (61, 45))],
)
def test_postprocessing_equals_transformers(photograph, original):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    masks = np.random.default_rng(0).normal(size=(2, 3, 48, 48)).astype(np.float32)
    (wanted,) = transformers.SamImageProcessorPil().post_process_masks(
        torch.from_numpy(masks[None]),
        [original],
        [photograph],
        binarize=False,
        pad_size={"height": 96, "width": 96},
    )
    seen = postprocess(jnp.asarray(masks), (96, 96), photograph, original)
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-5)


# Checkpoints


def published_name(name: str) -> str:
    """The name of a tensor of transformers in the published checkpoints."""
    frequencies = "positional_encoding_gaussian_matrix"
    for pattern, replacement in (
        (r"^vision_encoder\.layers", "image_encoder.blocks"),
        (r"^vision_encoder", "image_encoder"),
        (r"patch_embed\.projection", "patch_embed.proj"),
        (r"neck\.conv1", "neck.0"),
        (r"neck\.layer_norm1", "neck.1"),
        (r"neck\.conv2", "neck.2"),
        (r"neck\.layer_norm2", "neck.3"),
        (
            r"^shared_image_embedding.*",
            f"prompt_encoder.pe_layer.{frequencies}",
        ),
        (r"point_embed\.(\d)", r"point_embeddings.\1"),
        (r"mask_embed\.conv1", "mask_downscaling.0"),
        (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
        (r"mask_embed\.conv2", "mask_downscaling.3"),
        (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
        (r"mask_embed\.conv3", "mask_downscaling.6"),
        (r"upscale_conv1", "output_upscaling.0"),
        (r"upscale_layer_norm", "output_upscaling.1"),
        (r"upscale_conv2", "output_upscaling.3"),
        (r"(mlps\.\d|head)\.layers\.0", r"\1.layers.1"),
        (r"(mlps\.\d|head)\.proj_in", r"\1.layers.0"),
        (r"(mlps\.\d|head)\.proj_out", r"\1.layers.2"),
        (r"layer_norm_final_attn", "norm_final_attn"),
        (r"layer_norm(\d)", r"norm\1"),
    ):
        name = re.sub(pattern, replacement, name)
    return name


def test_published_checkpoints_load_too(state, params):
    tied = "prompt_encoder.shared_embedding.positional_embedding"
    published = {published_name(name): value for name, value in state.items() if name != tied}
    assert "mask_decoder.output_hypernetworks_mlps.3.layers.2.bias" in published
    assert "image_encoder.blocks.3.norm2.weight" in published
    jax.tree.map(np.testing.assert_array_equal, sam.from_state_dict(published, TINY), params)


def test_checkpoint_file_loads(tmp_path, state, params):
    numpy_api = pytest.importorskip("safetensors.numpy")
    numpy_api.save_file(state, tmp_path / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, load("sam", weights=tmp_path).params, params)


def test_tensors_that_do_not_fit_are_named(state):
    broken = dict(state)
    del broken["vision_encoder.layers.1.attn.rel_pos_h"]
    del broken["prompt_encoder.point_embed.2.weight"]
    with pytest.raises(ValueError, match="does not fit") as error:
        sam.from_state_dict(broken, TINY)
    assert str(error.value).splitlines()[1:] == [
        "  missing: vision_encoder.layers.1.attn.rel_pos_h",
        "  prompt_encoder.point_embed.weight: expected shape (4, 16), found (3, 16)",
    ]


# Parameters and inputs


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("tiny", 60_904),
        ("small", 786_344),
        ("full", 93_735_472),
        ("large", 312_342_832),
        ("huge", 641_090_608),
    ],
)
def test_parameter_counts_are_the_published_ones(size, expected):
    shapes = sam.param_shapes(sam.SIZES[size])
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"])) == expected
    # The random frequencies are no parameters in the published model.
    (frequencies,) = jax.tree.leaves(shapes["buffers"])
    assert frequencies.shape == (2, sam.SIZES[size].decoder.features // 2)


def test_inputs_are_photographs_and_clicks_on_them(model):
    images, points, labels = inputs(model, 2, 3, 5, 4, 6)
    assert images.shape == (2, 3 * PATCH, 5 * PATCH, 3) and images.dtype == np.float32
    assert images.min() < -1 and images.max() > 1
    assert points.shape == (2, 4, 6, 2) and points.dtype == np.float32
    assert points.min() >= 0 and points[..., 0].max() <= 5 * PATCH
    assert points[..., 1].max() <= 3 * PATCH < points[..., 0].max()
    assert labels.dtype == np.int32 and set(labels.ravel().tolist()) == {0, 1}
    assert (labels[..., 0] == 1).all()


def test_images_out_of_range_are_refused(model):
    with pytest.raises(ValueError, match="1 to 16 patches along a side, got 3 x 17"):
        inputs(model, 1, 3, 17, 1, 1)


def test_a_call_without_a_prompt_is_refused(model):
    images, points, _ = inputs(model, 1, 1, 1, 1, 1)
    with pytest.raises(ValueError, match="a prompt is points with their labels, a box, or both"):
        jax.eval_shape(model.fun, model.params, images, None, None)
    with pytest.raises(ValueError, match="points and labels go together"):
        jax.eval_shape(model.fun, model.params, images, points, None)
