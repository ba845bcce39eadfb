"""Segment Anything in torch: that of transformers, and one for any size of image made of its parts.

`transformers.SamModel` refuses all image sizes but one. `VitDetModel` has the same trunk and
interpolates its positions; the rest of SAM is taken part by part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.sam import SamConfig

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Arrays = dict[str, np.ndarray]


def sam_model(config: SamConfig, seed: int = 0) -> Any:
    """A `transformers.SamModel` with every weight random: position tables, norms, biases."""
    encoder, decoder = config.encoder, config.decoder
    image = dict(image_size=encoder.grid * encoder.patch, patch_size=encoder.patch)
    vision = dict(
        hidden_size=encoder.features,
        output_channels=decoder.features,
        num_hidden_layers=encoder.blocks,
        num_attention_heads=encoder.heads,
        window_size=encoder.window,
        global_attn_indexes=list(encoder.global_blocks),
        mlp_dim=encoder.mlp,
        num_pos_feats=decoder.features // 2,
        **image,
    )
    prompts = dict(hidden_size=decoder.features, mask_input_channels=decoder.mask_channels, **image)
    masks = dict(
        hidden_size=decoder.features,
        mlp_dim=decoder.mlp,
        num_attention_heads=decoder.heads,
        num_hidden_layers=decoder.blocks,
        num_multimask_outputs=decoder.masks,
        iou_head_hidden_dim=decoder.iou_hidden,
        layer_norm_eps=decoder.block_eps,
    )
    model = transformers.SamModel(
        transformers.SamConfig(
            vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=masks
        )
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _randomise(name, parameter, generator)
    return model.eval()


def _randomise(name: str, parameter: Any, generator: Any) -> None:
    if "norm" in name and name.endswith("weight"):
        parameter.uniform_(0.5, 1.5, generator=generator)
    elif parameter.ndim == 1:
        parameter.normal_(std=0.3, generator=generator)
    elif name.endswith("weight") and not name.endswith(("embed.weight", "token.weight")):
        fan_in = parameter[0].numel()
        parameter.normal_(std=fan_in**-0.5, generator=generator)
    else:
        # Tables of positions and tokens.
        parameter.normal_(std=0.7, generator=generator)


def decode(model: Any, embeddings: np.ndarray, **prompts: np.ndarray) -> tuple[Any, Any]:
    """All masks and their quality from `SamModel`, the single mask before the others.

    Args:
      model: from `sam_model`.
      embeddings: [b, h, w, c], of the size that the model is for.
      **prompts: input_points, input_labels, input_boxes or input_masks.
    """
    return _all_masks(model, image_embeddings=_channels_first(embeddings), **_tensors(prompts))


def segment(model: Any, images: np.ndarray, **prompts: np.ndarray) -> tuple[Any, Any]:
    """Like `decode`, from images [b, h, w, 3]."""
    return _all_masks(model, pixel_values=_channels_first(images), **_tensors(prompts))


def _all_masks(model: Any, **inputs: Any) -> tuple[Any, Any]:
    with torch.no_grad():
        single, several = (model(**inputs, multimask_output=many) for many in (False, True))
    masks = torch.cat((single.pred_masks, several.pred_masks), dim=2)
    return masks.numpy(), torch.cat((single.iou_scores, several.iou_scores), dim=2).numpy()


class AnySize:
    """SAM for images of any number of patches, with the weights of a `SamModel`."""

    def __init__(self, model: Any, config: SamConfig):
        self.model, self.patch = model, config.encoder.patch
        encoder = config.encoder
        side = encoder.grid * encoder.patch
        windowed = [i for i in range(encoder.blocks) if i not in encoder.global_blocks]
        self.trunk = transformers.VitDetModel(
            transformers.VitDetConfig(
                hidden_size=encoder.features,
                num_hidden_layers=encoder.blocks,
                num_attention_heads=encoder.heads,
                mlp_ratio=encoder.mlp // encoder.features,
                image_size=side,
                pretrain_image_size=side,
                patch_size=encoder.patch,
                window_block_indices=windowed,
                use_relative_position_embeddings=True,
                window_size=encoder.window,
            )
        ).eval()
        state = model.vision_encoder.state_dict()
        trunk = (_trunk_tensor(*item) for item in state.items() if "neck." not in item[0])
        self.trunk.load_state_dict(dict(trunk))

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Embeddings [b, h, w, c] of images [b, patch * h, patch * w, 3]."""
        with torch.no_grad():
            trunk = self.trunk(_channels_first(images)).last_hidden_state
            embeddings = self.model.vision_encoder.neck(trunk.permute(0, 2, 3, 1))
        return embeddings.permute(0, 2, 3, 1).numpy()

    def segment(
        self, images: np.ndarray, points: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The masks for a prompt that may mean several things, and their quality."""
        embeddings = _channels_first(self.encode(images))
        b, c, h, w = embeddings.shape
        # As if the image had sides of 1: the prompt encoder knows one size for both.
        self.model.prompt_encoder.input_image_size = 1
        size = torch.tensor([w * self.patch, h * self.patch])
        scaled = (torch.from_numpy(points) + 0.5) / size - 0.5
        places = torch.stack(
            torch.meshgrid((torch.arange(w) + 0.5) / w, (torch.arange(h) + 0.5) / h, indexing="xy"),
            dim=-1,
        )
        with torch.no_grad():
            tokens, _ = self.model.prompt_encoder(scaled, torch.from_numpy(labels), None, None)
            dense = self.model.prompt_encoder.no_mask_embed.weight.reshape(1, c, 1, 1)
            encoded = self.model.shared_image_embedding(places).permute(2, 0, 1)[None]
            masks, quality = self.model.mask_decoder(
                image_embeddings=embeddings,
                image_positional_embeddings=encoded.repeat(b, 1, 1, 1),
                sparse_prompt_embeddings=tokens,
                dense_prompt_embeddings=dense.expand(b, c, h, w),
                multimask_output=True,
            )
        return masks.numpy(), quality.numpy()


def _trunk_tensor(name: str, tensor: Any) -> tuple[str, Any]:
    if name == "pos_embed":
        # There is a row for a class token, which is not used.
        table = tensor.reshape(1, -1, tensor.shape[-1])
        return "embeddings.position_embeddings", torch.cat((table[:, :1], table), dim=1)
    for ours, theirs in (
        ("patch_embed.", "embeddings."),
        ("layers.", "encoder.layer."),
        ("layer_norm", "norm"),
        (".attn.", ".attention."),
        (".lin", ".fc"),
    ):
        name = name.replace(ours, theirs)
    return name, tensor


def _channels_first(images: np.ndarray) -> Any:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))


def _tensors(arrays: Arrays) -> dict[str, Any]:
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
