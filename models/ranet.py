"""RANet: sub-networks from coarse to fine resolution, and an exit for what is classified already.

After Yang et al. (CVPR 2020, arXiv 2003.07326), in evaluation. The stem gives one image of features
per scale. The coarsest runs first; each scale after it fuses in the features of the one before.
Classifiers stand at the end of each scale, and an example leaves at the first that is sure enough:
what comes after is not needed for it. The last pool of a classifier is global, so that images may
have any height and width; at the published sizes it equals the original's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import resnet
from models.base import Model
from models.dense import Block, Features
from models.ranet_config import RANetConfig, block_plans, blocks_before
from models.resnet import ConvNorm, Gating

_THRESHOLD = 0.5
_AROUND: Any = {n: ((n, n), (n, n)) for n in (1, 3)}

SIZES = {
    "tiny": RANetConfig(
        (1, 2, 3), (4, 2, 1), (4, 2, 1), channels=8, growth=4, layers=2, classes=10,
        blocks=1, more_blocks=1, classifier=16,
    ),
    "small": RANetConfig(
        (1, 2, 3), (4, 2, 1), (4, 2, 1), channels=16, growth=6, layers=4, classes=10
    ),
    "cifar": RANetConfig(
        (1, 2, 3, 3), (4, 2, 1, 1), (4, 2, 1, 1), channels=16, growth=6, layers=4, classes=10
    ),
    "full": RANetConfig(
        (1, 2, 3, 4), (4, 2, 1, 1), (4, 2, 1, 1), channels=16, growth=16, layers=8, classes=1000,
        classifier=None, imagenet=True,
    ),
}  # fmt: skip


class State(NamedTuple):
    """What goes on from one exit to the next.

    Attributes:
      bases: what the stem gave for each scale that has not begun.
      below: the features of each block of the scale below.
      x: the output of the last block.
      features: of each block of this scale so far.
    """

    bases: tuple[jax.Array, ...]
    below: tuple[Features, ...]
    x: jax.Array | None
    features: tuple[Features, ...]


Result = tuple[jax.Array, jax.Array]


class ImageNetStem(nn.Module):
    """A 7x7 convolution of stride 2, which keeps its bias, and batch normalisation."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(self.features, (7, 7), strides=2, padding=_AROUND[3], name="conv")(x)
        return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="norm")(x)


class Classifier(nn.Module):
    """[b, h, w, c] to logits [b, classes]."""

    config: RANetConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        features = self.config.classifier or x.shape[-1]
        for i in range(2):
            x = nn.relu(ConvNorm(features, 3, 2, name=f"convs_{i}")(x))
        return nn.Dense(self.config.classes, name="linear")(resnet.pool(x))


class RANet(nn.Module):
    """Images to the logits of the exit taken, and which it was.

    Args of the call:
      images: float32 [b, h, w, 3].
      thresholds: float32 [b, exits - 1]; an example leaves at the first exit whose largest
        probability is not below its threshold. None for one half everywhere.
      exits: int32 [b], the exit that each example takes, instead of what the thresholds say.
      branch: a real branch at each exit, for b of 1; otherwise selects, and all exits run.

    Returns:
      logits, float32 [b, classes], and the exit, int32 [b] from 0 to `exits` - 1.
    """

    config: RANetConfig

    def setup(self) -> None:
        self.stem = list(_stem(self.config))
        scales = range(len(self.config.scales))
        self.blocks = [
            [Block(plan) for plan in block_plans(self.config, scale)] for scale in scales
        ]
        self.classifiers = [Classifier(self.config) for _ in range(self.config.exits)]

    def __call__(
        self,
        images: jax.Array,
        thresholds: jax.Array | None = None,
        exits: jax.Array | None = None,
        *,
        branch: bool = False,
    ) -> Result:
        if thresholds is None:
            thresholds = jnp.full((images.shape[0], self.config.exits - 1), _THRESHOLD)
        return self._go_on(0, self._start(images), thresholds, exits, branch=branch)

    def every_exit(self, images: jax.Array) -> jax.Array:
        """The logits of all exits, float32 [b, exits, classes]."""
        state, found = self._start(images), []
        for index in range(self.config.exits):
            logits, state = self._advance(index, state)
            found.append(logits)
        return jnp.stack(found, axis=1)

    def _start(self, images: jax.Array) -> State:
        x, bases = images, []
        for i, conv in enumerate(self.stem):
            x = nn.relu(conv(x))
            if i == 0 and self.config.imagenet:
                x = nn.max_pool(x, (3, 3), (2, 2), padding=_AROUND[1])
            bases.append(x)
        return State(tuple(reversed(bases)), (), None, ())

    def _go_on(
        self,
        index: int,
        state: State,
        thresholds: jax.Array,
        exits: jax.Array | None,
        *,
        branch: bool,
    ) -> Result:
        """The result for examples that did not leave before exit `index`."""
        logits, state = self._advance(index, state)
        here = logits, jnp.full(logits.shape[:1], index, jnp.int32)
        if index == self.config.exits - 1:
            return here
        if exits is None:
            leaves = nn.softmax(logits).max(axis=-1) >= thresholds[:, index]
        else:
            leaves = exits <= index

        def leave(net: RANet, here: Result, *_: Any) -> Result:
            del net
            return here

        def later(net: RANet, here: Result, state: State, *decide: Any) -> Result:
            del here
            return net._go_on(index + 1, state, *decide, branch=branch)

        if branch:
            return nn.cond(leaves[0], leave, later, self, here, state, thresholds, exits)
        there = later(self, here, state, thresholds, exits)
        return jnp.where(leaves[:, None], here[0], there[0]), jnp.where(leaves, here[1], there[1])

    def _advance(self, index: int, state: State) -> tuple[jax.Array, State]:
        """Runs the blocks up to exit `index`, and its classifier."""
        scale, blocks = blocks_before(self.config, index)
        bases, below, x, features = state
        if blocks[0] == 0:
            bases, below, x, features = bases[1:], features, bases[0], ()
        for i in blocks:
            fused = i < self.config.count(scale - 1)
            x, more = self.blocks[scale][i](x, below[i] if fused else None)
            features = (*features, more)
        return self.classifiers[index](x), State(bases, below, x, features)


