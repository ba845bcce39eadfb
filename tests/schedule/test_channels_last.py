"""Chains of convolutions with their features last: the same bits, few transposes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax import _compat
from sod2jax.ir.jaxprs import equations
from sod2jax.schedule.channels_last import channels_last

FIRST = ("NCHW", "OIHW", "NCHW")


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), np.float32)


def conv(x: Any, w: Any, numbers: Any = FIRST, **params: Any) -> Any:
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers, **params)


def run(fun: Any, *args: Any) -> Counter[str]:
    """Asserts that nothing but places changes; gives the primitives of what was made."""
    jaxpr = jax.make_jaxpr(fun)(*args)
    new, remarks = channels_last(jaxpr)
    assert len(remarks) == (new is not jaxpr)
    seen = jax.jit(_compat.function_of(new))(*jax.tree.leaves(args))
    wanted = jax.tree.leaves(jax.jit(_compat.function_of(jaxpr))(*jax.tree.leaves(args)))
    for a, b in zip(seen, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        scale = np.abs(np.asarray(b, np.float64)).max(initial=1)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * scale)
    if not remarks:
        return Counter()
    return Counter(
        eqn.primitive.name
        for eqn in equations(new)
        if eqn.primitive.name != "transpose" or moves(eqn)
    )


def moves(eqn: Any) -> bool:
    """Whether a transpose moves anything: axes of one lane may go anywhere."""
    wide = [k for k in eqn.params["permutation"] if eqn.invars[0].aval.shape[k] != 1]
    return wide != sorted(wide)


W = [normal(4, 4, 3, 3, seed=k) for k in range(4)]
X = normal(2, 4, 7, 6, seed=9)
BIAS = normal(4, seed=5)


def layer(x: Any, w: Any) -> Any:
    x = conv(x, w) + BIAS[None, :, None, None]
    mean = x.mean((0, 2, 3), keepdims=True)
    x = (x - mean) * lax.rsqrt(((x - mean) ** 2).mean((0, 2, 3), keepdims=True) + 1e-5)
    return jnp.maximum(x, 0)


def test_a_chain_has_a_transpose_at_each_end() -> None:
    def net(x: Any) -> Any:
        for w in W:
            x = layer(x, w)
        return x

    assert run(net, X)["transpose"] == 2 + len(W)


def test_residuals_pools_pads_slices_and_joins_stay_in_the_order() -> None:
    def net(x: Any) -> Any:
        y = layer(x, W[0])
        y = y + layer(y, W[1])
        y = lax.reduce_window(y, -jnp.inf, lax.max, (1, 1, 3, 2), (1, 1, 2, 1), "SAME")
        y = jnp.pad(y, ((0, 0), (0, 0), (1, 0), (0, 2)))[:, :, 1:, ::2]
        y = conv(jnp.concatenate([y, 2 * y], 1), jnp.concatenate([W[2], W[3]], 1))
        return jnp.where(y > 0, y, 0.1 * y).astype(jnp.bfloat16)

    assert run(net, X)["transpose"] == 2 + 3


@pytest.mark.parametrize("axes", [(2, 3), (1,), (0, 2), (3,), (0, 1, 2, 3)])
def test_reductions(axes: tuple[int, ...]) -> None:
    run(lambda x: layer(layer(x, W[0]), W[1]).sum(axes), X)
    run(lambda x: jnp.max(layer(layer(x, W[0]), W[1]), axes, keepdims=True), X)


def test_what_asks_for_the_order_gets_it() -> None:
    def net(x: Any) -> Any:
        y = layer(layer(x, W[0]), W[1])
        return y, y.reshape(2, -1), jnp.sort(y, 1), y.transpose(0, 2, 3, 1), y.transpose(1, 0, 3, 2)

    run(net, X)


def test_axes_of_one_lane_come_and_go() -> None:
    def one(x: Any) -> Any:  # as equinox has it: one image, under vmap
        for w in W:
            x = conv(x[None], w)[0]
            x = jnp.maximum(x + BIAS[:, None, None], 0)
        return x

    assert run(jax.vmap(one), X)["transpose"] == 2 + len(W)
    run(one, X[0])
    run(jax.vmap(one), X[:1])


@pytest.mark.parametrize("numbers", [("NCHW", "HWIO", "NHWC"), ("CNHW", "OIHW", "NCHW")])
def test_any_numbering(numbers: Any) -> None:
    def net(x: Any) -> Any:
        x = conv(
            x, jax.lax.transpose(W[0], (2, 3, 1, 0)) if "H" in numbers[1][:1] else W[0], numbers
        )
        return conv(jnp.tanh(x), W[1], (numbers[2], *FIRST[1:]))

    run(net, X if numbers[0][0] == "N" else X.transpose(1, 0, 2, 3))


def test_groups_and_gradients() -> None:
    def net(x: Any, w: Any) -> Any:
        y = jnp.tanh(conv(x, w[0]))
        y = conv(y, w[1][:, :2], feature_group_count=2)
        return jnp.sum(conv(jnp.tanh(y), w[2]) ** 2)

    run(net, X, W)
    run(jax.grad(net, (0, 1)), X, W)


def test_features_that_are_last_stay() -> None:
    last = ("NHWC", "HWIO", "NHWC")
    jaxpr = jax.make_jaxpr(lambda x, w: conv(x, w, last))(normal(1, 5, 5, 3), normal(3, 3, 3, 2))
    assert channels_last(jaxpr) == (jaxpr, [])
