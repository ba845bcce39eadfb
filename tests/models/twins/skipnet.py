"""SkipNet in torch: one image, real branches, the gate before each block but the first."""

from __future__ import annotations

from tests.models.twins.resnet import ResNet, nn, torch


class RecurrentGate(nn.Module):
    def __init__(self, channels: list[int]):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Conv2d(c, 10, 1) for c in channels)
        self.lstm = nn.LSTMCell(10, 10)
        self.project = nn.Linear(10, 1)

    def forward(self, index, x, state):
        pooled = x.mean((2, 3), keepdim=True)
        state = self.lstm(self.embeddings[index](pooled).flatten(1), state)
        return self.project(state[0]).squeeze(), state


class SkipNet(nn.Module):
    def __init__(self, backbone: ResNet):
        super().__init__()
        self.backbone = backbone
        self.gate = RecurrentGate(backbone.outputs)

    def forward(self, image, pattern=None):
        """Logits [1, classes], and what decides after each block but the last: run above 0."""
        first, *others = self.backbone.blocks
        x, state, decided = first(self.backbone.embed(image)), None, []
        for i, block in enumerate(others):
            logit, state = self.gate(i, x, state)
            decided.append(logit)
            run = torch.sigmoid(logit) > 0.5 if pattern is None else pattern[i]
            x = block(x) if run else block.shortcut(x)
        return self.backbone.head(x.mean((2, 3))), torch.stack(decided)
