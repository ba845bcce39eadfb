"""Conds of one index: which become one, what moves with them, and which stay apart."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.harnesses.base import Harness, check
from tests.passes.branches.programs import (
    BS,
    INDEX,
    S,
    analysed,
    conds,
    counts,
    heavier,
    heavy,
    reasons,
)


def _same_variable(x: jax.Array) -> jax.Array:
    p = x.sum() > 0
    y = lax.cond(p, heavy, heavier, x)
    return lax.cond(p, lambda z: heavier(z) + 1, heavy, y * 2)


def _same_computation(x: jax.Array) -> jax.Array:
    y = lax.cond(x.sum() > 0, heavy, heavier, x)
    return lax.cond(x.sum() > 0, heavier, heavy, jnp.tanh(y))


def _negated(x: jax.Array) -> jax.Array:
    p = x.sum() > 0
    y = lax.cond(p, lambda z: heavy(z) + 1, heavier, x)
    return lax.cond(~p, lambda z: heavier(z) - 7, heavy, y * y.sum())


def _seen_outside(x: jax.Array) -> tuple[jax.Array, ...]:
    p = x.sum() > 0
    y, z = lax.cond(p, lambda v: (heavy(v), v.sum()), lambda v: (v, v.max()), x)
    w = y * 2
    out = lax.cond(p, heavier, heavy, w - z)
    return out, w, z, jnp.sin(w)


def _switched(i: jax.Array, x: jax.Array) -> jax.Array:
    y = lax.switch(i, [heavy, heavier, jnp.cumsum], x)
    return lax.switch(i, [heavier, lambda z: z * 3, heavy], y + 1)


def _three(x: jax.Array) -> jax.Array:
    for _ in range(3):
        x = lax.cond(x.shape[0] * FIRST > 3, heavy, heavier, x) + 1
    return x


FIRST = np.float32(1.5)
MERGED = {
    "same_variable": (_same_variable, (S,)),
    "same_computation": (_same_computation, (S,)),
    "negated": (_negated, (S,)),
    "seen_outside": (_seen_outside, (S,)),
    "switched": (_switched, (INDEX, S)),
    "inside_a_scan": (
        lambda x: lax.scan(lambda c, row: (_same_variable(row) + c, c.sum()), x[0], x),
        (BS,),
    ),
    "inside_a_call": (lambda x: jax.jit(_same_variable)(x) * 2, (S,)),
}


@pytest.mark.parametrize("name", MERGED)
def test_conds_of_one_index_become_one(name: str) -> None:
    fun, args = MERGED[name]
    analysis = analysed(fun, *args)
    assert len(conds(analysis)) == 1
    assert len(reasons(analysis, "merged a cond")) == 1
    check(Harness(name, fun, args, rtol=3e-5))


def test_a_chain_of_conds_becomes_one() -> None:
    analysis = analysed(_three, S)
    assert len(conds(analysis)) == 1 and len(reasons(analysis, "merged")) == 2


def test_work_between_conds_runs_once_in_the_branch_taken() -> None:
    analysis = analysed(_same_computation, S)
    (cond,) = conds(analysis)
    assert [counts(branch)["tanh"] for branch in cond.params["branches"]] == [1, 1]
    assert counts(analysis.program.jaxpr)["tanh"] == 2
    assert "1 equation between them moved in" in reasons(analysis, "merged")[0]


def test_conds_of_different_predicates_stay_apart() -> None:
    def fun(x: jax.Array) -> jax.Array:
        y = lax.cond(x.sum() > 0, heavy, heavier, x)
        return lax.cond(y.sum() > 0, heavy, heavier, y)

    analysis = analysed(fun, S)
    assert len(conds(analysis)) == 2 and not reasons(analysis, "merged")


def test_much_work_between_conds_is_not_compiled_twice() -> None:
    def fun(x: jax.Array) -> jax.Array:
        p = x.sum() > 0
        y = lax.cond(p, heavy, heavier, x)
        for _ in range(40):
            y = jnp.sin(y) * 2
        return lax.cond(p, heavier, heavy, y)

    analysis = analysed(fun, S)
    assert len(conds(analysis)) == 2
    (reason,) = reasons(analysis, "kept a cond apart")
    assert "80 equations" in reason and "limit" in reason


def test_an_effect_between_conds_stays_there() -> None:
    def fun(x: jax.Array) -> jax.Array:
        p = x.sum() > 0
        y = lax.cond(p, heavy, heavier, x)
        jax.debug.print("{}", y.sum())
        return lax.cond(p, heavier, heavy, y)

    analysis = analysed(fun, S)
    assert len(conds(analysis)) == 2
    assert "effect" in reasons(analysis, "kept a cond apart")[0]


def _loss(x: jax.Array) -> jax.Array:
    p = x.sum() > 0
    y = lax.cond(p, lambda v: heavy(jnp.sin(v)), lambda v: heavier(v) * v.max(), x)
    return (y * lax.cond(p, lambda v: jnp.tanh(v) * v.sum(), heavy, y)).sum()


def test_forward_and_backward_conds_become_one() -> None:
    analysis = analysed(jax.value_and_grad(_loss), S)
    assert len(conds(analysis)) == 1
    check(Harness("gradient", jax.value_and_grad(_loss), (S,), rtol=1e-4))
