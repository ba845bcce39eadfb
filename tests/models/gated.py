"""What every gated model must keep, whichever way its gates are decided."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import models
import sod2jax
from models.base import Model
from models.resnet import ResNet, ResNetConfig
from tests.models.dynamic import assert_close, check_dynamic
from tests.quick import QUICK

# One image is a program of its own: its gates are branches.
ONE = [{"b": 1, "h": h, "w": w} for h, w in [(20, 20), (9, 14), (2, 2), (17, 20), (3, 19)]]
SEVERAL = [
    {"b": b, "h": h, "w": w}
    for b, h, w in [(2, 16, 13), (4, 20, 20), (3, 2, 7), (4, 11, 20), (2, 5, 5)]
    + [(4, 8, 16), (2, 20, 2)]
]
BUCKETS = {"b": (4,), "h": (20,), "w": (20,)}
# Below this distance from the threshold a decision may depend on the order of sums.
MARGIN = 1e-3


@functools.cache
def jit(fun: Any) -> Any:
    """Compiled quickly, and once for all tests that use the same function and shape."""
    return jax.jit(fun, compiler_options=QUICK)


def count(tree: Any) -> int:
    """Parameters, running statistics left out."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree["params"]))


def images(model: Model, b: int, h: int, w: int, seed: int = 0) -> np.ndarray:
    (batch,) = model.inputs(np.random.default_rng(seed), b=b, h=h, w=w)
    return batch


def patterns(model: Model, rate: float, b: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((b, model.gates)) < rate


def check_twin(fun: Callable[..., Any], params: Any, twin: Any, batch: np.ndarray) -> None:
    """Logits to 1e-4 and the same decisions, of which none is near its threshold."""
    from tests.models.twins.resnet import run_each

    wanted, decided = run_each(twin, batch)
    assert np.abs(decided).min() > MARGIN
    assert 0 < (decided >= 0).mean() < 1
    logits, gates = jit(fun)(params, batch)
    np.testing.assert_array_equal(gates, decided >= 0)
    _assert_near(logits, wanted)


def check_twin_forced(
    fun: Callable[..., Any], params: Any, twin: Any, batch: np.ndarray, pattern: np.ndarray
) -> None:
    from tests.models.twins.resnet import run_each

    wanted, _ = run_each(twin, batch, pattern)
    logits, gates = jit(fun)(params, batch, pattern)
    np.testing.assert_array_equal(gates, pattern)
    _assert_near(logits, wanted)


def _assert_near(seen: Any, wanted: np.ndarray) -> None:
    largest = float(np.abs(wanted).max())
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-4 * largest)


def plain(config: ResNetConfig, params: Any) -> tuple[ResNet, Any]:
    """The network without gates, and its variables out of those of the gated one."""
    return ResNet(config), {kind: tree["backbone"] for kind, tree in params.items()}


def check_all_on(model: Model, config: ResNetConfig) -> None:
    """Every gate forced on: the plain residual network."""
    net, variables = plain(config, model.params)
    batch = images(model, 2, 19, 27)
    forced = jit(model.gate_override)
    logits, _ = forced(model.params, batch, np.ones((2, model.gates), bool))
    assert_close(logits, jit(net.apply)(variables, batch), model.name)


def check_all_off(
    model: Model, config: ResNetConfig, chain: Callable[[ResNet, jax.Array], jax.Array]
) -> None:
    """Every gate forced off: the chain of shortcuts, written out."""
    net, variables = plain(config, model.params)
    batch = images(model, 2, 19, 27)
    logits, _ = jit(model.gate_override)(model.params, batch, np.zeros((2, model.gates), bool))
    wanted = jit(lambda v, x: net.apply(v, x, method=chain))(variables, batch)
    assert_close(logits, wanted, model.name)


def check_branches_equal_masks(model: Model, *rates: float) -> None:
    """Batch 8 by masks, by `vmap` of branches and by a loop of single images with branches."""
    batch, single = images(model, 8, 16, 13), jit(model.gate_override)
    branched = jit(models.load(model.name, model.size, gating="branch").gate_override)
    for rate in rates:
        pattern = patterns(model, rate, 8)
        masked = jit(model.gate_override)(model.params, batch, pattern)
        assert_close(branched(model.params, batch, pattern), masked, "vmap of branches")
        rows = [single(model.params, x[None], g[None]) for x, g in zip(batch, pattern, strict=True)]
        looped = jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)
        assert_close(looped, masked, "a loop of branches")
    traced = single.trace(model.params, batch[:1], patterns(model, rates[0], 1)).jaxpr
    assert str(traced).count(" cond[") == model.gates


def check_compacted(model: Model, rate: float) -> None:
    """Batch 8 through `sod2jax.optimize`, by masks and by `vmap` of branches, equals a loop.

    Every gated block is in a loop over the rows that need it, and nothing of it is outside.
    """
    batch, pattern = images(model, 8, 16, 13), patterns(model, rate, 8)
    single = jit(model.gate_override)
    rows = [single(model.params, x[None], g[None]) for x, g in zip(batch, pattern, strict=True)]
    looped = jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)
    for gating in ("mask", "branch"):
        fun = sod2jax.optimize(
            models.load(model.name, model.size, gating=gating).gate_override,
            shapes=(*model.shapes, "b, _"),
            constraints=model.constraints,
            buckets=dict.fromkeys("bhw", (20,)) | {"b": (8,)},
            on_unsupported="error",
            poison=True,
        )
        assert_close(fun(model.params, batch, pattern), looped, f"{gating}, compacted")
        assert_close(
            fun(model.params, batch[:5], pattern[:5]),
            jax.tree.map(lambda leaf: leaf[:5], looped),
            f"{gating}, compacted, fewer rows",
        )
        (made,) = fun.planner.specialisations
        compacted = [c for c in made.analysis.remarks if c.what.startswith("compacted")]
        assert len(compacted) == model.gates, list(map(str, made.analysis.remarks))


def check_bias(model: Model) -> None:
    """The bias moves the share of gates that are on from none to all."""
    batch, fun, shifted = images(model, 2, 19, 27), jit(model.fun), jit(model.gate_bias)
    shares = [
        float(np.mean(fun(shifted(model.params, bias), batch)[1]))
        for bias in (-30.0, -0.5, 0.0, 0.5, 30.0)
    ]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert 0 < shares[2] < 1


def check_any_size(model: Model) -> None:
    """One executable for one image, one for more."""
    for sizes in (ONE, SEVERAL):
        assert check_dynamic(model, sizes, BUCKETS).compiles == 1


def check_any_size_forced(model: Model, rate: float) -> None:
    """Several patterns of gates at one size, for one image and for more."""

    def inputs(rng: np.random.Generator, **dims: int) -> tuple[np.ndarray, ...]:
        return *model.inputs(rng, **dims), rng.random((dims["b"], model.gates)) < rate

    forced = dataclasses.replace(
        model, fun=model.gate_override, shapes=(*model.shapes, "b, _"), inputs=inputs
    )
    for sizes in (ONE[1:2], SEVERAL[:1]):
        assert check_dynamic(forced, 6 * sizes, BUCKETS).compiles == 1


def check_full(model: Model) -> None:
    """The published size, one image: two sizes from one executable."""
    sizes = [{"b": 1, "h": 97, "w": 160}, {"b": 1, "h": 160, "w": 130}]
    stats = check_dynamic(model, sizes, {"b": (1,), "h": (160,), "w": (160,)})
    assert stats.compiles == 1
