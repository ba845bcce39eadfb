"""What a user made strict, promotion of dtypes and ranks, is for the user's code, not for rules."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax

PROGRAMS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "ifft": lambda x: jnp.fft.ifft(x, axis=0).real,
    "irfft": lambda x: jnp.fft.irfft(x, axis=0),
    "cumsum_reverse": lambda x: lax.cumsum(x, axis=0, reverse=True),
    "reshape": lambda x: x.T.reshape(-1),
    "concatenate": lambda x: jnp.concatenate([x, x, x[::-1]], 0),
    "sort": lambda x: jnp.sort(x, axis=0),
    "argmax": lambda x: jnp.argmax(x, axis=0),
    "top_k": lambda x: lax.top_k(x[:, 0], 1)[0],
    "scan": lambda x: lax.scan(lambda c, row: (c + row, c * row), x[0], x)[1],
    "gather": lambda x: x[jnp.argsort(x[:, 0])],
    "scatter": lambda x: x.at[::2].add(1),
    "window": lambda x: lax.reduce_window(x, 0.0, lax.add, (3, 1), (2, 1), "SAME"),
    "convolution": lambda x: jnp.convolve(x[:, 0], jnp.ones(3, np.float32), mode="same"),
    "cholesky": lambda x: jnp.linalg.cholesky(x @ x.T + jnp.eye(x.shape[0], dtype=np.float32)),
    "bits": lambda x: jax.random.uniform(jax.random.key(0), x.shape),
    "permutation": lambda x: jax.random.permutation(jax.random.key(1), x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_rules_run_whatever_the_user_made_strict(name):
    f = sod2jax.optimize(
        PROGRAMS[name], shapes=("n, 3",), buckets={"n": (8,)}, on_unsupported="error"
    )
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        want = jax.jit(PROGRAMS[name])(x)
        np.testing.assert_allclose(f(x), want, rtol=1e-4, atol=1e-5)
