"""CodeBERT on real source code at any length: exact, few executables, nothing traced when warm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

import models
import sod2jax
from models import codebert, source_code
from sod2jax import _compat
from tests.compile_log import compile_log

LADDER = (16, 40, 64)


@pytest.fixture(scope="module")
def model() -> Any:
    return models.load("codebert", "tiny")


def optimized(model: Any, inputs: int, **options: Any) -> sod2jax.OptimizedFunction:
    return sod2jax.optimize(
        model.fun,
        shapes=(None, "_, s", "_, s")[: 1 + inputs],
        constraints=model.constraints,
        buckets={"s": LADDER},
        on_unsupported="error",
        **options,
    )


def requests(batch: int, count: int = 8) -> list[tuple[np.ndarray, ...]]:
    config = codebert.SIZES["tiny"]
    return source_code.requests(count, batch, 0, config.vocab_size, config.max_length)


def equations(jaxpr: Any) -> Iterator[Any]:
    for eqn in jaxpr.eqns:
        yield eqn
        for _, body in _compat.sub_jaxprs(eqn):
            yield from equations(body)


def sees_padding(eqn: Any) -> bool:
    """Whether an equation reduces or contracts a symbolic dimension."""
    shape = eqn.invars[0].aval.shape if eqn.invars else ()
    if eqn.primitive.name == "dot_general":
        axes = eqn.params["dimension_numbers"][0][0]
    elif eqn.primitive.name.startswith("reduce_"):
        axes = eqn.params.get("axes", ())
    else:
        axes = ()
    return any(_compat.is_symbolic(shape[k]) for k in axes)


@pytest.mark.parametrize("batch", [1, 4])
def test_real_requests_are_exact_and_nothing_is_traced_when_warm(model, batch):
    stream = requests(batch)
    fun = optimized(model, len(stream[0]), poison=True).compile(model.params, *stream[0])
    clean = optimized(model, len(stream[0]))
    plain = jax.jit(model.fun)
    wanted = [plain(model.params, *r) for r in stream]
    unpoisoned = [np.asarray(clean(model.params, *r)) for r in stream]
    with compile_log() as log:
        seen = [fun(model.params, *r) for r in stream]
    assert not log
    for a, b, c in zip(seen, wanted, unpoisoned, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
        assert np.asarray(a).tobytes() == c.tobytes()
    assert fun.stats().compiles == len(LADDER)
    assert fun.stats().exact_fallbacks == 0


def test_shortest_and_longest(model):
    fun, plain = optimized(model, 1, poison=True), jax.jit(model.fun)
    for length in (1, 16, 17, 63, 64):
        ids = np.arange(3, 3 + length, dtype=np.int32)[None] % 99
        np.testing.assert_allclose(fun(model.params, ids), plain(model.params, ids), atol=1e-5)


def test_every_mask_is_explained_and_the_analysis_spares_some(model):
    (ids,) = requests(1)[0]
    fun = optimized(model, 1)
    fun(model.params, ids)
    (specialisation,) = fun.planner.specialisations
    (executable,) = specialisation.executables.ready
    needing = [e for e in equations(specialisation.analysis.program.jaxpr) if sees_padding(e)]
    inserted = [mask for mask in executable.masks if mask.emitted]
    spared = [mask for mask in executable.masks if not mask.emitted]
    # Per layer: one mask for the softmax and one for the values; sum and weights need none.
    assert (len(needing), len(inserted), len(spared)) == (6, 4, 4)
    text = fun.explain()
    for mask in inserted:
        assert "attention.py:" in mask.source
        assert str(mask) in text
    assert "masks that were not needed: 4" in text


def test_memory_plan_stands_beside_xlas(model):
    (ids,) = requests(1)[0]
    fun = optimized(model, 1)
    fun(model.params, ids)
    bucket = fun.bucket_for(model.params, ids)
    plan = fun.memory_plan(bucket)
    assert plan.arena_bytes >= plan.lower_bound > 0
    assert plan.xla is not None
    assert 0.2 < plan.arena_bytes / plan.xla.temp_bytes < 2.0
    assert "arena" in str(plan)
