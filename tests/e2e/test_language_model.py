"""Training a language model on text of every length and batch follows the exact-shape run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import sod2jax
from tests.compile_log import compile_log
from tests.e2e import language_model

EXECUTABLES = 4
TOLERANCE = 1e-4  # Adam's first steps divide gradients by themselves: rounding, too


def optimized() -> sod2jax.OptimizedFunction:
    return sod2jax.optimize(
        language_model.train_step,
        shapes=(None, None, "b, s", None),
        constraints=("b <= 8", "s >= 2", "s <= 32"),
        max_executables=EXECUTABLES,
        on_unsupported="error",
        poison=True,
    )


def train(step: Callable[..., Any], stream: list[np.ndarray]) -> list[tuple[Any, np.ndarray]]:
    """Parameters and loss after every step, each from the step before it."""
    params, state = language_model.initial()
    key, history = jax.random.key(2), []
    for k, tokens in enumerate(stream):
        params, state, loss = step(params, state, tokens, jax.random.fold_in(key, k))
        history.append((jax.tree.map(np.asarray, params), np.asarray(loss)))
    return history


def assert_follows(run: list[tuple[Any, np.ndarray]], exact: list[tuple[Any, np.ndarray]]) -> None:
    for step, (seen, want) in enumerate(zip(run, exact, strict=True)):
        np.testing.assert_allclose(seen[1], want[1], rtol=TOLERANCE, err_msg=f"loss of {step}")
        for (path, a), b in zip(
            jax.tree.leaves_with_path(seen[0]), jax.tree.leaves(want[0]), strict=True
        ):
            place = f"{jax.tree_util.keystr(path)} after step {step}"
            assert np.abs(a - b).max() <= TOLERANCE * np.abs(b).max(), place


@pytest.mark.optimised  # a rounding of what Adam divides by next to nothing shows
@pytest.mark.parametrize(
    ("steps", "shapes"), [(12, 3), pytest.param(30, 10, marks=pytest.mark.slow)]
)
def test_steps_follow_the_exact_shape_run(steps, shapes):
    stream = list(language_model.batches(steps, shapes, seed=0))
    assert len({tokens.shape for tokens in stream}) == shapes
    exact = jax.jit(language_model.train_step)
    step = optimized()
    run = train(step, stream)
    assert_follows(run, train(exact, stream))
    # On one batch: those of a few characters differ more than training changes.
    fresh, key = language_model.initial(), jax.random.key(0)
    largest = max(stream, key=np.size)
    before, after = (float(exact(p, fresh[1], largest, key)[2]) for p in (fresh[0], run[-1][0]))
    assert after < before - (0.5 if steps == 30 else 0)
    stats = step.stats()
    assert (stats.traces, stats.exact_fallbacks) == (1, 0)

    params, state = fresh
    step.compile(params, state, stream[0], key)
    with compile_log() as log:
        for tokens in language_model.batches(12, 12, seed=1):
            step(params, state, tokens, key)
    assert not log
    assert step.stats().compiles == EXECUTABLES
