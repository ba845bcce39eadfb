"""SkipNet against a torch twin, the plain residual network, and itself at any size."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from models import load, resnet, skipnet
from models.resnet import ResNet
from tests.models import gated
from tests.quick import last_of

# The published SkipNet-101 trained with the hybrid loss executes 70.1 % of the operations.
RATE = 0.701
# Of random weights whose decisions differ from block to block, none of them by a hair.
SEED = 2


@pytest.fixture(scope="module")
def model() -> Any:
    return load("skipnet")


@pytest.fixture(scope="module")
def twin() -> Any:
    pytest.importorskip("torch")
    from tests.models.twins.resnet import ResNet, randomised
    from tests.models.twins.skipnet import SkipNet

    return randomised(SkipNet(ResNet((2, 2, 2), 16, 10)), SEED)


@pytest.fixture(scope="module")
def twin_params(twin: Any, model: Any) -> Any:
    from tests.models.twins.resnet import to_flax

    return to_flax(twin, model.params)


# Against the twin


@pytest.mark.parametrize(("b", "h", "w"), last_of((1, 32, 32), (3, 24, 40), (2, 19, 27)))
def test_equals_the_twin(model, twin, twin_params, b, h, w):
    gated.check_twin(model.fun, twin_params, twin, gated.images(model, b, h, w))


def test_equals_the_twin_with_forced_gates(model, twin, twin_params):
    batch, pattern = gated.images(model, 3, 21, 16), gated.patterns(model, 0.5, 3)
    gated.check_twin_forced(model.gate_override, twin_params, twin, batch, pattern)


def test_bottlenecks_and_the_imagenet_stem_equal_the_twin(model):
    pytest.importorskip("torch")
    from tests.models.twins import skipnet as twins
    from tests.models.twins.resnet import ResNet as TorchResNet
    from tests.models.twins.resnet import randomised, to_flax

    backbone = TorchResNet((2, 2), 8, 10, bottleneck=True, imagenet=True)
    twin = randomised(twins.SkipNet(backbone), SEED)
    module = skipnet.SkipNet(resnet.ResNetConfig((2, 2), 8, 10, bottleneck=True, imagenet=True))
    params = to_flax(twin, resnet.param_shapes(module))
    gated.check_twin(module.apply, params, twin, gated.images(model, 4, 50, 37))


# Parameters


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("full", 44_875_501),
        ("resnet50", 25_709_123),
        ("cifar", 1_752_305),
        ("small", 571_913),
        ("tiny", 178_449),
    ],
)
def test_parameter_counts_are_the_published_ones(size, expected):
    assert gated.count(resnet.param_shapes(skipnet.SkipNet(skipnet.SIZES[size]))) == expected


# Gates


def chain(net: ResNet, images: jax.Array) -> jax.Array:
    first, *others = net.blocks
    x = first(net.embed(images))
    for block in others:
        x = block.shortcut(x)
    return net.head(resnet.pool(x))


def test_all_gates_on_is_the_plain_network(model):
    gated.check_all_on(model, skipnet.SIZES["tiny"])


def test_all_gates_off_is_the_chain_of_shortcuts_after_the_first_block(model):
    gated.check_all_off(model, skipnet.SIZES["tiny"], chain)


def test_branches_equal_masks(model):
    gated.check_branches_equal_masks(model, RATE)


def test_the_bias_sets_the_share_of_gates(model):
    gated.check_bias(model)


def test_the_gate_remembers_blocks_before_the_last(model):
    """Forgetting the state would make a decision depend on one block's output only."""
    params = {"params": model.params["params"]["gate"]}
    gate = skipnet.RecurrentGate(model.gates + 1)
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 16)).astype(np.float32)

    @gated.jit
    def twice(x):
        first, state = gate.apply(params, 0, x, gate.start(1))
        second, _ = gate.apply(params, 0, x, state)
        return first, second

    first, second = twice(x)
    assert abs(float(first[0] - second[0])) > 1e-3


# At any size


def test_any_size_from_one_executable_for_one_image_and_one_for_more(model):
    gated.check_any_size(model)


def test_blocks_run_for_the_rows_that_need_them(model):
    gated.check_compacted(model, RATE)


def test_forced_patterns_at_any_size(model):
    gated.check_any_size_forced(model, RATE)


@pytest.mark.slow
def test_full_size():
    gated.check_full(load("skipnet", "full"))
