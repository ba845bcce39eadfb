"""Examples of different sizes, padded and not, and how results are compared."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import Ragged


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


W = {"w": 0.5 * normal(4, 4, seed=1), "b": normal(4, seed=2)}
SIZES = (1, 3, 8, 5, 7, 2)  # buckets are 4 and 8
SMALL = {"n": (4, 8)}


def examples(*sizes, seed=0):
    return [normal(n, 4, seed=seed + n) for n in sizes]


def padded(arrays, *sizes, fill=np.nan):
    """Arrays in the corner of one array of poison."""
    if not jnp.issubdtype(arrays[0].dtype, np.floating):
        fill = np.iinfo(arrays[0].dtype).max
    out = np.full((len(arrays), *sizes), fill, arrays[0].dtype)
    for row, array in zip(out, arrays, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return out


def lengths(arrays):
    return np.array([len(x) for x in arrays], np.int32)


def assert_close(got, want, tol=1e-5):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert jax.typeof(a).weak_type == jax.typeof(b).weak_type
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tol, atol=tol)


def rows_of(result):
    """The rows of stacked results of one symbol, cut to their sizes."""
    tree = jax.tree.structure(result, is_leaf=lambda x: isinstance(x, Ragged))
    leaves = jax.tree.leaves(result, is_leaf=lambda x: isinstance(x, Ragged))
    count = np.shape(leaves[0].data if isinstance(leaves[0], Ragged) else leaves[0])[0]
    rows = []
    for b in range(count):
        cut = []
        for leaf in leaves:
            if isinstance(leaf, Ragged):
                size = int(leaf.sizes[b])
                pads = np.asarray(leaf.data[b])[size:]
                assert not pads.any()
                cut.append(leaf.data[b][:size])
            else:
                cut.append(leaf[b])
        rows.append(jax.tree.unflatten(tree, cut))
    return rows


def squares(params, x):
    """A loss whose gradient divides by zero in zeroed pad lanes."""
    h = x @ params["w"]
    unit = h / jnp.linalg.norm(h, axis=1, keepdims=True)
    return (
        jnp.sum(jnp.tanh(unit + params["b"][None]) ** 2) / jnp.sqrt(x.shape[0])
        + jnp.log(x * x).mean()
    )
