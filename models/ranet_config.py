"""How RANet's blocks are arranged: which fuse, halve and narrow, and which stand before an exit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models.dense import BlockPlan

_FUSED_SHARE = 0.25
_KEPT = 0.5


@dataclass(frozen=True)
class RANetConfig:
    """A resolution-adaptive network; tuples have an entry per scale, the coarsest first.

    Attributes:
      scales: resolutions, from 1; each next number is twice as fine.
      factors: of `channels` and `growth`.
      bottlenecks: see `BlockPlan.bottleneck`.
      channels: of the stem, for a factor of 1.
      growth: channels that a layer adds, for a factor of 1.
      layers: of a block.
      classes: outputs of a classifier.
      blocks: of the first scale.
      more_blocks: how many more each next scale has; so many end in an exit.
      classifier: channels inside a classifier; None for as many as it is given.
      imagenet: a stem of a 7x7 convolution and a max-pool, both of stride 2, instead of one 3x3.
    """

    scales: tuple[int, ...]
    factors: tuple[int, ...]
    bottlenecks: tuple[int, ...]
    channels: int
    growth: int
    layers: int
    classes: int
    blocks: int = 2
    more_blocks: int = 2
    classifier: int | None = 128
    imagenet: bool = False

    def count(self, scale: int) -> int:
        """Blocks of a scale; the last of them, from `count(scale - 1)` on, end in an exit."""
        return self.blocks + scale * self.more_blocks if scale >= 0 else 0

    @property
    def exits(self) -> int:
        return self.count(len(self.scales) - 1)


def block_plans(config: RANetConfig, scale: int) -> Iterator[BlockPlan]:
    """The blocks of a scale: fused ones, then plain ones that end in exits."""
    count, level = config.count(scale), config.scales[scale]
    # A scale that starts n times finer than the coarsest is halved at the last n of these ...
    halved = [config.count(i) for i in range(scale)][1 - level :] if level > 1 else []
    # ... and narrowed in equal parts.
    narrowed = [i * count // level for i in range(1, level)]
    growth = config.growth * config.factors[scale]
    for number in range(1, count + 1):
        plain = number > config.count(scale - 1)
        kept = _KEPT if number in narrowed else None
        if plain:
            yield BlockPlan(config.layers, growth, config.bottlenecks[scale], kept=kept)
            continue
        yield BlockPlan(
            config.layers,
            growth,
            config.bottlenecks[scale],
            fused=int(growth * _FUSED_SHARE),
            fused_bottleneck=config.bottlenecks[scale - 1],
            fused_share=_FUSED_SHARE,
            halves=number in halved,
            kept=kept,
        )


def blocks_before(config: RANetConfig, index: int) -> tuple[int, range]:
    """The scale of an exit, and which of its blocks run between the exit before and this one."""
    scale = next(i for i in range(len(config.scales)) if index < config.count(i))
    first_exit = config.count(scale - 1)
    return scale, range(0 if index == first_exit else index, index + 1)
