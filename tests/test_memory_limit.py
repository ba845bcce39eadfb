"""A limit of memory: kept to by smaller blocks of rows, or refused before anything runs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import MemoryLimitError, SpecError
from sod2jax.options import Options

N = 512


def pairs(x: jax.Array, y: jax.Array) -> jax.Array:
    """A function of all pairs of rows: 1 MB at the largest size, where its arguments take 20 kB."""
    return jnp.exp(-jnp.sum((x[:, None] - y[None]) ** 2, -1)) @ y


def optimized(limit: Any) -> Any:
    return sod2jax.optimize(
        pairs,
        shapes=("n, 5", "n, 5"),
        constraints=(f"n <= {N}",),
        buckets={"n": (N,)},
        memory_limit=limit,
        tune="none",
        audit=False,
    )


def read(limit: Any) -> int | None:
    """The bytes that a limit stands for."""
    options = Options.checked(
        shapes=None,
        constraints=(),
        buckets=None,
        max_executables=1,
        on_unsupported="exact",
        memory_limit=limit,
    )
    return options.memory_limit


def arguments(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(n)
    return [rng.standard_normal((n, 5), np.float32) for _ in range(2)]


@pytest.fixture(autouse=True)
def _ranks() -> Any:
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.optimised
@pytest.mark.parametrize("limit", ["400 KiB", 200_000])
def test_large_values_are_computed_by_rows(limit: Any) -> None:
    free, bound = optimized(None), optimized(limit)
    for n in (1, 7, 300, N):
        args = arguments(n)
        with jax.numpy_rank_promotion("allow"):
            want = jax.jit(pairs)(*args)
        np.testing.assert_allclose(bound(*args), want, rtol=2e-5, atol=1e-6)
        free(*args)
    most = read(limit)
    assert free.memory_plan(N).xla.total_bytes > 1e6 > most >= bound.memory_plan(N).xla.total_bytes
    assert "it keeps to" in bound.explain()


@pytest.mark.optimised
def test_what_cannot_be_kept_to_is_refused_with_figures() -> None:
    with pytest.raises(
        MemoryLimitError, match=r"B are needed, .* in the bucket of n=512; "
    ) as told:
        optimized("20 kB")(*arguments(300))
    assert told.value.needed > told.value.limit == 20_000
    assert "sizes up to about n=" in str(told.value)
    with pytest.raises(MemoryLimitError, match="no smaller one fits"):
        optimized(10)(*arguments(300))


@pytest.mark.optimised
def test_sizes_that_fit_have_smaller_buckets() -> None:
    """The bucket of 512 takes too much in any blocks; one for these sizes does not."""
    fun = optimized(60_000)
    args = arguments(100)
    np.testing.assert_allclose(fun(*args), jax.jit(pairs)(*args), rtol=2e-5, atol=1e-6)
    (bucket,) = {e.bucket for e in fun.planner.ready}
    assert 100 <= bucket["n"] < N
    compiles = fun.stats().compiles
    fun(*arguments(50))
    assert fun.stats().compiles == compiles
    for _ in range(2):  # the second time without compiling anything
        with pytest.raises(MemoryLimitError, match="sizes up to about n="):
            fun(*arguments(N))
    assert fun.stats().compiles == compiles


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MiB", 1 << 29), ("1.5 GB", 1_500_000_000), ("64 kb", 64_000), (12, 12), (None, None)],
)
def test_limits_are_read(text: Any, size: int | None) -> None:
    assert read(text) == size


@pytest.mark.parametrize("limit", ["much", "-1MB", 0, True, 1.5, "5"])
def test_what_is_no_limit_is_refused(limit: Any) -> None:
    with pytest.raises(SpecError, match="memory_limit must be bytes, or a text such as '512MiB'"):
        sod2jax.optimize(pairs, memory_limit=limit)


def test_a_plan_is_foreseen_before_anything_is_compiled() -> None:
    fun = optimized(None)
    with pytest.raises(SpecError, match="no bucket holds 512"):
        fun.memory_plan(N)
    fun.analyse(*arguments(3))
    plan = fun.memory_plan({"n": 300})
    assert fun.stats().compiles == 0 and plan.xla is None
    assert plan.argument_bytes == 2 * N * 5 * 4 + 4 and plan.peak_bytes > N * N * 4
    fun(*arguments(300))
    assert fun.memory_plan(300).xla is not None
    with pytest.raises(SpecError, match="no bucket holds 513"):
        fun.memory_plan(N + 1)
    assert fun.memory_plan(np.int64(200)).xla is not None


@pytest.mark.parametrize("sizes", [0, -1, 2.5, True, "5", {"n": 0}, {"n": 2.5}, {"m": 5}])
def test_no_plan_is_foreseen_for_what_is_no_size(sizes: Any) -> None:
    fun = optimized(None)
    fun.analyse(*arguments(3))
    with pytest.raises(SpecError, match="no bucket holds"):
        fun.memory_plan(sizes)
