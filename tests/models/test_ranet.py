"""RANet against a torch twin, itself cut at each exit, and itself at any size."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import load, ranet, resnet
from models.base import Model
from tests.models import gated
from tests.models.dynamic import assert_close, check_dynamic
from tests.quick import last_of

# Between the confidences of random weights: some examples leave at each exit.
LOW, HIGH = 0.11, 0.2
TWIN_THRESHOLDS = np.array([0.9, 0.52], np.float32)


@pytest.fixture(scope="module")
def model() -> Model:
    return load("ranet")


@pytest.fixture(scope="module")
def net() -> ranet.RANet:
    return ranet.RANet(ranet.SIZES["tiny"])


@pytest.fixture(scope="module")
def cut(net: ranet.RANet) -> Any:
    """The network without a decision: the logits of all exits."""
    return gated.jit(lambda params, images: net.apply(params, images, method="every_exit"))


@pytest.fixture(scope="module")
def twin() -> Any:
    torch = pytest.importorskip("torch")
    from tests.models.twins import ranet as twins
    from tests.models.twins.resnet import randomised

    twin = randomised(twins.RANet(twins.TINY, (2, 2), (4, 2, 1), 8, 4, 2, 10, inner=16))
    with torch.no_grad():
        for classifier in twin.classifiers:  # Sure enough to differ from image to image.
            classifier.linear.weight *= 8
    return twin


@pytest.fixture(scope="module")
def batch(model: Model) -> np.ndarray:
    return gated.images(model, 8, 9, 14)


def confidences(logits: Any) -> np.ndarray:
    return np.asarray(jax.nn.softmax(jnp.asarray(logits)).max(axis=-1))


def first_sure(confidence: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The exit of each example, by a loop over its confidences."""
    last = len(thresholds)
    return np.array(
        [next((k for k in range(last) if row[k] >= thresholds[k]), last) for row in confidence]
    )


# Against the twin


@pytest.mark.parametrize(("b", "h", "w"), last_of((1, 20, 20), (4, 20, 20), (2, 16, 13)))
def test_equals_the_twin(model, twin, b, h, w):
    import torch

    from tests.models.twins.resnet import to_flax

    images = gated.images(model, b, h, w)
    with torch.no_grad():
        rows = [torch.from_numpy(x.transpose(2, 0, 1)[None].copy()) for x in images]
        sure = confidences(np.stack([torch.cat(list(twin.exits(row))).numpy() for row in rows]))
        assert np.abs(sure[:, :2] - TWIN_THRESHOLDS).min() > gated.MARGIN
        wanted = [twin(row, TWIN_THRESHOLDS) for row in rows]
    logits, exits = gated.jit(model.fun)(to_flax(twin, model.params), images, TWIN_THRESHOLDS)
    np.testing.assert_array_equal(exits, [number for _, number in wanted])
    expected = np.concatenate([row.numpy() for row, _ in wanted])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    if b == 4:
        assert set(np.asarray(exits).tolist()) == {0, 1, 2}


def test_two_scales_of_one_resolution_and_the_imagenet_stem_equal_the_twin(model):
    torch = pytest.importorskip("torch")
    from tests.models.twins import ranet as twins
    from tests.models.twins.resnet import randomised, to_flax

    factors = (4, 2, 1, 1)
    net = ranet.RANet(
        ranet.RANetConfig(
            (1, 2, 3, 3), factors, factors, channels=8, growth=4, layers=1, classes=10,
            blocks=1, more_blocks=1, classifier=None, imagenet=True,
        )
    )  # fmt: skip
    twin = randomised(twins.RANet(twins.EQUAL, (1, 2, 2), factors, 8, 4, 1, 10, imagenet=True))
    params = to_flax(twin, resnet.param_shapes(net))
    images = gated.images(model, 2, 50, 37)
    seen = gated.jit(lambda p, x: net.apply(p, x, method="every_exit"))(params, images)
    with torch.no_grad():
        channels_first = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        wanted = torch.stack(list(twin.exits(channels_first)), dim=1).numpy()
    assert seen.shape == (2, 4, 10)
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


