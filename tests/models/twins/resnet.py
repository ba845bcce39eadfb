"""Residual networks in torch, and their weights as flax variables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from flax import traverse_util

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional


class ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))


class PooledShortcut(nn.Module):
    """Average pool of what is there, also at an odd border, and zeros for the new channels."""

    def forward(self, x):
        x = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        return torch.cat((x, torch.zeros_like(x)), dim=1)


class Block(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool, pooled: bool):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        if bottleneck:
            convs = [ConvNorm(inputs, width, 1), ConvNorm(width, width, 3, stride)]
            self.last = ConvNorm(width, outputs, 1)
        else:
            convs = [ConvNorm(inputs, width, 3, stride)]
            self.last = ConvNorm(width, outputs, 3)
        self.convs = nn.ModuleList(convs)
        changes = stride != 1 or inputs != outputs
        projects = changes and not pooled
        self.project = ConvNorm(inputs, outputs, 1, stride) if projects else nn.Identity()
        self.shortcut = PooledShortcut() if changes and pooled else self.project

    def residual(self, x):
        for conv in self.convs:
            x = torch.relu(conv(x))
        return self.last(x)

    def forward(self, x):
        return torch.relu(self.shortcut(x) + self.residual(x))


class ResNet(nn.Module):
    def __init__(
        self,
        counts: Sequence[int],
        width: int,
        classes: int,
        *,
        bottleneck: bool = False,
        imagenet: bool = False,
        pooled: bool = False,
    ):
        super().__init__()
        self.stem = ConvNorm(3, width, 7, 2) if imagenet else ConvNorm(3, width, 3)
        self.pools_first = imagenet
        self.inputs, blocks = [], []
        channels = width
        for stage, count in enumerate(counts):
            inner = width * 2**stage
            for i in range(count):
                stride = 2 if stage and not i else 1
                blocks.append(Block(channels, inner, stride, bottleneck, pooled))
                self.inputs.append(channels)
                channels = 4 * inner if bottleneck else inner
        self.blocks = nn.ModuleList(blocks)
        self.outputs = [*self.inputs[1:], channels]
        self.head = nn.Linear(channels, classes)

    def embed(self, images):
        x = torch.relu(self.stem(images))
        return F.max_pool2d(x, 3, 2, padding=1) if self.pools_first else x

    def features(self, images):
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))

    def forward(self, images):
        return self.head(self.features(images))


def randomised(module: Any, seed: int = 0) -> Any:
    """The module for evaluation, with every weight and running statistic random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif name.endswith("norm.weight"):
                tensor.uniform_(0.3, 1, generator=generator)
            elif tensor.ndim > 1:
                fan_in = tensor[0].numel()
                tensor.normal_(std=(2 / fan_in) ** 0.5, generator=generator)
            else:
                tensor.normal_(std=0.3, generator=generator)
    return module.eval()


def to_flax(module: Any, shapes: Any) -> Any:
    """Variables of the flax network whose parts have the names of the torch module's.

    Args:
      module: the torch module.
      shapes: the variables expected; a 1x1 convolution may be a matrix there.
    """
    leaves = {}
    for name, part in module.named_modules():
        path = tuple(re.sub(r"\.(\d+)", r"_\1", name).split("."))
        for kind, leaf, tensor in _leaves(part):
            leaves[(kind, *path, *leaf)] = tensor.detach().numpy()
    expected: dict[Any, Any] = traverse_util.flatten_dict(shapes)
    assert leaves.keys() == expected.keys()
    sized = {path: leaves[path].reshape(leaf.shape) for path, leaf in expected.items()}
    return traverse_util.unflatten_dict({p: np.ascontiguousarray(a) for p, a in sized.items()})


def _leaves(part: Any) -> list[tuple[str, tuple[str, ...], Any]]:
    if isinstance(part, nn.LSTMCell):
        return [
            ("params", ("input", "kernel"), part.weight_ih.T),
            ("params", ("input", "bias"), part.bias_ih),
            ("params", ("hidden", "kernel"), part.weight_hh.T),
            ("params", ("hidden", "bias"), part.bias_hh),
        ]
    if isinstance(part, nn.BatchNorm2d):
        return [
            ("params", ("scale",), part.weight),
            ("params", ("bias",), part.bias),
            ("batch_stats", ("mean",), part.running_mean),
            ("batch_stats", ("var",), part.running_var),
        ]
    if isinstance(part, nn.Conv2d | nn.Linear):
        order = (2, 3, 1, 0) if isinstance(part, nn.Conv2d) else (1, 0)
        bias = [] if part.bias is None else [("params", ("bias",), part.bias)]
        return [("params", ("kernel",), part.weight.permute(order)), *bias]
    return []


def run_each(twin: Any, images: np.ndarray, *extras: Any) -> tuple[np.ndarray, np.ndarray]:
    """Logits and gate logits of a gated twin, one image [1, 3, h, w] at a time."""
    with torch.no_grad():
        rows = [
            twin(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()), *extra)
            for image, *extra in zip(images, *extras, strict=True)
        ]
    logits, gates = zip(*rows, strict=True)
    return torch.cat(logits).numpy(), torch.stack(gates).numpy()
