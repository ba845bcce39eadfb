"""Where ladders begin that grow on demand: at 16, or where less work is worth an executable."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax


def mlp(w, v, x):
    return jax.nn.relu(x @ w) @ v


def attend(x):
    return jax.nn.softmax(jnp.einsum("bsd,btd->bst", x, x)) @ x


def weights(width):
    return np.full((width, width), 0.01, np.float32), np.ones((width, 3), np.float32)


@pytest.mark.parametrize(
    ("width", "buckets"),
    [(8, {1: 16, 2: 16, 3: 16, 16: 16}), (512, {1: 2, 2: 2, 3: 4, 16: 16})],
    ids=["little", "much"],
)
def test_a_batch_is_padded_as_far_as_its_work_is_no_matter(width, buckets):
    optimized = sod2jax.optimize(mlp, shapes=(None, None, f"b, {width}"), poison=True)
    for batch, size in buckets.items():
        args = (*weights(width), np.linspace(0, 1, batch * width).reshape(batch, width))
        args = jax.tree.map(np.float32, args)
        assert dict(optimized.bucket_for(*args)) == {"b": size}
        np.testing.assert_allclose(optimized(*args), jax.jit(mlp)(*args), rtol=1e-5)
    assert optimized.stats().compiles == len(set(buckets.values()))


def test_every_symbol_has_its_own_beginning():
    wide = sod2jax.optimize(lambda x, y: (attend(x), y * 2), shapes=("b, s, 64", "n"))
    sizes = wide.bucket_for(np.ones((1, 2, 64), np.float32), np.ones(3, np.float32))
    assert dict(sizes) == {"b": 1, "s": 4, "n": 16}
    thin = sod2jax.optimize(lambda y: y * 2, shapes=("n",))
    assert dict(thin.bucket_for(np.ones(3, np.float32))) == {"n": 16}
