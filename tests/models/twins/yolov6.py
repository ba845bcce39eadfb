"""YOLOv6 in torch, in train form, and its weights as flax variables."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from flax import traverse_util

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional

EPSILON = 1e-3


class ConvNorm(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, size: int = 1, stride: int = 1, act: Callable = torch.relu
    ):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=EPSILON)
        self.act = act

    def normalised(self, x):
        return self.norm(self.conv(x))

    def forward(self, x):
        return self.act(self.normalised(x))


class RepVGG(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.dense = ConvNorm(inputs, outputs, 3, stride)
        self.point = ConvNorm(inputs, outputs, 1, stride)
        if inputs == outputs and stride == 1:
            self.identity = nn.BatchNorm2d(outputs, eps=EPSILON)

    def forward(self, x):
        y = self.dense.normalised(x) + self.point.normalised(x)
        return torch.relu(y + self.identity(x) if hasattr(self, "identity") else y)


class RepBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, count: int):
        super().__init__()
        self.convs = nn.ModuleList(RepVGG(outputs if i else inputs, outputs) for i in range(count))

    def forward(self, x):
        for conv in self.convs:
            x = conv(x)
        return x


class SPPF(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.skip = ConvNorm(channels, half)
        self.before = nn.ModuleList(
            [ConvNorm(channels, half), ConvNorm(half, half, 3), ConvNorm(half, half)]
        )
        self.after = nn.ModuleList([ConvNorm(4 * half, half), ConvNorm(half, half, 3)])
        self.merge = ConvNorm(2 * half, channels)

    def forward(self, x):
        y = x
        for conv in self.before:
            y = conv(y)
        # Pools of 5 one after the other are pools of 5, 9 and 13.
        pools = [F.max_pool2d(y, size, 1, padding=size // 2) for size in (5, 9, 13)]
        y = torch.cat((y, *pools), dim=1)
        for conv in self.after:
            y = conv(y)
        return self.merge(torch.cat((self.skip(x), y), dim=1))


class Backbone(nn.Module):
    def __init__(self, channels: list[int], counts: list[int]):
        super().__init__()
        self.stem = RepVGG(3, channels[0], 2)
        pairs = itertools.pairwise(channels)
        self.down = nn.ModuleList(RepVGG(c, d, 2) for c, d in pairs)
        self.blocks = nn.ModuleList(
            RepBlock(c, c, n) for c, n in zip(channels[1:], counts, strict=True)
        )
        self.sppf = SPPF(channels[-1])

    def forward(self, x):
        x, features = self.stem(x), []
        for down, block in zip(self.down, self.blocks, strict=True):
            x = block(down(x))
            features.append(x)
        return [*features[:-1], self.sppf(x)]


class BiFusion(nn.Module):
    def __init__(self, coarse: int, same: int, fine: int, outputs: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(coarse, outputs, 2, 2)
        self.same = ConvNorm(same, outputs)
        self.fine = ConvNorm(fine, outputs)
        self.down = ConvNorm(outputs, outputs, 3, 2)
        self.merge = ConvNorm(3 * outputs, outputs)

    def forward(self, coarse, same, fine):
        parts = self.up(coarse), self.same(same), self.down(self.fine(fine))
        return self.merge(torch.cat(parts, dim=1))


class Neck(nn.Module):
    def __init__(self, backbone: list[int], channels: list[int], count: int):
        super().__init__()
        _, c2, c3, c4, c5 = backbone
        top, middle, down_0, same, down_1, coarse = channels
        self.reduce = nn.ModuleList([ConvNorm(c5, top), ConvNorm(top, middle)])
        self.fuse = nn.ModuleList([BiFusion(top, c4, c3, top), BiFusion(middle, c3, c2, middle)])
        self.down = nn.ModuleList([ConvNorm(middle, down_0, 3, 2), ConvNorm(same, down_1, 3, 2)])
        sizes = [(top, top), (middle, middle), (middle + down_0, same), (top + down_1, coarse)]
        self.blocks = nn.ModuleList(RepBlock(c, d, count) for c, d in sizes)

    def forward(self, p2, p3, p4, p5):
        top = self.reduce[0](p5)
        middle = self.reduce[1](self.blocks[0](self.fuse[0](top, p4, p3)))
        fine = self.blocks[1](self.fuse[1](middle, p3, p2))
        same = self.blocks[2](torch.cat((self.down[0](fine), middle), dim=1))
        return fine, same, self.blocks[3](torch.cat((self.down[1](same), top), dim=1))


class Head(nn.Module):
    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.stem = ConvNorm(channels, channels, act=F.silu)
        self.class_conv = ConvNorm(channels, channels, 3, act=F.silu)
        self.box_conv = ConvNorm(channels, channels, 3, act=F.silu)
        self.classify = nn.Conv2d(channels, classes, 1)
        self.regress = nn.Conv2d(channels, 4, 1)

    def forward(self, x, stride: int):
        """[b, h*w, 5 + classes]: centre, width, height, one, and the scores."""
        x = self.stem(x)
        scores = torch.sigmoid(self.classify(self.class_conv(x)))
        left, top, right, bottom = self.regress(self.box_conv(x)).unbind(1)
        rows = torch.arange(x.shape[2])[:, None] + 0.5
        columns = torch.arange(x.shape[3]) + 0.5
        x1, x2, y1, y2 = columns - left, columns + right, rows - top, rows + bottom
        box = torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), dim=1) * stride
        boxes = torch.cat((box, torch.ones_like(box[:, :1]), scores), dim=1)
        return boxes.flatten(2).transpose(1, 2)


class Yolov6(nn.Module):
    """Images [b, 3, h, w] to [b, n, 5 + classes]; channels after rounding."""

    def __init__(
        self,
        backbone: list[int],
        neck: list[int],
        *,
        counts: list[int],
        neck_count: int,
        classes: int,
    ):
        super().__init__()
        self.backbone = Backbone(backbone, counts)
        self.neck = Neck(backbone, neck, neck_count)
        self.heads = nn.ModuleList(Head(neck[i], classes) for i in (1, 3, 5))

    def forward(self, images):
        levels = self.neck(*self.backbone(images))
        scales = [
            head(x, stride) for head, x, stride in zip(self.heads, levels, (8, 16, 32), strict=True)
        ]
        return torch.cat(scales, dim=1)


def run(twin: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners [b, n, 4] and class scores [b, n, classes] for images [b, h, w, 3]."""
    with torch.no_grad():
        detected = twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    assert (detected[..., 4] == 1).all()
    centres, half = detected[..., :2], detected[..., 2:4] / 2
    return np.concatenate((centres - half, centres + half), axis=-1), detected[..., 5:]


