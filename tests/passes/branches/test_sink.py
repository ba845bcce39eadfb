"""Work that one branch uses: what moves into it, and what stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.harnesses.base import Harness, check
from tests.passes.branches.programs import (
    S,
    analysed,
    conds,
    counts,
    heavier,
    heavy,
    reasons,
)


def _used_by_one(x: jax.Array) -> jax.Array:
    work = jnp.tanh(jnp.exp(x) @ jnp.ones((x.shape[0],)))
    return lax.cond(x.sum() > 0, lambda: heavy(x) + work, lambda: x)


def test_a_chain_that_one_branch_uses_moves_into_it() -> None:
    analysis = analysed(_used_by_one, S)
    (cond,) = conds(analysis)
    kept, moved = (counts(branch) for branch in cond.params["branches"])
    assert (moved["tanh"], moved["exp"], moved["dot_general"]) == (1, 1, 1)
    assert not kept["tanh"] + kept["exp"] + kept["dot_general"]
    assert counts(analysis.program.jaxpr)["exp"] == 1
    (reason,) = reasons(analysis, "moved")
    assert "flops" in reason and "nothing else uses them" in reason
    check(Harness("sink", _used_by_one, (S,)))


@pytest.mark.parametrize("case", ["output", "other_branch", "elsewhere", "index"])
def test_work_that_is_used_elsewhere_stays(case: str) -> None:
    def fun(x: jax.Array) -> Any:
        work = jnp.tanh(x)
        p = work.sum() > 0 if case == "index" else x.sum() > 0
        other = (lambda: heavier(work)) if case == "other_branch" else lambda: x
        y = lax.cond(p, lambda: heavy(work), other)
        return (y, work) if case == "output" else y + work.sum() if case == "elsewhere" else y

    analysis = analysed(fun, S)
    (cond,) = conds(analysis)
    assert not any(counts(branch)["tanh"] for branch in cond.params["branches"])
    check(Harness(case, fun, (S,)))


def test_work_stays_where_its_operand_would_be_kept_alive() -> None:
    def fun(x: jax.Array, reduce: Callable[[jax.Array], jax.Array]) -> jax.Array:
        wide = jnp.sort(jnp.broadcast_to(x, (500, x.shape[0])) * jnp.arange(500.0)[:, None])
        work = reduce(wide)
        p = wide[3].sum() > 0
        return lax.cond(p, lambda: heavy(x) * work, lambda: x)

    summed = analysed(lambda x: fun(x, jnp.prod), S)
    assert "reduce_prod" in [eqn.primitive.name for eqn in summed.program.jaxpr.eqns]
    assert "bytes more would be kept" in reasons(summed, "left")[0]
    dear = analysed(lambda x: fun(x, lambda v: (v.T @ v).max()), S)
    assert counts(conds(dear)[0].params["branches"][1])["dot_general"] == 1


def test_work_is_not_moved_into_a_loop() -> None:
    def fun(x: jax.Array) -> jax.Array:
        work = jnp.tanh(x)

        def step(c: jax.Array, row: jax.Array) -> tuple[jax.Array, None]:
            return lax.cond(row > 0, lambda: heavy(c + work), lambda: c), None

        return lax.scan(step, x, x)[0]

    analysis = analysed(fun, S)
    assert "tanh" in [eqn.primitive.name for eqn in analysis.program.jaxpr.eqns]
    check(Harness("loop", fun, (S,)))


def test_work_moves_through_nested_conds() -> None:
    def fun(x: jax.Array) -> jax.Array:
        work = jnp.tanh(x)

        def inner() -> jax.Array:
            return lax.cond(x.max() > 1, lambda: heavy(work), lambda: heavier(x))

        return lax.cond(x.sum() > 0, inner, lambda: x)

    outer, inner = conds(analysed(fun, S))
    assert [counts(branch)["tanh"] for branch in outer.params["branches"]] == [0, 1]
    assert [counts(branch)["tanh"] for branch in inner.params["branches"]] == [0, 1]
    check(Harness("nested", fun, (S,)))


def test_an_effect_does_not_move() -> None:
    def fun(x: jax.Array) -> jax.Array:
        work = jax.experimental.io_callback(  # type: ignore[attr-defined]
            lambda v: v, jax.ShapeDtypeStruct((), np.float32), x.sum(), ordered=True
        )
        return lax.cond(x.sum() > 0, lambda: heavy(x) * work, lambda: x)

    analysis = analysed(fun, S)
    assert "io_callback" in [eqn.primitive.name for eqn in analysis.program.jaxpr.eqns]