def _stem(config: RANetConfig) -> Iterator[nn.Module]:
    """From the finest scale to the coarsest."""
    scales, factors = config.scales[::-1], config.factors[::-1]
    first = config.channels * factors[0]
    yield ImageNetStem(first) if config.imagenet else ConvNorm(first, 3)
    for i in range(1, len(scales)):
        yield ConvNorm(config.channels * factors[i], 3, 1 if scales[i] == scales[i - 1] else 2)


def exit_thresholds(confidences: np.ndarray, ratio: float) -> np.ndarray:
    """Thresholds at which given examples leave in shares of a geometric series.

    As the paper has it, exit k, from 1, takes a share of `ratio**k`, normalised; the published
    curves have ratios from 0.05 to 1.95.

    Args:
      confidences: float [n, exits], the largest probability of each example at each exit.
      ratio: between the shares of one exit and the one before.

    Returns:
      float32 [exits - 1]; infinite where an exit's share is less than one example.
    """
    count, exits = confidences.shape
    shares = ratio ** np.arange(1.0, exits + 1)
    shares /= shares.sum()
    remaining, thresholds = confidences, np.full(exits - 1, np.inf, np.float32)
    for k in range(exits - 1):
        leaving = min(int(count * shares[k]), len(remaining))
        if leaving > 0:
            thresholds[k] = np.sort(remaining[:, k])[-leaving]
        remaining = remaining[remaining[:, k] < thresholds[k]]
    return thresholds


def build(size: str, *, weights: str | Path | None, seed: int, gating: Gating = "auto") -> Model:
    """RANet at one of `SIZES`; see `models.load`.

    `fun(params, images, thresholds=None)` gives the logits of the exit taken and its number, see
    `RANet`; thresholds (spec None) are float32 [exits - 1]. `gate_override` takes as its `gates`
    the exits, int32 [b] from 0 to `exits` - 1. `gate_bias` multiplies the logits of every exit but
    the last by `exp(bias)`: with a higher bias an example is surer, and leaves no later. "small"
    and "cifar" are for CIFAR-10, by default and as the published script has it, "full" is that of
    the script for ImageNet.

    Args:
      size: one of `SIZES`.
      weights: None; the weights are random.
      seed: of the weights.
      gating: see `resnet.apply_gated`.
    """
    resnet.require_options("ranet", weights, gating)
    module = RANet(SIZES[size])
    gates = module.config.exits - 1

    def ranet(params: Any, images: jax.Array, thresholds: jax.Array | None = None) -> Result:
        if thresholds is not None:
            thresholds = jnp.broadcast_to(thresholds[None], (images.shape[0], gates))
        return resnet.apply_gated(module, params, images, thresholds, gating=gating)

    def forced(params: Any, images: jax.Array, exits: jax.Array) -> Result:
        return resnet.apply_gated(module, params, images, None, exits, gating=gating)

    def gate_bias(params: Any, bias: Any) -> Any:
        factors = jnp.exp(jnp.broadcast_to(jnp.float32(bias), (gates,)))
        classifiers = {
            f"classifiers_{i}": _sharper(params["params"][f"classifiers_{i}"], factors[i])
            for i in range(gates)
        }
        return {**params, "params": {**params["params"], **classifiers}}

    return Model(
        name="ranet",
        size=size,
        fun=ranet,
        params=resnet.initial_params(module, seed),
        shapes=(None, "b, h, w, 3"),
        constraints=(),
        inputs=resnet.image_inputs,
        gates=gates,
        gate_override=forced,
        gate_bias=gate_bias,
        from_pattern=lambda pattern: pattern.sum(axis=1, dtype=np.int32),
    )


def _sharper(classifier: Any, factor: jax.Array) -> Any:
    """The weights of a classifier whose logits are multiplied by a factor."""
    return {**classifier, "linear": jax.tree.map(lambda x: x * factor, classifier["linear"])}
