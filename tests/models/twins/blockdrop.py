"""BlockDrop in torch: real branches for one image."""

from __future__ import annotations

from tests.models.twins.resnet import F, ResNet, nn, torch


class Policy(nn.Module):
    def __init__(self, net: ResNet):
        super().__init__()
        self.net = net
        self.value = nn.Linear(net.outputs[-1], 1)

    def forward(self, images):
        return self.net(F.avg_pool2d(images, 2))


class BlockDrop(nn.Module):
    def __init__(self, backbone: ResNet, policy: ResNet):
        super().__init__()
        self.backbone = backbone
        self.policy = Policy(policy)

    def forward(self, image, pattern=None):
        """Logits [1, classes], and what decides for each block: it runs from 0 on."""
        (decided,) = self.policy(image)
        runs = torch.sigmoid(decided) >= 0.5 if pattern is None else pattern
        x = self.backbone.embed(image)
        for block, run in zip(self.backbone.blocks, runs, strict=True):
            x = block(x) if run else block.shortcut(x)
        return self.backbone.head(x.mean((2, 3))), decided
