"""Predicates that are known before the branches that they choose."""

from __future__ import annotations

import jax
import numpy as np
from jax import lax

import models
import sod2jax
from tests.passes.branches.programs import (
    S,
    analysed,
    conds,
    heavier,
    heavy,
    reasons,
)


def test_a_policy_is_recognised_as_known_before_the_blocks() -> None:
    model = models.load("blockdrop", "tiny")
    shapes = (None, "1, h, w, 3")
    optimized = sod2jax.optimize(
        model.fun, shapes=shapes, constraints=(*model.constraints, "h <= 48", "w <= 48")
    )
    inputs = model.inputs(np.random.default_rng(0), b=1, h=40, w=33)
    analysis = optimized.analyse(model.params, *inputs)
    kept = conds(analysis)
    assert len(kept) == model.gates
    (reason,) = reasons(analysis, f"recognised {model.gates} predicates")
    assert reason == f"none depends on the result of one of their {model.gates} conds"
    assert reason in optimized.explain()


def test_gates_that_depend_on_blocks_are_not_known_early() -> None:
    def fun(x: jax.Array) -> jax.Array:
        for _ in range(3):
            x = lax.cond(x.sum() > 0, heavy, heavier, x)
        return x

    assert not reasons(analysed(fun, S), "recognised")
