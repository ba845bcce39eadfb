"""DGNet in torch: pooled by adaptive pools, upsampled by interpolation, masked by products."""

from __future__ import annotations

from tests.models.twins.resnet import F, ResNet, nn, torch


class SpatialGate(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.decide = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x, patches):
        return self.decide(F.adaptive_avg_pool2d(x, patches))


class ChannelGate(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.reduce = nn.Conv2d(inputs, inputs // 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(inputs // 4)
        self.decide = nn.Conv2d(inputs // 4, outputs, 1)

    def forward(self, x):
        return self.decide(torch.relu(self.norm(self.reduce(F.adaptive_avg_pool2d(x, 1)))))


class Gates(nn.Module):
    def __init__(self, inputs: int, convs):
        super().__init__()
        self.spatial = SpatialGate(inputs)
        self.channels = nn.ModuleList(
            ChannelGate(conv.conv.in_channels, conv.conv.out_channels) for conv in convs
        )


class DGNet(nn.Module):
    """`patches` has the side of a patch for each block."""

    def __init__(self, backbone: ResNet, patches: list[int]):
        super().__init__()
        self.backbone = backbone
        self.patches = patches
        self.gates = nn.ModuleList(
            Gates(inputs, block.convs)
            for inputs, block in zip(backbone.inputs, backbone.blocks, strict=True)
        )

    def forward(self, images, forced=None):
        """Logits, and per block the logits of its spatial gate and of its channel gates.

        What is `forced`, tensors of the same shapes, decides in their place, from 0 on.
        """
        x, logits = self.backbone.embed(images), []
        for i, (block, gates) in enumerate(zip(self.backbone.blocks, self.gates, strict=True)):
            shortcut = block.shortcut(x)
            side = self.patches[i]
            spatial = gates.spatial(x, [-(-n // side) for n in shortcut.shape[2:]])
            spatial_logits, channel_logits = spatial, []
            if forced is not None:
                spatial = forced[i][0]
            mask = (spatial >= 0).float()
            for j, conv in enumerate(block.convs):
                channel_logits.append(gates.channels[j](x))
                kept = channel_logits[-1] if forced is None else forced[i][1][j]
                x = torch.relu(conv(x))
                x = x * (kept >= 0).float() * F.interpolate(mask, size=x.shape[2:])
            x = block.last(x)
            x = torch.relu(x * F.interpolate(mask, size=x.shape[2:]) + shortcut)
            logits.append((spatial_logits, channel_logits))
        return self.backbone.head(x.mean((2, 3))), logits
