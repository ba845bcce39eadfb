"""Patches of square images of any side: the number of patches is a square, its root a shape."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 4, 4)).astype(np.float32)


def mixed(x):
    """Tokens of an image: a convolution over the image, attention over the tokens."""
    side = math.isqrt(x.shape[0])
    image = x.reshape(1, side, side, 4)
    dims = ("NHWC", "HWIO", "NHWC")
    image = lax.conv_general_dilated(image, KERNEL, (1, 1), "SAME", dimension_numbers=dims)
    tokens = image.reshape(-1, 4)
    return jax.nn.softmax(tokens @ x.T) @ x


def with_class_token(x):
    side = math.isqrt(x.shape[0] - 1)
    return x[0] + x[1:].reshape(side, side, 4).mean((0, 1))


def turned(x):
    side = int(x.shape[0] ** 0.5)
    summed = jax.grad(lambda x: (x.reshape(side, side, 4).cumsum(0) ** 2).sum())
    return x.reshape(side, side, 4).transpose(1, 0, 2).reshape(-1, 4), summed(x)


@pytest.mark.parametrize(
    ("fun", "more"), [(mixed, 0), (with_class_token, 1), (turned, 0)], ids=["vit", "cls", "turned"]
)
def test_a_side_is_the_root_of_the_patches(fun, more):
    spec = f"s*s + {more}, 4"
    optimized = sod2jax.optimize(
        fun, shapes=(spec,), constraints=("s <= 7",), buckets={"s": (7,)}, poison=True
    )
    rng = np.random.default_rng(1)
    for side in (5, 1, 7, 3):
        x = rng.normal(size=(side * side + more, 4)).astype(np.float32)
        for seen, want in zip(
            jax.tree.leaves(optimized(x)), jax.tree.leaves(jax.jit(fun)(x)), strict=True
        ):
            assert jnp.shape(seen) == jnp.shape(want)
            np.testing.assert_allclose(seen, want, rtol=1e-4, atol=1e-4)
    assert optimized.stats().exact_fallbacks == 0
    assert optimized.stats().compiles == 1
    with pytest.raises(sod2jax.errors.ShapeError, match="which no 's' of 1 or more gives"):
        optimized(np.ones((6 + more, 4), np.float32))
