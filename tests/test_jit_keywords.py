"""The keywords of ``jax.jit`` do what they do there, or the call says why it runs exactly."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import SpecError


def scaled(x: jax.Array) -> jax.Array:
    return x * 2


X = np.arange(3, dtype=np.float32)


def test_all_of_them_are_there():
    names = set(inspect.signature(jax.jit).parameters) - {"fun"}
    assert names <= set(inspect.signature(sod2jax.optimize).parameters)


@pytest.mark.parametrize(
    "given",
    [
        {"keep_unused": True},
        {"inline": True},
        {"device": jax.local_devices()[0]},
        {"backend": "cpu"},
        {"compiler_options": {"xla_cpu_enable_fast_math": False}},
    ],
    ids=lambda given: next(iter(given)),
)
@pytest.mark.filterwarnings("ignore:backend and device argument on jit:DeprecationWarning")
def test_runs_from_buckets(given: dict[str, Any]):
    function = sod2jax.optimize(scaled, shapes=("n",), buckets={"n": (8,)}, **given)
    for size in (1, 3, 8):
        x = np.arange(size, dtype=np.float32)
        np.testing.assert_array_equal(function(x), jax.jit(scaled, **given)(x))
    assert function.stats().exact_fallbacks == 0
    assert function.stats().compiles == 1


def test_compiler_options_are_those_of_every_executable():
    function = sod2jax.optimize(
        scaled, shapes=("n",), buckets={"n": (8,)}, compiler_options={"xla_no_such_option": True}
    )
    with pytest.raises(Exception, match="xla_no_such_option"):
        function(X)
    with pytest.raises(SpecError, match="compiler_options must be a dictionary; got 'fast'"):
        sod2jax.optimize(scaled, compiler_options="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["in_shardings", "out_shardings"])
def test_what_places_arrays_runs_from_buckets(given: str):
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    function = sod2jax.optimize(scaled, shapes=("n",), **{given: sharding})  # type: ignore[arg-type]
    for size in (1, 3, 8):
        x = np.arange(size, dtype=np.float32)
        got = function(x)
        np.testing.assert_array_equal(got, x * 2)
        assert got.committed == jax.jit(scaled, **{given: sharding})(x).committed
    assert (function.stats().exact_fallbacks, function.stats().compiles) == (0, 1)


def test_what_is_committed_stays_committed():
    function = sod2jax.optimize(scaled, shapes=("n",), buckets={"n": (8,)})
    for size in (1, 3, 8):
        x = jnp.arange(size, dtype=jnp.float32)
        assert not function(x).committed
        assert function(jax.device_put(x, jax.local_devices()[0])).committed
    assert function.stats().compiles == 1


@pytest.mark.parametrize("size", [3, 8])
def test_arrays_of_numpy_may_be_written_to_after_a_call(size: int):
    """XLA reads aligned memory of the host where it lies, perhaps after the call (jax#37830)."""

    def slow(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 30, lambda _, v: jnp.sin(v @ v.T @ v) + x, x)

    function = sod2jax.optimize(
        slow, shapes=("n, 256",), buckets={"n": (8,)}, compiler_options=None
    )
    fixed = sod2jax.optimize(lambda x, w: slow(w) * x.sum(), shapes=("n", None))
    x = _aligned((size, 256))
    want, theirs = np.asarray(jax.jit(slow)(x.copy())), np.asarray(slow(jnp.array(x)) * 2)
    for _ in range(20):
        x[:] = 0.01
        got = function(x)
        other = fixed(np.ones(2, np.float32), x)
        x[:] = np.nan
        np.testing.assert_allclose(got, want, rtol=1e-4)
        np.testing.assert_allclose(other, theirs, rtol=1e-4)


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An array that XLA can read in place."""
    count = int(np.prod(shape))
    memory = np.zeros(4 * count + 64, np.uint8)
    start = -memory.ctypes.data % 64
    array = memory[start : start + 4 * count].view(np.float32).reshape(shape)
    array[:] = 0.01
    return array


def test_what_jit_was_told_of_a_function_holds():
    @functools.partial(jax.jit, static_argnames="k", donate_argnums=0, inline=True)
    def repeated(x: jax.Array, k: int = 1) -> jax.Array:
        for _ in range(k):
            x = x * 2
        return x

    function = sod2jax.optimize(repeated, shapes={"x": "n"}, buckets={"n": (8,)})
    keywords = function.options.jit
    assert (keywords.static_argnames, keywords.donate_argnums) == (("k",), (0,))
    assert keywords.inline
    for size in (1, 5, 8):
        x = jnp.ones(size)
        np.testing.assert_array_equal(function(x, k=3), np.full(size, 8.0))
        assert x.is_deleted()
    other = sod2jax.optimize(repeated, donate_argnames="x")
    assert other.options.jit.donate_argnames == ("x",)
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    placed = sod2jax.optimize(jax.jit(scaled, out_shardings=sharding))
    assert placed.options.jit.given == {"out_shardings": sharding}
