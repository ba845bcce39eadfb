"""Names of Segment Anything's tensors, as published and in transformers, and where they belong."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from models.checkpoint import torch_kind

# From the published names to those of transformers, which the parameter tree has too.
_RENAMES = (
    (r"^image_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^image_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^image_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^image_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^image_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^image_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"^image_encoder\.", "vision_encoder."),
    (r"^prompt_encoder\.pe_layer\.\w+$", "shared_image_embedding.positional_embedding"),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"(_mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(_mlps\.\d+|iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(_mlps\.\d+|iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
)
_PUBLISHED = "image_encoder."
_POSITIONS = "shared_image_embedding.positional_embedding"
_POINTS = re.compile(r"^prompt_encoder\.point_embed\.\d+\.weight$")
_EMBEDDINGS = ("point_embed", "not_a_point_embed", "no_mask_embed", "iou_token", "mask_tokens")


def renamed(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors by their names in transformers, the four kinds of points as one."""
    is_published = any(name.startswith(_PUBLISHED) for name in state)
    tensors = {_rename(name) if is_published else name: value for name, value in state.items()}
    # It is one tensor under two names.
    tensors.pop("prompt_encoder.shared_embedding.positional_embedding", None)
    points = sorted(filter(_POINTS.match, tensors))
    if points:
        rows = [tensors.pop(name) for name in points]
        tensors["prompt_encoder.point_embed.weight"] = np.concatenate(rows)
    return tensors


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def torch_name(path: tuple[str, ...]) -> str:
    """The name in `renamed` of a variable of the model, by the keys above it."""
    collection, *modules = path
    if collection == "buffers":
        return _POSITIONS
    name = re.sub(r"_(?=[0-9])", ".", ".".join(modules[:-1]))
    leaf = modules[-1]
    if leaf in ("kernel", "scale", "bias"):
        return f"{name}.{torch_kind(path)}"
    return f"{name}.{leaf}.weight" if leaf in _EMBEDDINGS else f"{name}.{leaf}"