# Parameters


@pytest.mark.parametrize(
    ("size", "expected", "exits"),
    [
        pytest.param("full", 87_972_617, 8, marks=pytest.mark.slow),
        pytest.param("cifar", 3_261_830, 8, marks=pytest.mark.slow),
        pytest.param("small", 2_451_158, 6, marks=pytest.mark.slow),
    ],
)
def test_parameter_counts_are_the_published_ones(size, expected, exits):
    assert ranet.SIZES[size].exits == exits
    assert gated.count(resnet.param_shapes(ranet.RANet(ranet.SIZES[size]))) == expected


def test_the_tiny_trunk_has_the_published_size(model):
    trunk = {k: v for k, v in model.params["params"].items() if not k.startswith("classifiers")}
    assert gated.count({"params": trunk}) == 30_484


def test_weights_follow_the_seed_and_stay_of_order_one(model, cut, batch):
    other = load("ranet", seed=1)
    kernels = [m.params["params"]["stem_0"]["conv"]["kernel"] for m in (model, other)]
    assert not np.array_equal(*kernels)
    for m in (model, other):
        assert (np.std(cut(m.params, batch), axis=(0, 2)) > 0.1).all()
        assert np.abs(cut(m.params, batch)).max() < 10


# Exits


def test_exits_are_those_of_single_images(model, cut, batch):
    """A batch by selects, and a loop of images by branches."""
    fun, every = gated.jit(model.fun), np.asarray(cut(model.params, batch))
    rng, seen = np.random.default_rng(0), []
    for _ in range(6):
        thresholds = rng.uniform(LOW, HIGH, 2).astype(np.float32)
        logits, exits = fun(model.params, batch, thresholds)
        rows = [fun(model.params, image[None], thresholds) for image in batch]
        looped = jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)
        assert_close(looped, (logits, exits), "a loop of branches")
        np.testing.assert_array_equal(exits, first_sure(confidences(every), thresholds))
        assert_close(logits, every[np.arange(8), exits], "the network cut at the exits")
        seen.append(set(np.asarray(exits).tolist()))
    assert set.union(*seen) == {0, 1, 2}
    assert max(map(len, seen)) > 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_forced_exits_are_the_network_cut_there(model, cut, batch, seed):
    forced = gated.jit(model.gate_override)
    exits = np.random.default_rng(seed).integers(0, 3, 8, np.int32)
    logits, taken = forced(model.params, batch, exits)
    np.testing.assert_array_equal(taken, exits)
    every = np.asarray(cut(model.params, batch))
    assert_close(logits, every[np.arange(8), exits], "the network cut at the exits")
    for image, number, row in zip(batch, exits, logits, strict=True):
        single, _ = forced(model.params, image[None], number[None])
        assert_close(single, row[None], "one image by branches")


@pytest.mark.slow
def test_a_vmap_of_branches_equals_selects(model, batch):
    exits = np.array([0, 1, 2, 2, 1, 0, 0, 2], np.int32)
    branched = gated.jit(load("ranet", gating="branch").gate_override)
    seen = branched(model.params, batch, exits)
    assert_close(seen, gated.jit(model.gate_override)(model.params, batch, exits), "vmap")


def test_what_comes_after_an_exit_is_not_seen(model, batch):
    """Neither by selects nor by branches: weights of later scales may be NaN."""
    broken = {
        name: jax.tree.map(lambda x: x * np.nan, tree)
        if name.startswith(("blocks_2", "classifiers_2"))
        else tree
        for name, tree in model.params["params"].items()
    }
    forced, exits = gated.jit(model.gate_override), np.array([0, 1, 1, 0, 2, 1, 0, 2], np.int32)
    wanted, _ = forced(model.params, batch, exits)
    logits, _ = forced({**model.params, "params": broken}, batch, exits)
    assert_close(logits[exits < 2], wanted[exits < 2], "left before")
    assert np.isnan(logits[exits == 2]).all()


