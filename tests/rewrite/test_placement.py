"""Masks on small arrays in place of large ones: the same results, fewer bytes masked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.rewrite import placement
from tests import harnesses
from tests.harnesses import all_harnesses, check

Y = np.random.default_rng(1).normal(size=(3, 40)).astype(np.float32)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every cheaper place counts, as it does in large programs."""
    monkeypatch.setattr(placement, "WORTH", 0)
    yield


def masked(fun: Callable[..., Any], spec: str = "n, 3") -> tuple[int, list[str]]:
    """Runs a function at several sizes with deep poison; gives the bytes masked, and where."""
    f = sod2jax.optimize(
        fun, shapes=(spec,), buckets={"n": (8,)}, poison="deep", on_unsupported="error"
    )
    for n in (1, 5, 8):
        shape = [n if d.strip() == "n" else int(d) for d in spec.split(",")]
        x = np.random.default_rng(n).normal(size=shape).astype(np.float32)
        for a, b in zip(jax.tree.leaves(f(x)), jax.tree.leaves(jax.jit(fun)(x)), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)
    (executable,) = f.planner.specialisations[0].ready
    emitted = [mask for mask in executable.masks if mask.emitted]
    return sum(mask.size for mask in emitted), [mask.primitive for mask in emitted]


def products(x: Any) -> Any:
    """Per-example gradients of a layer, each scaled, summed; they have two readers."""
    grads = jax.vmap(lambda a, b: a[:, None] * b[None])(x, jnp.tanh(x @ Y))
    norms = jnp.sqrt(jnp.sum(grads**2, (1, 2)))
    return jnp.sum(grads * jnp.minimum(1, 1 / norms)[:, None, None], 0)


@pytest.mark.usefixtures("eager")
def test_factors_are_masked_in_place_of_their_products() -> None:
    size, where = masked(products)
    assert size < 8 * 3 * 40 * 4 and "reduce_sum" not in where


def test_small_programs_are_rewritten_once() -> None:
    size, where = masked(products)
    assert size == 8 * 3 * 40 * 4 and where == ["reduce_sum"]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "fun, before",
    [
        (lambda x: jnp.exp(-x * x).sum(0), "exp"),
        (lambda x: jnp.tanh(x + 1).sum(0), "tanh"),
        (lambda x: jax.nn.sigmoid(x + 1).sum(0), "logistic"),
        (lambda x: jnp.exp2(x).sum(0), "exp2"),
    ],
)
def test_functions_stay_beside_their_sum(fun: Callable[..., Any], before: str) -> None:
    _, where = masked(fun)
    assert where == [before]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "fun",
    [
        lambda x: jnp.where(x > 0, jnp.tanh(x + 1), jnp.sin(x + 2)).sum(0),
        lambda x: (jnp.broadcast_to((x + 1)[:, :, None], (*x.shape, 50)) ** 2).sum((0, 1)),
        lambda x: jnp.abs(jnp.transpose((x + 1)[:, None] * jnp.ones((1, 60, 1)), (1, 0, 2))).sum(1),
        lambda x: jnp.square((x[:, :, None] + Y[None]).reshape(x.shape[0], -1)).sum(0),
        lambda x: jnp.einsum("ni,nj->nij", x + 1, jnp.cos(x)).sum((0, 2)),
        lambda x: jnp.sum((x + 1)[:, :, None] * 3.0 * jnp.ones((1, 1, 30)), (0, 2)),
        lambda x: lax.scan(
            lambda c, _: (c + jnp.exp(-(x**2) * c[None]).sum(0), None), x[0], None, 3
        )[0],
        lambda x: jax.grad(lambda x: jnp.exp(-x * x).sum(0).sum() ** 2)(x),
        lambda x: jnp.sum(jnp.where(jnp.isnan(x), 0, jnp.exp(x)), 0),
        lambda x: jnp.sum(jnp.exp(x) / (x - x[:1]), 0),
    ],
)
def test_any_chain_is_exact(fun: Callable[..., Any]) -> None:
    masked(fun)


@pytest.mark.usefixtures("eager")
def test_what_is_not_finite_stays_seen() -> None:
    def fun(x: Any) -> Any:
        return jnp.einsum("ni,nj->nij", x, jnp.exp(x)).sum(0), jnp.exp(-x * x).sum(0)

    f = sod2jax.optimize(fun, shapes=("n, 3",), buckets={"n": (8,)}, poison="deep")
    for bad in (np.nan, np.inf, -np.inf, 1e30):
        x = np.ones((5, 3), np.float32)
        x[2, 1] = bad
        for a, b in zip(f(x), jax.jit(fun)(x), strict=True):
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
            np.testing.assert_allclose(a, b, rtol=1e-5)


W = np.random.default_rng(2).normal(size=(3, 3, 3)).astype(np.float32)


def convolved(x: Any) -> Any:
    """The sum over three neighbours, "n, 3" to "n, 3"."""
    return lax.conv_general_dilated(
        x[None], jnp.asarray(W), (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")
    )[0]


def residual(x: Any) -> Any:
    x = jnp.tanh(x + 1)
    for _ in range(3):
        x = jax.nn.relu(x + convolved(x))
    return x


def branching(x: Any) -> Any:
    """Residual layers that run or not: each is masked inside its branch."""
    x = jnp.tanh(x + 1)
    for k in range(3):
        x = lax.cond(x[0, 0] > k / 9, lambda x: jax.nn.relu(x + convolved(x)), lambda x: x, x)
    return x


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("fun, by", [(residual, "custom_jvp_call"), (branching, "cond")])
def test_what_others_read_is_masked_at_birth(fun: Callable[..., Any], by: str) -> None:
    _, where = masked(fun)
    assert where == ["tanh", by, by]  # and nothing reads the last one with a mask


# With masks on attention, in gradients, behind elementary functions, and on windows of NaN.
FEW = (
    "nn_logmeanexp_where",
    "attention_causal_grad",
    "median_nan",
    "jax_17070_softmax_normalised_again",
    "torch_81985_layer_norm_of_sequence_masked",
    "tinygp_106_growing_data",
)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", FEW)
def test_programs_with_placed_masks_equal_jit(name: str) -> None:
    check(all_harnesses()[name])


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("shard", range(harnesses.SHARDS))
def test_all_equal_jit_with_placed_masks(shard: int) -> None:
    for harness in harnesses.shard(shard):
        check(harness)
