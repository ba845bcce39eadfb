"""Poison in pad lanes that nothing is known of; what is known of lanes stays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.rewrite import masks
from sod2jax.rewrite.padded import FINITE, Fill, Padded, constant_fill
from sod2jax.rewrite.poison import poisoned
from sod2jax.rewrite.sizes import Sizes
from sod2jax.transfer import poison_value

N, M = dims.parse("n"), dims.parse("m")
BOUNDS = map(Comparison.parse, ("n <= 3", "m <= 2"))
SIZES = Sizes({"n": np.int32(2), "m": np.int32(1)}, Region.of("nm", BOUNDS))


def filled(dtype: Any, fills: dict[int, Fill]) -> np.ndarray:
    """Ones of true shape [2, 1] in [3, 2], after poisoning."""
    value = Padded.prefix(jnp.ones((3, 2), dtype), (N, M), fills=fills)
    return np.asarray(poisoned(SIZES, value).array)


@pytest.mark.parametrize(
    "dtype", [np.float32, jnp.bfloat16, np.complex64, np.int32, np.uint8, np.bool_]
)
def test_unknown_lanes_hold_poison(dtype: Any) -> None:
    seen = filled(dtype, {}).astype(np.complex64)
    bad = np.asarray(poison_value(np.dtype(dtype))).astype(np.complex64)
    np.testing.assert_array_equal(seen[:2, 0], np.ones(2))
    np.testing.assert_array_equal(seen[2], np.full(2, bad))
    np.testing.assert_array_equal(seen[:, 1], np.full(3, bad))


def test_known_lanes_stay_where_an_unknown_axis_crosses() -> None:
    seen = filled(np.float32, {0: constant_fill(1.0)})
    np.testing.assert_array_equal(seen, [[1, np.nan], [1, np.nan], [1, 1]])


def test_finite_lanes_stay_finite() -> None:
    seen = filled(np.float32, {0: FINITE})
    most = np.finfo(np.float32).max
    np.testing.assert_array_equal(seen, [[1, np.nan], [1, np.nan], [most, most]])
    assert np.isfinite(filled(np.complex64, {0: FINITE, 1: FINITE})).all()


def test_constants_and_keys_stay() -> None:
    constant = Padded.prefix(jnp.ones(3), (N,), constant=1.0)
    keys = Padded.prefix(jax.random.split(jax.random.key(0), 3), (N,))
    assert poisoned(SIZES, constant) is constant and poisoned(SIZES, keys) is keys


def attention(x: Any, k: Any) -> Any:
    weights = jax.nn.softmax(x @ x.T + k, -1)
    return jnp.cumsum(weights @ x, 0), jnp.argsort(x[:, 0]), jnp.where(x > 0, x, -x).max()


def test_deep_poison_changes_no_bit() -> None:
    options = {"shapes": ("n, 3", None), "buckets": {"n": (8,)}, "on_unsupported": "error"}
    plain = sod2jax.optimize(attention, **options)
    deep = sod2jax.optimize(attention, poison="deep", **options)
    for n in (1, 5, 8):
        x = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
        for a, b in zip(plain(x, 0.5), deep(x, 0.5), strict=True):
            np.testing.assert_array_equal(a, b)
    selects = [
        sum(
            eqn.primitive.name == "select_n"
            for eqn in f.planner.specialisations[0].ready[0].jaxpr.eqns
        )
        for f in (plain, deep)
    ]
    assert selects[0] < selects[1]


def test_deep_poison_finds_a_mask_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def total(x: Any) -> Any:
        return jnp.sum(jnp.nan_to_num(x) * 0 + 1)

    x = np.ones(5, np.float32)
    monkeypatch.setattr(masks, "holds", lambda *_: True)
    seen = sod2jax.optimize(total, shapes=("n",), buckets={"n": (8,)}, poison="deep", audit=False)
    assert np.isnan(seen(x))
