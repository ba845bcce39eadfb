"""ConvNet-AIG against a torch twin, the plain residual network, and itself at any size."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

from models import convnet_aig, load, resnet
from models.resnet import ResNet
from tests.models import gated
from tests.models.dynamic import check_dynamic
from tests.quick import last_of

# The target rate of the published ConvNet-AIG for CIFAR-10.
RATE = 0.6
# Of random weights whose decisions differ from block to block, none of them by a hair.
SEED = 2


@pytest.fixture(scope="module")
def model() -> Any:
    return load("convnet_aig")


@pytest.fixture(scope="module")
def twin() -> Any:
    pytest.importorskip("torch")
    from tests.models.twins.convnet_aig import ConvNetAIG
    from tests.models.twins.resnet import ResNet, randomised

    return randomised(ConvNetAIG(ResNet((2, 2, 2), 16, 10)), SEED)


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


def test_equals_the_twin_with_the_same_noise(model, twin, twin_params):
    from tests.models.twins.resnet import run_each

    batch, key = gated.images(model, 3, 24, 40), jax.random.key(0)
    noise = np.array(jax.random.gumbel(key, (3, model.gates, 2)))
    wanted, decided = run_each(twin, batch, [None] * 3, noise)
    assert np.abs(decided).min() > gated.MARGIN
    logits, gates = gated.jit(model.fun)(twin_params, batch, key)
    np.testing.assert_array_equal(gates, decided > 0)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_bottlenecks_and_the_imagenet_stem_equal_the_twin(model):
    pytest.importorskip("torch")
    from tests.models.twins import convnet_aig as twins
    from tests.models.twins.resnet import ResNet as TorchResNet
    from tests.models.twins.resnet import randomised, to_flax

    backbone = TorchResNet((2, 2), 8, 10, bottleneck=True, imagenet=True)
    twin = randomised(twins.ConvNetAIG(backbone), SEED)
    module = convnet_aig.ConvNetAIG(
        resnet.ResNetConfig((2, 2), 8, 10, bottleneck=True, imagenet=True)
    )
    params = to_flax(twin, resnet.param_shapes(module))
    gated.check_twin(module.apply, params, twin, gated.images(model, 4, 50, 37))


# Parameters


@pytest.mark.parametrize(("size", "expected"), [("full", 25_768_264), ("resnet101", 45_040_314)])
def test_parameter_counts_are_the_published_ones(size, expected):
    module = convnet_aig.ConvNetAIG(convnet_aig.SIZES[size])
    assert gated.count(resnet.param_shapes(module)) == expected


# Gates


def chain(net: ResNet, images: jax.Array) -> jax.Array:
    x = net.embed(images)
    for block in net.blocks:
        x = nn.relu(block.shortcut(x))
    return net.head(resnet.pool(x))


def test_all_gates_on_is_the_plain_network(model):
    gated.check_all_on(model, convnet_aig.SIZES["tiny"])


def test_all_gates_off_is_the_chain_of_shortcuts(model):
    gated.check_all_off(model, convnet_aig.SIZES["tiny"], chain)


def test_branches_equal_masks(model):
    gated.check_branches_equal_masks(model, RATE)


def test_the_bias_sets_the_share_of_gates(model):
    gated.check_bias(model)


def test_a_bias_for_each_gate_decides_for_each(model):
    pattern = gated.patterns(model, 0.5, 1)
    biased = model.gate_bias(model.params, np.where(pattern[0], 60.0, -60.0))
    _, gates = gated.jit(model.fun)(biased, gated.images(model, 2, 19, 27))
    np.testing.assert_array_equal(gates, np.repeat(pattern, 2, axis=0))


# At any size


def test_any_size_from_one_executable_for_one_image_and_one_for_more(model):
    gated.check_any_size(model)


def test_blocks_run_for_the_rows_that_need_them(model):
    gated.check_compacted(model, RATE)


def test_forced_patterns_at_any_size(model):
    gated.check_any_size_forced(model, RATE)


def test_sampled_gates_at_any_size(model):
    """The noise of an image does not depend on padding."""

    def inputs(rng: np.random.Generator, **dims: int) -> tuple[Any, ...]:
        return *model.inputs(rng, **dims), jax.random.key(int(rng.integers(100)))

    sampled = dataclasses.replace(model, shapes=(*model.shapes, None), inputs=inputs)
    check_dynamic(sampled, 2 * gated.SEVERAL[1:3], gated.BUCKETS)


@pytest.mark.slow
def test_full_size():
    gated.check_full(load("convnet_aig", "full"))
