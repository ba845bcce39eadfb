"""DGNet against a torch twin, the plain residual network, and itself at any size."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

from models import dgnet, load, resnet
from models.base import Model
from models.dgnet import Decisions
from models.resnet import ResNet, ResNetConfig
from tests.models import gated
from tests.models.dynamic import assert_close, check_dynamic
from tests.quick import last_of

# Below this distance from the threshold a decision may depend on the order of sums.
MARGIN = 2e-5
TINY = dgnet.SIZES["tiny"]
# Published for half of the operations pruned.
RATE = 0.5


@pytest.fixture(scope="module")
def model() -> Model:
    return load("dgnet")


@pytest.fixture(scope="module")
def twin() -> Any:
    return make_twin(TINY)


@pytest.fixture(scope="module")
def twin_params(twin: Any, model: Model) -> Any:
    from tests.models.twins.resnet import to_flax

    return to_flax(twin, model.params)


def make_twin(config: dgnet.DGNetConfig) -> Any:
    pytest.importorskip("torch")
    from tests.models.twins.dgnet import DGNet
    from tests.models.twins.resnet import ResNet, randomised

    net = config.backbone
    backbone = ResNet(
        net.blocks, net.width, net.classes, bottleneck=net.bottleneck, imagenet=net.imagenet
    )
    patches = [
        side for side, count in zip(config.patches, net.blocks, strict=True) for _ in range(count)
    ]
    return randomised(DGNet(backbone, patches))


def run_twin(twin: Any, images: np.ndarray, forced: Any = None) -> tuple[np.ndarray, Any]:
    """Logits, and the gates' logits in the shapes of decisions."""
    import torch

    with torch.no_grad():
        channels_first = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        logits, decisions_of_twin = twin(channels_first, forced)
    return logits.numpy(), tuple(
        Decisions(spatial[:, 0].numpy(), tuple(c[:, :, 0, 0].numpy() for c in channels))
        for spatial, channels in decisions_of_twin
    )


def assert_near(seen: Any, wanted: np.ndarray) -> None:
    largest = float(np.abs(wanted).max())
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-4 * largest)


def check_twin(fun: Any, params: Any, twin: Any, images: np.ndarray) -> None:
    wanted, decided = run_twin(twin, images)
    logits, decisions = gated.jit(fun)(params, images)
    for decision, of_twin in zip(jax.tree.leaves(decisions), jax.tree.leaves(decided), strict=True):
        assert np.abs(of_twin).min() > MARGIN
        np.testing.assert_array_equal(decision, of_twin >= 0)
    assert 0.2 < share(decisions) < 0.8
    assert_near(logits, wanted)


def share(decisions: Any) -> float:
    """Of gates, of a mixed size each, that are on."""
    return float(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(decisions)]).mean())


def patterns(rng: np.random.Generator, config: dgnet.DGNetConfig, b: int, h: int, w: int) -> Any:
    """Random decisions, patch by patch and channel by channel, for images of h x w units."""
    shapes = jax.eval_shape(
        dgnet.DGNet(config).apply,
        resnet.param_shapes(dgnet.DGNet(config)),
        jax.ShapeDtypeStruct((b, config.unit * h, config.unit * w, 3), np.float32),
    )[1]
    return jax.tree.map(lambda leaf: rng.random(leaf.shape) < RATE, shapes)


# Against the twin


@pytest.mark.parametrize(("b", "h", "w"), last_of((1, 2, 2), (3, 1, 2), (2, 3, 1)))
def test_equals_the_twin(model, twin, twin_params, b, h, w):
    check_twin(model.fun, twin_params, twin, gated.images(model, b, h, w))


