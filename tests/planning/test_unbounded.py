"""Common programs on sizes without upper bounds: padded, exact, and from few traces."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from tests.quick import run_plainly


def to_multiple_of_8(x):
    return jnp.pad(x, (0, -x.shape[0] % 8))


def decides(x, y):
    return x[: y.shape[0]] * 2 if x.shape[0] > y.shape[0] else x + 1


def middle(x):
    n = x.shape[0]
    return x[n // 4 : 3 * n // 4]


ONE = {
    "first": lambda x: x[:2],
    "rest": lambda x: x[2:],
    "last": lambda x: x[-3:],
    "inner": lambda x: x[1:-1],
    "half": lambda x: x[: x.shape[0] // 2],
    "middle": middle,
    "roll": lambda x: jnp.roll(x, x.shape[0] // 2),
    "set": lambda x: x.at[:2].set(1.0),
    "top_k": lambda x: lax.top_k(x, x.shape[0] // 2)[0],
    "fftshift": lambda x: jnp.fft.fftshift(x),
    "pad": to_multiple_of_8,
    "blocks": lambda x: to_multiple_of_8(x).reshape(-1, 8).sum(1),
    "big": lambda x: x * 2 if x.shape[0] > 65536 else x * 3,
    "searchsorted": lambda x: jnp.searchsorted(jnp.sort(x), x, method="sort"),
}
TWO = {
    "min": lambda x, y: x[: min(x.shape[0], y.shape[0])],
    "update": lambda x, y: lax.dynamic_update_slice(x, y, (0,)),
    "if": decides,
}
SIZES = [7, 12, 17, 5, 16, 8, 40]


def check(fun, arguments, shapes):
    """Traces, where every call ran padded and exact in a bucket less than 4 times too large."""
    f = sod2jax.optimize(fun, shapes=shapes, poison=True, on_unsupported="error")
    for args, (want,) in zip(arguments, run_plainly(fun, arguments), strict=True):
        got = f(*args)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-6)
    stats = f.stats()
    assert stats.exact_fallbacks == 0
    assert all(size <= 64 for bucket in stats.hits for size in bucket.values())
    return stats.traces


def values(size):
    return np.cos(np.arange(size) * 7.0).astype(np.float32)


# Without specs one trace is of the first call alone.
@pytest.mark.parametrize("shapes", [None, ("n",)], ids=["bare", "specs"])
@pytest.mark.parametrize("name", ONE)
def test_one_size(name, shapes):
    assert check(ONE[name], [(values(n),) for n in SIZES], shapes) <= 3


@pytest.mark.parametrize("shapes", [None, ("n", "m")], ids=["bare", "specs"])
@pytest.mark.parametrize("name", TWO)
def test_two_sizes(name, shapes):
    arguments = [
        (values(n), values(n - k)) for n, k in zip(SIZES, [3, 9, 1, 2, 5, 4, 3], strict=True)
    ]
    assert check(TWO[name], arguments, shapes) <= 3


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_the_smallest_sizes(name):
    fun = (ONE | TWO)[name]
    count = 1 if name in ONE else 2
    f = sod2jax.optimize(fun, shapes=("n", "m")[:count], poison=True, on_unsupported="error")
    calls = [[values(n)] * count for n in (1, 2, 3)]
    for args, (want,) in zip(calls, run_plainly(fun, calls), strict=True):
        np.testing.assert_allclose(f(*args), want, rtol=1e-6)
    assert f.stats().exact_fallbacks == 0


def test_a_computed_size_has_no_end_of_its_own():
    def fun(x):
        positive = sod2jax.numpy.compress(x > 0, x)
        return positive * 2 if x.shape[0] <= 65536 else positive

    f = sod2jax.optimize(fun, shapes=("n",), cut="always", poison=True)
    for n in (5, 40):
        x = values(n)
        np.testing.assert_array_equal(f(x), x[x > 0] * 2)
    buckets = [e.bucket for s in f.planner.specialisations for e in s.ready]
    assert all(size <= 64 for bucket in buckets for size in bucket.values())
