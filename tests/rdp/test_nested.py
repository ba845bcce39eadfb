"""How often rules run in nested loops: in proportion to the depth."""

from __future__ import annotations

import collections
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax.ir.jaxprs import equations
from sod2jax.rdp import rule
from sod2jax.rdp.engine import propagate
from tests.rdp import concrete

_MOST_RUNS = 6  # of one equation: a loop's carry settles in a few steps, once for each loop around


def _scans(depth: int) -> Any:
    def body(carry: Any, x: Any) -> Any:
        count, total = carry
        total = jnp.sin(total + x) * count
        if depth > 1:
            total = _scans(depth - 1)(total)
        return (count + 1, total), total.sum()

    return lambda x: lax.scan(body, (0, x), jnp.arange(3.0))[0][1]


def _whiles(depth: int) -> Any:
    def body(state: Any) -> Any:
        step, left, right = state
        left, right = lax.cond(
            left.sum() > 0, lambda a, b: (b, a + 1), lambda a, b: (a, b), left, right
        )
        if depth > 1:
            right = _whiles(depth - 1)(right)
        return step + 1, jnp.cos(left), right * step

    def goes_on(state: Any) -> Any:
        return (state[0] < 3) & (state[1].sum() < 9)

    return lambda x: lax.while_loop(goes_on, body, (0, x, -x))[2]


def _shared(depth: int) -> Any:
    if depth == 0:
        return jax.jit(lambda x: jnp.sin(x) + 1)
    inner = _shared(depth - 1)
    return jax.jit(lambda x: inner(inner(x) * 2) - inner(x))


@pytest.mark.parametrize("nested", [_scans, _whiles, _shared])
def test_a_rule_runs_a_few_times_however_deep_its_loop_is(nested):
    most = [_most_runs(nested(depth)) for depth in (2, 6)]
    assert most[0][0] <= most[1][0] <= _MOST_RUNS
    assert most[1][1] <= 2


def _most_runs(function: Any) -> tuple[int, int]:
    """The most that the rule of one equation runs, forward and backward."""
    jaxpr = concrete.trace(function, ("n", np.float32))
    runs: collections.Counter[int] = collections.Counter()

    def counted(eqn: Any) -> Any:
        runs[id(eqn)] += 1
        return rule.rule_of(eqn)

    facts = propagate(jaxpr, concrete.region(jaxpr), frozenset(), counted)
    assert runs.keys() == {id(eqn) for eqn in equations(jaxpr)}
    forward = max(runs.values())
    runs.clear()
    assert facts.demands
    return forward, max(runs.values())
