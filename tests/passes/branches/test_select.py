"""Branches that become selects, and those that must not run for nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.harnesses.base import Arg, Harness, check
from tests.passes.branches.programs import (
    FLAG,
    INDEX,
    S,
    analysed,
    conds,
    heavy,
    reasons,
)


def _cheap(x: jax.Array) -> jax.Array:
    return lax.cond(x.sum() > 0, lambda y: y * 2 + 1, lambda y: -y, x)


def _cheap_switch(i: jax.Array, x: jax.Array) -> jax.Array:
    return lax.switch(i, [jnp.abs, lambda y: y * y.max(), lambda y: y - 1], x)


def _cheap_pair(i: jax.Array, x: jax.Array) -> jax.Array:
    return lax.switch(i, [lambda y: y, lambda y: y + 1], x)


SELECTED = {
    "cheap": (_cheap, (S,)),
    "switch": (_cheap_switch, (INDEX, S)),
    "pair_by_number": (_cheap_pair, (INDEX, S)),
    "passed_on": (
        lambda p, x: lax.cond(p, lambda y, z: (y, z), lambda y, z: (y, z + 1), x, x * 2),
        (FLAG, S),
    ),
    "nested": (
        lambda p, x: lax.cond(p, lambda y: _cheap(y) + 1, lambda y: y, x),
        (FLAG, S),
    ),
    "integers": (
        lambda p, x: lax.cond(p, lambda y: y // jnp.zeros_like(y), lambda y: y, x),
        (Arg((), np.bool_, lambda rng, shape: np.zeros(shape)), Arg("s", np.int32)),
    ),
    "out_of_bounds": (
        lambda i, x: lax.cond(i < x.shape[0], lambda: x[i] + x, lambda: x),
        (INDEX, S),
    ),
    "scan_body": (
        lambda x: lax.scan(lambda c, r: (lax.cond(c > 0, lambda: c - r, lambda: c + r), c), 0.0, x),
        (S,),
    ),
    "keys": (
        lambda p, x: jax.random.normal(
            lax.cond(p, lambda: jax.random.key(1), lambda: jax.random.key(2)), x.shape
        ),
        (FLAG, S),
    ),
}


@pytest.mark.parametrize("name", SELECTED)
def test_cheap_branches_become_selects(name: str) -> None:
    fun, args = SELECTED[name]
    analysis = analysed(fun, *args)
    assert not conds(analysis)
    assert "us of a branch" in reasons(analysis, "made a cond a select")[0]
    check(Harness(name, fun, args))


def _loops(p: jax.Array, x: jax.Array) -> jax.Array:
    """Never ends if it runs where ``p`` is false."""
    return lax.cond(
        p, lambda y: y, lambda y: lax.while_loop(lambda v: v.sum() < 1e9, lambda v: -abs(v), y), x
    )


KEPT = {
    "dear": (lambda x: lax.cond(x.sum() > 0, heavy, lambda y: y, x), (S,), "over the"),
    "loop": (
        _loops,
        (Arg((), np.bool_, lambda rng, shape: np.ones(shape)), S),
        "while must not run",
    ),
    "unchecked_index": (
        lambda i, x: lax.cond(
            (i >= 0) & (i < x.shape[0]),
            lambda: x.at[i[None]].get(mode="promise_in_bounds") + x,
            lambda: x,
        ),
        (INDEX, S),
        "gather must not run",
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_branches_that_must_not_run_for_nothing_stay(name: str) -> None:
    fun, args, reason = KEPT[name]
    analysis = analysed(fun, *args)
    assert len(conds(analysis)) == 1
    assert reason in reasons(analysis, "kept a cond")[0]
    check(Harness(name, fun, args))


def test_an_effect_in_a_branch_stays_there() -> None:
    def fun(x: jax.Array) -> jax.Array:
        def printing(y: jax.Array) -> jax.Array:
            jax.debug.print("{}", y.sum())
            return y

        return lax.cond(x.sum() > 0, printing, lambda y: y + 1, x)

    analysis = analysed(fun, S)
    assert len(conds(analysis)) == 1
    assert "effects" in reasons(analysis, "kept a cond")[0]


def test_without_a_bound_only_what_does_not_grow_becomes_a_select() -> None:
    grows = analysed(_cheap, S, constraints=())
    assert len(conds(grows)) == 1
    assert "no bound" in reasons(grows, "kept a cond")[0]
    fixed = analysed(
        lambda x: x * lax.cond(x.sum() > 0, lambda: 2.0, lambda: 3.0), S, constraints=()
    )
    assert not conds(fixed)
