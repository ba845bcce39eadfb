"""ConvNet-AIG in torch: one image, real branches, a gate on the input of each block."""

from __future__ import annotations

from tests.models.twins.resnet import ResNet, nn, torch


class Gate(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, 16, 1)
        self.norm = nn.BatchNorm2d(16)
        self.choose = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        pooled = x.mean((2, 3), keepdim=True)
        return self.choose(torch.relu(self.norm(self.reduce(pooled)))).flatten()


class ConvNetAIG(nn.Module):
    def __init__(self, backbone: ResNet):
        super().__init__()
        self.backbone = backbone
        self.gates = nn.ModuleList(Gate(c) for c in backbone.inputs)

    def forward(self, image, pattern=None, noise=None):
        """Logits [1, classes], and what decides for each block: it runs above 0."""
        x, decided = self.backbone.embed(image), []
        for i, (block, gate) in enumerate(zip(self.backbone.blocks, self.gates, strict=True)):
            logits = gate(x) if noise is None else gate(x) + torch.from_numpy(noise[i])
            decided.append(logits[1] - logits[0])
            run = bool(logits.argmax()) if pattern is None else pattern[i]
            x = block(x) if run else torch.relu(block.shortcut(x))
        return self.backbone.head(x.mean((2, 3))), torch.stack(decided)
