"""BlockDrop against a torch twin, the plain residual network, and itself at any size."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
import pytest

from models import blockdrop, load, resnet
from models.resnet import ResNet
from tests.models import gated
from tests.quick import last_of

# Of the published networks: 24.77 of 33 blocks, and 16.93 of 54.
RATES = (24.77 / 33, 16.93 / 54)


@pytest.fixture(scope="module")
def model() -> Any:
    return load("blockdrop")


@pytest.fixture(scope="module")
def twin() -> Any:
    pytest.importorskip("torch")
    from tests.models.twins.blockdrop import BlockDrop
    from tests.models.twins.resnet import ResNet, randomised

    backbone = ResNet((2, 2, 2), 16, 10, pooled=True)
    return randomised(BlockDrop(backbone, ResNet((1, 1, 1), 16, 6, pooled=True)))


@pytest.fixture(scope="module")
def twin_params(twin: Any, model: Any) -> Any:
    from tests.models.twins.resnet import to_flax

    return to_flax(twin, model.params)


# Against the twin


@pytest.mark.parametrize(("b", "h", "w"), last_of((1, 32, 32), (3, 24, 40), (2, 19, 27)))
def test_equals_the_twin(model, twin, twin_params, b, h, w):
    batch = gated.images(model, b, h, w)
    gated.check_twin(model.fun, twin_params, twin, batch)


def test_equals_the_twin_with_forced_gates(model, twin, twin_params):
    batch, pattern = gated.images(model, 3, 21, 16), gated.patterns(model, 0.5, 3)
    gated.check_twin_forced(model.gate_override, twin_params, twin, batch, pattern)


def test_bottlenecks_and_the_imagenet_stem_equal_the_twin():
    pytest.importorskip("torch")
    from tests.models.twins import blockdrop as twins
    from tests.models.twins.resnet import ResNet as TorchResNet
    from tests.models.twins.resnet import randomised, to_flax

    config = blockdrop.BlockDropConfig(
        resnet.ResNetConfig((1, 2), 8, 10, bottleneck=True, imagenet=True),
        resnet.ResNetConfig((1, 1), 8, 3, imagenet=True),
    )
    twin = randomised(
        twins.BlockDrop(
            TorchResNet((1, 2), 8, 10, bottleneck=True, imagenet=True),
            TorchResNet((1, 1), 8, 3, imagenet=True),
        )
    )
    module = blockdrop.BlockDrop(config)
    params = to_flax(twin, resnet.param_shapes(module))
    gated.check_twin(module.apply, params, twin, gated.images(load("blockdrop"), 4, 50, 37))


# Parameters


@pytest.mark.parametrize(
    ("size", "backbone", "policy"), [("full", 44_549_160, 4_923_234), ("cifar", 1_727_962, 78_215)]
)
def test_parameter_counts_are_the_published_ones(size, backbone, policy):
    shapes = resnet.param_shapes(blockdrop.BlockDrop(blockdrop.SIZES[size]))["params"]
    assert gated.count({"params": shapes["backbone"]}) == backbone
    assert gated.count({"params": shapes["policy"]}) == policy


def test_weights_follow_the_seed_and_stay_of_order_one(model):
    other = load("blockdrop", seed=1)
    kernels = [m.params["params"]["backbone"]["stem"]["conv"]["kernel"] for m in (model, other)]
    assert not np.array_equal(*kernels)
    batch = gated.images(model, 2, 19, 27)
    for m in (model, other):
        assert 0.1 < np.std(gated.jit(model.fun)(m.params, batch)[0]) < 10


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="gating is one of auto, branch, mask, not 'loop'"):
        load("blockdrop", gating="loop")
    with pytest.raises(ValueError, match="no public checkpoint"):
        load("blockdrop", weights="resnet.pt")


# Gates


def chain(net: ResNet, images: jax.Array) -> jax.Array:
    x = net.embed(images)
    for block in net.blocks:
        x = block.shortcut(x)
    return net.head(resnet.pool(x))


def test_all_gates_on_is_the_plain_network(model):
    gated.check_all_on(model, blockdrop.SIZES["tiny"].backbone)


def test_all_gates_off_is_the_chain_of_shortcuts(model):
    gated.check_all_off(model, blockdrop.SIZES["tiny"].backbone, chain)


def test_branches_equal_masks(model):
    gated.check_branches_equal_masks(model, *RATES)


def test_the_bias_sets_the_share_of_gates(model):
    gated.check_bias(model)


def test_a_bias_for_each_gate_sets_every_policy(model):
    decide, batch = gated.jit(model.fun), gated.images(model, 1, 32, 32)
    for policy in itertools.product((False, True), repeat=model.gates):
        biased = model.gate_bias(model.params, np.where(policy, 30.0, -30.0))
        np.testing.assert_array_equal(decide(biased, batch)[1], [policy])


# At any size


def test_any_size_from_one_executable_for_one_image_and_one_for_more(model):
    gated.check_any_size(model)


def test_blocks_run_for_the_rows_that_need_them(model):
    gated.check_compacted(model, RATES[1])


def test_forced_patterns_at_any_size(model):
    gated.check_any_size_forced(model, RATES[0])


@pytest.mark.slow
def test_full_size():
    gated.check_full(load("blockdrop", "full"))