@pytest.mark.parametrize("seed", last_of(0, 1))
def test_equals_the_twin_at_random_patterns(model, twin, twin_params, seed):
    import torch

    images = gated.images(model, 3, 1, 2)
    forced = patterns(np.random.default_rng(seed), TINY, 3, 1, 2)
    as_logits = [
        (
            torch.from_numpy(spatial[:, None] - 0.5),
            [torch.from_numpy(kept[:, :, None, None] - 0.5) for kept in channels],
        )
        for spatial, channels in forced
    ]
    wanted, _ = run_twin(twin, images, as_logits)
    logits, decisions = gated.jit(model.gate_override)(twin_params, images, forced)
    jax.tree.map(np.testing.assert_array_equal, decisions, forced)
    assert_near(logits, wanted)


@pytest.mark.parametrize(
    "config",
    [
        dgnet.DGNetConfig(
            ResNetConfig((1, 2), 8, 10, bottleneck=True, imagenet=True), patches=(4, 2), unit=16
        ),
        dgnet.DGNetConfig(ResNetConfig((1, 2, 1), 8, 10), patches=(4, 2, 2), unit=8),
    ],
    ids=["bottlenecks", "cifar"],
)
def test_other_blocks_and_stems_equal_the_twin(config):
    from tests.models.twins.resnet import to_flax

    twin, net = make_twin(config), dgnet.DGNet(config)
    params = to_flax(twin, resnet.param_shapes(net))
    (images,) = resnet.image_inputs(
        np.random.default_rng(0), b=2, h=2 * config.unit, w=3 * config.unit
    )
    check_twin(net.apply, params, twin, images)


# Parameters


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("full", 22_354_296),
        ("resnet18", 11_946_064),
        ("resnet50", 31_384_568),
        ("cifar", 282_019),
    ],
)
def test_parameter_counts_are_the_published_ones(size, expected):
    assert gated.count(resnet.param_shapes(dgnet.DGNet(dgnet.SIZES[size]))) == expected


def test_at_224_pixels_every_gate_of_the_published_size_has_7_by_7_patches():
    decisions = patterns(np.random.default_rng(0), dgnet.SIZES["resnet18"], 1, 7, 7)
    assert {spatial.shape for spatial, _ in decisions} == {(1, 7, 7)}


def test_weights_follow_the_seed_and_stay_of_order_one(model):
    other, images = load("dgnet", seed=1), gated.images(model, 2, 1, 2)
    kernels = [m.params["params"]["backbone"]["stem"]["conv"]["kernel"] for m in (model, other)]
    assert not np.array_equal(*kernels)
    for m in (model, other):
        assert 0.1 < np.std(gated.jit(model.fun)(m.params, images)[0]) < 10


def test_checkpoints_are_refused():
    with pytest.raises(ValueError, match="dgnet has no public checkpoint"):
        load("dgnet", weights="resdg.pt")


# Gates


def chain(net: ResNet, images: jax.Array) -> jax.Array:
    x = net.embed(images)
    for block in net.blocks:
        x = nn.relu(block.shortcut(x))
    return net.head(resnet.pool(x))


@pytest.mark.parametrize(
    ("gate", "method"), [(True, ResNet.__call__), (False, chain)], ids=["on", "off"]
)
def test_all_gates_alike_are_the_plain_network_or_the_chain_of_shortcuts(model, gate, method):
    net, variables = gated.plain(TINY.backbone, model.params)
    images = gated.images(model, 3, 1, 2)
    pattern = np.full((3, model.gates), gate)
    logits, decisions = gated.jit(model.gate_override)(model.params, images, pattern)
    wanted = gated.jit(lambda v, x: net.apply(v, x, method=method))(variables, images)
    assert_close(logits, wanted, "plain")
    assert share(decisions) == gate


def test_one_decision_for_a_gate_is_that_for_all_its_patches_or_channels(model):
    images, rng = gated.images(model, 3, 1, 2), np.random.default_rng(0)
    forced, few = gated.jit(model.gate_override), rng.random((3, model.gates)) < RATE
    seen = forced(model.params, images, few)
    for block, (spatial, (channels,)) in enumerate(seen[1]):
        assert (np.asarray(spatial) == few[:, 2 * block, None, None]).all()
        assert (np.asarray(channels) == few[:, 2 * block + 1, None]).all()
    assert_close(forced(model.params, images, seen[1]), seen, "all patterns")