def test_one_image_takes_branches_that_hold_all_that_follows(model):
    jaxpr = gated.jit(model.fun).trace(model.params, gated.images(model, 1, 9, 14)).jaxpr
    assert str(jaxpr).count(" cond[") == model.gates
    assert sum(eqn.primitive.name == "cond" for eqn in jaxpr.eqns) == 1


def test_the_bias_makes_examples_leave_earlier(model, batch):
    fun, shifted = gated.jit(model.fun), gated.jit(model.gate_bias)
    thresholds = np.full(2, (LOW + HIGH) / 2, np.float32)
    means = [
        float(np.mean(fun(shifted(model.params, bias), batch, thresholds)[1]))
        for bias in (-9.0, -0.3, 0.0, 0.3, 9.0)
    ]
    assert means == sorted(means, reverse=True)
    assert (means[0], means[-1]) == (2, 0)
    assert 0 < means[2] < 2


def test_a_bias_for_each_exit(model, batch):
    thresholds = np.full(2, 0.5, np.float32)
    for number, bias in enumerate([(9.0, -9.0), (-9.0, 9.0), (-9.0, -9.0)]):
        params = model.gate_bias(model.params, np.array(bias))
        exits = gated.jit(model.fun)(params, batch, thresholds)[1]
        np.testing.assert_array_equal(exits, number)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.5])
def test_thresholds_give_the_shares_asked_for(ratio):
    confidence = np.random.default_rng(0).random((1000, 5)).astype(np.float32)
    thresholds = ranet.exit_thresholds(confidence, ratio)
    seen = np.bincount(first_sure(confidence, thresholds), minlength=5) / 1000
    wanted = ratio ** np.arange(5)
    np.testing.assert_allclose(seen, wanted / wanted.sum(), atol=0.005)


def test_an_exit_without_a_share_takes_nothing():
    thresholds = ranet.exit_thresholds(np.full((3, 3), 0.5, np.float32), 0.05)
    np.testing.assert_array_equal(thresholds, [0.5, np.inf])


# At any size


def with_thresholds(model: Model) -> Model:
    def inputs(rng: np.random.Generator, **dims: int) -> tuple[np.ndarray, ...]:
        return *model.inputs(rng, **dims), rng.uniform(LOW, HIGH, 2).astype(np.float32)

    return dataclasses.replace(model, shapes=(*model.shapes, None), inputs=inputs)


@pytest.mark.parametrize(
    "sizes",
    [
        gated.ONE[1:3],
        gated.SEVERAL[1:3],
        pytest.param(gated.ONE, marks=pytest.mark.slow),
        pytest.param(gated.SEVERAL, marks=pytest.mark.slow),
    ],
    ids=["one", "several", "one_all", "several_all"],
)
def test_any_size_from_one_executable_for_one_image_and_one_for_more(model, sizes):
    assert check_dynamic(with_thresholds(model), sizes, gated.BUCKETS).compiles == 1


@pytest.mark.slow
@pytest.mark.parametrize("size", [gated.ONE[1], gated.SEVERAL[0]], ids=["one", "several"])
def test_forced_exits_at_any_size(model, size):
    def inputs(rng: np.random.Generator, **dims: int) -> tuple[np.ndarray, ...]:
        return *model.inputs(rng, **dims), rng.integers(0, 3, dims["b"], np.int32)

    forced = dataclasses.replace(
        model, fun=model.gate_override, shapes=(*model.shapes, "b"), inputs=inputs
    )
    assert check_dynamic(forced, 6 * [size], gated.BUCKETS).compiles == 1


@pytest.mark.slow
def test_full_size():
    gated.check_full(load("ranet", "full"))
