"""Products of which only slices are read become products with slices of the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax import _compat
from sod2jax.schedule.chunks.flat import flat


def qkv(x: Any, w: Any) -> Any:
    q, k, v = jnp.einsum("sd,nde->nse", x, w)
    return q + 2 * k, v


def features(x: Any, w: Any) -> Any:
    both = x @ w[0]
    return both[:, :1], both[:, 1:]


def parts(x: Any, w: Any) -> Any:
    a, b = lax.split(x @ w[0], (1, 3), axis=1)
    return a, jnp.tanh(b)


def rows(x: Any, w: Any) -> Any:
    """Slices of the other operand's axis."""
    both = x @ w[0]
    return both[:2], both[2:]


def whole(x: Any, w: Any) -> Any:
    both = x @ w[0]
    return both[:, :1], both.sum()


def strided(x: Any, w: Any) -> Any:
    both = x @ w[0]
    return both[:, ::2], both[:, 1::2]


@pytest.mark.parametrize(
    ("fun", "products"), [(qkv, 3), (features, 2), (parts, 2), (rows, 2), (whole, 1), (strided, 1)]
)
def test_each_slice_has_its_product(fun: Callable[..., Any], products: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((5, 4), np.float32), rng.standard_normal((3, 4, 4), np.float32)
    jaxpr = jax.make_jaxpr(fun)(x, w)
    eqns, outputs = flat(jaxpr)
    assert sum(e.primitive.name == "dot_general" for e in eqns) == products
    assert not {"split", "unstack"} & {e.primitive.name for e in eqns}
    run = _compat.function_of(_compat.with_equations(jaxpr, eqns, outputs))
    for seen, want in zip(run(x, w), jax.tree.leaves(fun(x, w)), strict=True):
        np.testing.assert_allclose(seen, want, rtol=1e-6)
