"""RANet in torch: one image, the exits in a loop that stops.

Blocks are written from their channels on, with the scales' patterns of fused (U), halving (D) and
narrowing (T) blocks given as strings, so that none of the model's arithmetic is repeated here.
"""

from __future__ import annotations

from tests.models.twins.resnet import ConvNorm, F, nn, torch

# Per scale and block, the exit blocks last.
TINY = (("N",), ("UDT", "N"), ("UDT", "UDT", "N"))
# Of two scales of one resolution, which are halved and narrowed at different blocks.
EQUAL = (*TINY, ("UT", "UDT", "UD", "N"))


def stretch(x, size):
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


class Narrowed(nn.Module):
    def __init__(self, inputs: int, outputs: int, factor: int, stride: int = 1):
        super().__init__()
        inner = min(inputs, factor * outputs)
        self.narrow = ConvNorm(inputs, inner, 1)
        self.convolve = ConvNorm(inner, outputs, 3, stride)

    def forward(self, x):
        return torch.relu(self.convolve(torch.relu(self.narrow(x))))


class Layer(nn.Module):
    def __init__(self, inputs, growth, factor, stride=1, below=0, below_factor=0):
        super().__init__()
        shared = growth // 4 if below else 0
        self.new = Narrowed(inputs, growth - shared, factor, stride)
        if below:
            self.fused = Narrowed(below, shared, below_factor)

    def forward(self, x, below=None):
        new = self.new(x)
        if below is None:
            return torch.cat((x, new), dim=1)
        size = new.shape[2:]
        return torch.cat((stretch(x, size), stretch(self.fused(below), size), new), dim=1)


class Block(nn.Module):
    def __init__(self, kind, inputs, count, growth, factor, below=None, below_factor=0):
        super().__init__()
        self.sizes = [inputs + i * growth for i in range(count + 1)]
        layers = []
        for i in range(count):
            stride = 2 if "D" in kind and i + 1 == count else 1
            source = below[i] if "U" in kind else 0
            layers.append(Layer(self.sizes[i], growth, factor, stride, source, below_factor))
        self.layers = nn.ModuleList(layers)
        self.outputs = self.sizes[-1]
        self.is_fused, self.is_narrowed = "U" in kind, "T" in kind
        if self.is_fused:
            self.end = ConvNorm(below[count], self.outputs // 4, 1)
            self.outputs += self.outputs // 4
        if self.is_narrowed:
            self.narrow = ConvNorm(self.outputs, self.outputs // 2, 1)
            self.outputs //= 2

    def forward(self, x, below):
        features = [x]
        for i, layer in enumerate(self.layers):
            features.append(layer(features[-1], below[i] if self.is_fused else None))
        x = features[-1]
        if self.is_fused:
            end = torch.relu(self.end(below[-1]))
            x = torch.cat((x, stretch(end, x.shape[2:])), dim=1)
        return torch.relu(self.narrow(x)) if self.is_narrowed else x, features


class Classifier(nn.Module):
    def __init__(self, inputs: int, inner: int, classes: int):
        super().__init__()
        self.convs = nn.ModuleList((ConvNorm(inputs, inner, 3, 2), ConvNorm(inner, inner, 3, 2)))
        self.linear = nn.Linear(inner, classes)

    def forward(self, x):
        for conv in self.convs:
            x = torch.relu(conv(x))
        return self.linear(x.mean((2, 3)))


class BiasedStem(nn.Module):
    def __init__(self, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(3, outputs, 7, 2, padding=3)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))


class RANet(nn.Module):
    """Scales from the coarsest on; `strides` of the stem from the finest on."""

    def __init__(
        self, kinds, strides, factors, channels, growth, layers, classes, inner=None, imagenet=False
    ):
        super().__init__()
        widths = [channels * factor for factor in factors]
        self.pools_first = imagenet
        stem = [BiasedStem(widths[-1]) if imagenet else ConvNorm(3, widths[-1], 3)]
        for i, stride in enumerate(strides):
            stem.append(ConvNorm(widths[-1 - i], widths[-2 - i], 3, stride))
        self.stem = nn.ModuleList(stem)

        scales, classifiers, below = [], [], []
        for s, (pattern, factor) in enumerate(zip(kinds, factors, strict=True)):
            width, blocks = widths[s], []
            for i, kind in enumerate(pattern):
                source = (below[i].sizes, factors[s - 1]) if "U" in kind else ()
                blocks.append(Block(kind, width, layers, growth * factor, factor, *source))
                width = blocks[-1].outputs
                if "U" not in kind:
                    classifiers.append(Classifier(width, inner or width, classes))
            below = blocks
            scales.append(nn.ModuleList(blocks))
        self.blocks = nn.ModuleList(scales)
        self.classifiers = nn.ModuleList(classifiers)

    def exits(self, image):
        """Logits [1, classes] of one exit after the other."""
        x, bases = image, []
        for i, conv in enumerate(self.stem):
            x = torch.relu(conv(x))
            if self.pools_first and i == 0:
                x = F.max_pool2d(x, 3, 2, padding=1)
            bases.append(x)
        classifiers, below = iter(self.classifiers), []
        for blocks, x in zip(self.blocks, reversed(bases), strict=True):
            features = []
            for i, block in enumerate(blocks):
                x, outputs = block(x, below[i] if block.is_fused else None)
                features.append(outputs)
                if not block.is_fused:
                    yield next(classifiers)(x)
            below = features

    def forward(self, image, thresholds):
        """Logits [1, classes] of the first exit that is sure enough, and its number."""
        for number, logits in enumerate(self.exits(image)):
            sure = torch.softmax(logits, dim=1).max()
            if number == len(thresholds) or sure >= thresholds[number]:
                return logits, number
        raise AssertionError("the last exit takes everything")
