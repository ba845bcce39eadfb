"""The Conformer in torch, with distances looked up one by one."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.linear2(F.silu(self.linear1(x)))


class Attention(nn.Module):
    """Key k meets query q with an encoding of the number q - k: no shift of a table."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(width, width) for _ in range(4)
        )
        self.relative_k_proj = nn.Linear(width, width, bias=False)
        self.bias_u = nn.Parameter(torch.zeros(heads, width // heads))
        self.bias_v = nn.Parameter(torch.zeros(heads, width // heads))

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1))

    def forward(self, x):
        length, width = x.shape[1:]
        steps = torch.arange(length, dtype=torch.float32)
        distances = steps[:, None] - steps[None]
        encoded = self.split(self.relative_k_proj(sinusoid(distances, width)))
        query, key, value = (self.split(f(x)) for f in (self.q_proj, self.k_proj, self.v_proj))
        scores = torch.einsum("bqhd,bkhd->bhqk", query + self.bias_u, key)
        scores = scores + torch.einsum("bqhd,qkhd->bhqk", query + self.bias_v, encoded)
        weights = torch.softmax(scores / math.sqrt(width / self.heads), dim=-1)
        return self.o_proj(torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(2))


def sinusoid(distances, width: int):
    """[..., width]: sines at even places, cosines at odd ones."""
    encoded = torch.zeros(*distances.shape, width)
    for i in range(0, width, 2):
        angles = distances / 10000.0 ** (i / width)
        encoded[..., i], encoded[..., i + 1] = torch.sin(angles), torch.cos(angles)
    return encoded


class Convolution(nn.Module):
    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1)
        self.depthwise_conv = nn.Conv1d(
            width, width, kernel, padding=kernel // 2, groups=width, bias=False
        )
        self.norm = nn.BatchNorm1d(width)
        self.pointwise_conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x):
        x = F.glu(self.pointwise_conv1(x.transpose(1, 2)), dim=1)
        x = F.silu(self.norm(self.depthwise_conv(x)))
        return self.pointwise_conv2(x).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, kernel: int):
        super().__init__()
        self.norm_feed_forward1 = nn.LayerNorm(width)
        self.feed_forward1 = FeedForward(width)
        self.norm_self_att = nn.LayerNorm(width)
        self.self_attn = Attention(width, heads)
        self.norm_conv = nn.LayerNorm(width)
        self.conv = Convolution(width, kernel)
        self.norm_feed_forward2 = nn.LayerNorm(width)
        self.feed_forward2 = FeedForward(width)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, x):
        x = x + self.feed_forward1(self.norm_feed_forward1(x)) / 2
        x = x + self.self_attn(self.norm_self_att(x))
        x = x + self.conv(self.norm_conv(x))
        x = x + self.feed_forward2(self.norm_feed_forward2(x)) / 2
        return self.norm_out(x)


class Subsampling(nn.Module):
    def __init__(self, bands: int, width: int):
        super().__init__()
        convs = [nn.Conv2d(1, width, 3, stride=2), nn.Conv2d(width, width, 3, stride=2)]
        self.layers = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU())
        self.linear = nn.Linear(width * (((bands - 1) // 2 - 1) // 2), width)

    def forward(self, x):
        return self.linear(self.layers(x[:, None]).transpose(1, 2).flatten(2))


class Conformer(nn.Module):
    def __init__(self, bands: int, width: int, layers: int, heads: int, kernel: int, classes: int):
        super().__init__()
        self.subsampling = Subsampling(bands, width)
        self.layers = nn.ModuleList(Block(width, heads, kernel) for _ in range(layers))
        self.fc = nn.Linear(width, classes, bias=False)

    def forward(self, x):
        x = self.subsampling(x)
        for layer in self.layers:
            x = layer(x)
        return torch.log_softmax(self.fc(x), dim=-1)
