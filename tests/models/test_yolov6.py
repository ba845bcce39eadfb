"""YOLOv6 against a torch twin, its two forms against each other, and any image size."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import numpy as np
import pytest

from models import load, repvgg, yolov6
from models.nms import Kept
from tests.models.dynamic import check_dynamic
from tests.models.greedy import assert_kept, by_class
from tests.quick import QUICK, last_of

TINY = yolov6.SIZES["tiny"]
# A small network with two blocks where the published ones have several.
DEEPER = yolov6.YoloConfig(width=0.125, depth=0.17, classes=5)


@functools.cache
def jit(fun: Any) -> Any:
    return jax.jit(fun, compiler_options=QUICK)


def images(b: int, h: int, w: int, seed: int = 0) -> np.ndarray:
    (batch,) = yolov6.inputs(np.random.default_rng(seed), b=b, h=h, w=w)
    return batch


def assert_near(seen: Any, wanted: Any) -> None:
    for ours, theirs in zip(seen, wanted, strict=True):
        assert ours.shape == theirs.shape
        largest = float(np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * largest)


# Against the twin


@pytest.fixture(scope="module")
def twin() -> Any:
    """With every weight and running statistic random."""
    pytest.importorskip("torch")
    from tests.models.twins.resnet import randomised
    from tests.models.twins.yolov6 import Yolov6

    channels = [8, 8, 16, 32, 64], [16, 8, 8, 16, 16, 32]
    return randomised(Yolov6(*channels, counts=[1] * 4, neck_count=1, classes=3))


@pytest.fixture(scope="module")
def train_variables(twin) -> Any:
    from tests.models.twins.yolov6 import to_flax

    return to_flax(twin, yolov6.param_shapes(TINY, "train"))


@pytest.mark.parametrize(("b", "h", "w"), last_of((2, 2, 3), (1, 3, 1), (3, 1, 4)))
def test_the_deploy_form_equals_the_twin(twin, train_variables, b, h, w):
    from tests.models.twins.yolov6 import run

    batch = images(b, h, w)
    wanted = run(twin, batch)
    assert wanted[0].shape == (b, 21 * h * w, 4)
    assert wanted[1].std() > 0.05
    assert_near(jit(load("yolov6").fun)(repvgg.fused(train_variables), batch), wanted)


def test_the_train_form_equals_the_twin(twin, train_variables):
    from tests.models.twins.yolov6 import run

    batch = images(1, 2, 3)
    train = load("yolov6", form="train")
    assert_near(jit(train.fun)(train_variables, batch), run(twin, batch))


def test_repeated_blocks_equal_the_twin():
    pytest.importorskip("torch")
    from tests.models.twins.resnet import randomised
    from tests.models.twins.yolov6 import Yolov6, run, to_flax

    channels = [8, 16, 32, 64, 128], [32, 16, 16, 32, 32, 64]
    twin = randomised(Yolov6(*channels, counts=[1, 2, 3, 1], neck_count=2, classes=5))
    variables = to_flax(twin, yolov6.param_shapes(DEEPER, "train"))
    module, batch = yolov6.Yolov6(DEEPER), images(1, 2, 3)
    assert_near(jit(module.apply)(repvgg.fused(variables), batch), run(twin, batch))


# Forms


def test_a_block_has_the_same_result_in_both_forms(train_variables):
    """With all its branches and without each of them, so that none is lost."""
    block = train_variables["params"]["backbone"]["blocks_0"]["convs_0"]
    branches = ("dense", "point", "identity")
    assert block.keys() == set(branches)
    stats = train_variables["batch_stats"]["backbone"]["blocks_0"]["convs_0"]
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 8)).astype(np.float32)
    train, deploy = repvgg.RepConv(8, deploy=False), repvgg.RepConv(8)
    results = []
    for off in (None, *branches):
        variables = {"params": _without(block, off), "batch_stats": stats}
        one = deploy.apply(repvgg.fused(variables), x)
        np.testing.assert_allclose(one, train.apply(variables, x), rtol=1e-5, atol=1e-5)
        results.append(one)
    assert all(np.abs(results[0] - other).max() > 0.1 for other in results[1:])


def _without(block: Any, branch: str | None) -> Any:
    """The branch's normalisation multiplies by zero."""
    if branch is None:
        return block
    norm = block[branch] if branch == "identity" else block[branch]["norm"]
    norm = {**norm, "scale": np.zeros_like(norm["scale"])}
    return {**block, branch: norm if branch == "identity" else {**block[branch], "norm": norm}}


def test_fused_variables_are_those_of_the_deploy_form(train_variables):
    shapes = yolov6.param_shapes(TINY, "deploy")
    merged = repvgg.fused(train_variables)
    assert jax.tree.structure(merged) == jax.tree.structure(shapes)
    for leaf, shape in zip(jax.tree.leaves(merged), jax.tree.leaves(shapes), strict=True):
        assert (leaf.shape, leaf.dtype) == (shape.shape, np.float32)


