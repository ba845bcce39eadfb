"""One check for every model: any size from few executables, as exact as `jax.jit` at that size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import sod2jax
from models.base import Model
from sod2jax.stats import Stats
from tests.compile_log import compile_log
from tests.quick import QUICK, THOROUGH

RTOL = 1e-5
_COMPARED = 3  # sizes of a model that are compared by default


def check_dynamic(
    model: Model,
    sizes: Sequence[Mapping[str, int]],
    buckets: Mapping[str, Sequence[int]] | None = None,
    *,
    seed: int = 0,
) -> Stats:
    """Runs a model at many sizes, with poisoned padding, beside `jax.jit` at some or all of them.

    All executables are compiled before the first call; after that nothing may be traced, lowered
    or compiled, and nothing may run with its exact shape.

    Args:
      model: its `inputs(rng, **dims)` makes the inputs of each call.
      sizes: the dimensions of each call.
      buckets: padded sizes by symbol; the product of their numbers is what is compiled.
      seed: of the inputs.

    Returns:
      The statistics of the optimized function.
    """
    rng = np.random.default_rng(seed)
    calls = [(model.params, *model.inputs(rng, **dims)) for dims in sizes]
    fun = sod2jax.optimize(
        model.fun,
        shapes=model.shapes,
        constraints=model.constraints,
        buckets=buckets,
        on_unsupported="error",
        poison=True,
    ).compile(*calls[0])
    with compile_log() as log:
        seen = [jax.block_until_ready(fun(*args)) for args in calls]
    assert not log, f"{model.name}: {len(log)} traced, lowered or compiled when warm"

    plain, compared = jax.jit(model.fun, compiler_options=QUICK), _compared(sizes)
    for dims, args, result in zip(sizes, calls, seen, strict=True):
        if dims in compared:
            assert_close(result, plain(*args), f"{model.name} at {dict(dims)}")
    stats = fun.stats()
    assert stats.exact_fallbacks == 0
    assert stats.calls == len(calls)
    return stats


def _compared(sizes: Sequence[Mapping[str, int]]) -> list[Mapping[str, int]]:
    """The sizes to compile the model for: all are many minutes, so by default only some."""
    different = [dims for k, dims in enumerate(sizes) if dims not in sizes[:k]]
    if THOROUGH:
        return different
    chosen = np.linspace(0, len(different) - 1, min(len(different), _COMPARED))
    return [different[round(k)] for k in chosen]


def assert_close(seen: Any, wanted: Any, what: str) -> None:
    """Trees, shapes, dtypes and integers equal; floats to 1e-5 of the leaf's largest magnitude."""
    assert jax.tree.structure(seen) == jax.tree.structure(wanted), what
    for a, b in zip(jax.tree.leaves(seen), jax.tree.leaves(wanted), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), what
        a, b = np.asarray(a), np.asarray(b)
        if not np.issubdtype(b.dtype, np.inexact):
            np.testing.assert_array_equal(a, b, err_msg=what)
            continue
        largest = np.abs(np.where(np.isfinite(b), b, 0)).max()
        np.testing.assert_allclose(a, b, rtol=0, atol=RTOL * float(largest), err_msg=what)