def test_the_decisions_taken_can_be_forced(model):
    images = gated.images(model, 3, 1, 2)
    seen = gated.jit(model.fun)(model.params, images)
    assert_close(gated.jit(model.gate_override)(model.params, images, seen[1]), seen, "forced")


def test_what_is_skipped_is_not_seen(model):
    """A product would let NaN through."""
    images, pattern = gated.images(model, 3, 1, 2), np.ones((3, model.gates), bool)
    pattern[:2, 2] = False  # The spatial gate of the second block, of two images.
    forced = gated.jit(model.gate_override)
    wanted, _ = forced(model.params, images, pattern)
    backbone = model.params["params"]["backbone"]
    nans = jax.tree.map(lambda x: x * np.nan, backbone["blocks_1"]["last"])
    broken = {**backbone, "blocks_1": {**backbone["blocks_1"], "last": nans}}
    params = {**model.params, "params": {**model.params["params"], "backbone": broken}}
    logits, _ = forced(params, images, pattern)
    assert_close(logits[:2], wanted[:2], "skipped")
    assert np.isnan(logits[2]).all()


def test_the_bias_moves_the_share_of_gates_from_none_to_all(model):
    images, fun, shifted = gated.images(model, 3, 1, 2), gated.jit(model.fun), model.gate_bias
    shares = [
        share(fun(shifted(model.params, bias), images)[1]) for bias in (-30.0, -0.5, 0, 0.5, 30.0)
    ]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert 0.2 < shares[2] < 0.8


def test_a_bias_for_each_gate(model):
    images = gated.images(model, 3, 1, 2)
    pattern = np.random.default_rng(0).random(model.gates) < RATE
    params = model.gate_bias(model.params, np.where(pattern, 30.0, -30.0))
    seen = gated.jit(model.fun)(params, images)
    wanted = gated.jit(model.gate_override)(params, images, np.tile(pattern, (3, 1)))
    assert_close(seen, wanted, "biases as large as decisions")


# At any size

SIZES = [(1, 1), (3, 3), (2, 3), (3, 1), (1, 3), (2, 2), (1, 2), (3, 2), (2, 1)]
SIZES = [
    *({"b": 1 + i % 3, "h": h, "w": w} for i, (h, w) in enumerate(SIZES)),
    *({"b": b, "h": h, "w": w} for b, h, w in [(3, 1, 1), (1, 3, 3), (1, 2, 1)]),
]
BUCKETS = {"b": (3,), "h": (3,), "w": (3,)}


def test_any_size_from_one_executable(model):
    assert check_dynamic(model, SIZES, BUCKETS).compiles == 1


def test_random_patterns_at_any_size(model):
    """Patterns of patches have sizes of their own, which follow those of the image."""

    def inputs(rng: np.random.Generator, **dims: int) -> tuple[np.ndarray, ...]:
        return *model.inputs(rng, **dims), patterns(rng, TINY, **dims)

    sides = ["2*h, 2*w"] * 3 + ["h, w"]
    spec = tuple(Decisions(f"b, {side}", ("b, _",)) for side in sides)
    forced = dataclasses.replace(
        model, fun=model.gate_override, shapes=(*model.shapes, spec), inputs=inputs
    )
    assert check_dynamic(forced, [SIZES[1], SIZES[3]] * 3, BUCKETS).compiles == 1


@pytest.mark.slow
def test_full_size():
    sizes = [{"b": 1, "h": 2, "w": 3}, {"b": 1, "h": 3, "w": 1}]
    stats = check_dynamic(load("dgnet", "full"), sizes, {"b": (1,), "h": (3,), "w": (3,)})
    assert stats.compiles == 1