def test_both_forms_of_a_seed_have_the_same_weights():
    deploy, train = load("yolov6", seed=3), load("yolov6", seed=3, form="train")
    jax.tree.map(np.testing.assert_array_equal, deploy.params, repvgg.fused(train.params))


@pytest.mark.parametrize(
    ("size", "form", "expected"),
    [
        ("n", "deploy", 4_646_974),
        ("n", "train", 5_058_270),
        ("s", "deploy", 18_537_310),
        ("full", "deploy", 18_537_310),
        ("full", "train", 20_147_358),
    ],
)
def test_parameter_counts_are_the_published_ones(size, form, expected):
    shapes = yolov6.param_shapes(yolov6.SIZES[size], form)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"])) == expected


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="form is one of deploy, train, not 'fast'"):
        load("yolov6", form="fast")
    with pytest.raises(ValueError, match="no public checkpoint"):
        load("yolov6", weights="somewhere.pt")


# Results


def test_inputs_are_photographs_of_the_size_asked_for():
    batch = images(2, 2, 3)
    assert batch.shape == (2, 64, 96, 3) and batch.dtype == np.float32
    assert 0 <= batch.min() < 0.2 and 0.8 < batch.max() <= 1


@pytest.fixture(scope="module")
def detected() -> Any:
    """Boxes and class scores of two images of 96 x 128."""
    model = load("yolov6")
    return tuple(map(np.asarray, jit(model.fun)(model.params, images(2, 3, 4))))


def test_boxes_lie_around_the_cells_of_three_grids(detected):
    """Sides spread around two cells, so the steps between boxes are those between cells."""
    boxes = detected[0][0]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for stride, cells in zip(yolov6.STRIDES, np.split(centres, [12 * 16, 12 * 20]), strict=True):
        grid = cells.reshape(96 // stride, 128 // stride, 2)
        steps = np.diff(grid[..., 0], axis=1).mean(), np.diff(grid[..., 1], axis=0).mean()
        np.testing.assert_allclose(steps, stride, rtol=0.3)
        np.testing.assert_allclose(cells.mean(0), (64, 48), atol=stride)


def test_detection_is_the_network_and_greedy_suppression(detected):
    boxes, class_scores = detected
    detector = load("yolov6", detect=True)
    seen = jit(detector.fun)(detector.params, images(2, 3, 4))
    np.testing.assert_allclose(seen.boxes, boxes, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(seen.scores, class_scores.max(-1), rtol=1e-5)
    np.testing.assert_array_equal(seen.labels, class_scores.argmax(-1))
    assert seen.labels.dtype == np.int32
    for boxes, scores, labels, keep, ranks in zip(*map(np.asarray, seen), strict=True):
        wanted = by_class(boxes, scores, labels)
        assert 10 < len(wanted) < (scores > yolov6.SCORE_THRESHOLD).sum()
        assert_kept(Kept(keep, ranks, np.int32(keep.sum())), wanted)


# At any size

SIDES = [(1, 1), (1, 2), (2, 1), (2, 3), (3, 2), (3, 3), (1, 4), (4, 1), (3, 4), (4, 4), (4, 3)]
SIZES = [{"b": 1 + i % 2, "h": h, "w": w} for i, (h, w) in enumerate([*SIDES, (2, 4)])]
# Of photographs on which no score is within 1e-5 of another that it competes with, and no overlap
# within 1e-4 of its threshold: decisions do not depend on the order of sums.
CLEAR = 13


def test_any_size_from_one_executable():
    """Boxes and class scores, and what suppression keeps of them."""
    model = load("yolov6")

    def everything(params: Any, batch: jax.Array) -> Any:
        boxes, class_scores = model.fun(params, batch)
        return boxes, class_scores, yolov6.suppress(boxes, class_scores)

    both = dataclasses.replace(model, fun=everything)
    buckets = {"b": (2,), "h": (4,), "w": (4,)}
    assert check_dynamic(both, SIZES, buckets, seed=CLEAR).compiles == 1


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"form": "train"}, {"detect": True}])
def test_other_forms_at_any_size(options):
    buckets = {"b": (2,), "h": (2, 4), "w": (4,)}
    assert check_dynamic(load("yolov6", **options), SIZES, buckets, seed=CLEAR).compiles == 2


@pytest.mark.slow
@pytest.mark.parametrize("size", ["n", "full"])
def test_full_size(size):
    sizes = [{"b": 1, "h": 2, "w": 3}, {"b": 1, "h": 3, "w": 2}]
    stats = check_dynamic(load("yolov6", size), sizes, {"b": (1,), "h": (3,), "w": (3,)})
    assert stats.compiles == 1