def to_flax(module: Any, shapes: Any) -> Any:
    """Variables of the flax network whose parts have the names of the torch module's.

    Args:
      module: the torch module.
      shapes: the variables expected; those that no part of the torch module has are zero.
    """
    leaves = {}
    for name, part in module.named_modules():
        path = tuple(re.sub(r"\.(\d+)", r"_\1", name).split("."))
        for kind, leaf, tensor in _leaves(part):
            leaves[(kind, *path, leaf)] = np.ascontiguousarray(tensor.detach().numpy())
    expected: dict[Any, Any] = traverse_util.flatten_dict(shapes)
    unread = expected.keys() - leaves.keys()
    assert not leaves.keys() - expected.keys() and unread == {("params", "unused_tables")}
    assert all(leaves[path].shape == expected[path].shape for path in leaves)
    leaves |= {path: np.zeros(expected[path].shape, np.float32) for path in unread}
    return traverse_util.unflatten_dict(leaves)


def _leaves(part: Any) -> Iterator[tuple[str, str, Any]]:
    if isinstance(part, nn.BatchNorm2d):
        yield "params", "scale", part.weight
        yield "params", "bias", part.bias
        yield "batch_stats", "mean", part.running_mean
        yield "batch_stats", "var", part.running_var
    if isinstance(part, nn.ConvTranspose2d):
        # A transposed convolution in flax does not turn the kernel round.
        yield "params", "kernel", part.weight.permute(2, 3, 0, 1).flip(0, 1)
        yield "params", "bias", part.bias
    if isinstance(part, nn.Conv2d):
        yield "params", "kernel", part.weight.permute(2, 3, 1, 0)
        if part.bias is not None:
            yield "params", "bias", part.bias
