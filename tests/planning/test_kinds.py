"""Calls of ever new kinds: one warning, a bounded number of programs, right results."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import ManyProgramsWarning
from sod2jax.planning import kinds
from sod2jax.planning.kinds import Kinds


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def told(f, calls):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for args, wanted in calls:
            np.testing.assert_array_equal(f(*args), wanted)
    assert all(w.category is ManyProgramsWarning for w in caught)
    return [str(w.message) for w in caught]


@pytest.mark.parametrize("shapes", [("n", None), None])
def test_new_static_values_are_warned_of_once(shapes):
    @sod2jax.optimize(shapes=shapes and shapes[:1], static_argnums=1)
    def scaled(x, by):
        return x * by

    few = [((ones(3), by), np.full(3, by, np.float32)) for by in range(15)]
    assert told(scaled, few * 2) == []
    (said,) = told(scaled, [((ones(3), by), np.full(3, by, np.float32)) for by in range(12, 20)])
    assert "scaled has been called in 16 ways that need programs of their own" in said
    assert "the static argument 'by' has had 16 values, such as 0 and 15" in said
    assert "'x'" not in said


def test_new_structures_are_told_by_argument():
    f = sod2jax.optimize(lambda scale, xs: sum(xs) * scale, shapes=(None, "n"))
    calls = [((2.0, [ones(3)] * k), np.full(3, 2.0 * k)) for k in range(1, 18)]
    (said,) = told(f, calls)
    assert "'xs' has had 16 structures, as lists of different lengths" in said
    assert "stack what is alike into one array" in said
    assert "'scale'" not in said


@pytest.mark.parametrize("shapes", [("n",), None])
def test_only_the_kinds_used_last_are_kept(monkeypatch, shapes):
    monkeypatch.setattr(kinds, "MOST", 3)
    f = sod2jax.optimize(lambda x, by: x + by, shapes=shapes, static_argnames="by")

    def call(by, n=3):
        np.testing.assert_array_equal(f(ones(n), by=by), np.full(n, 1 + by))
        return f.stats().traces

    for by in (0, 1, 2):
        call(by)
    call(0)
    traces = call(3)  # forgets 1
    assert len(f.planner.specialisations) == 3
    assert call(0) == call(2, 5) - (shapes is None) == traces  # a bare program learns at size 5
    traces = call(0)
    assert call(1) > traces  # traced anew
    for by in range(4, 10):
        call(by)
    assert len(f.planner.specialisations) == 3
    assert len(f.planner._search._traced) == 3
    assert len(f.planner._learner._states) <= 3


def test_a_plan_in_use_runs_on_when_its_kind_is_forgotten(monkeypatch):
    monkeypatch.setattr(kinds, "MOST", 1)
    f = sod2jax.optimize(lambda x: jnp.cumsum(x["a"]), shapes=("n",))
    call = f.planner.read(({"a": ones(3)},), {})
    choice = f.planner.choose(call)
    f({"a": ones(4), "b": ones(4)})
    assert choice.specialisation not in f.planner.specialisations
    np.testing.assert_array_equal(
        choice.plan.run(call.leaves, poison=True, foreign=True).result, [1, 2, 3]
    )


def test_the_settings_of_jax_make_kinds():
    trees = [jax.tree.structure(((k,), {})) for k in (0, 1)]
    keys = [(trees[0], ((), setting)) for setting in range(16)]
    said = kinds.many("f", ["x"], keys)
    assert said.startswith("f has been called in 16 ways that need programs of their own")
    assert "JAX's settings differ" in said


def test_the_kind_used_longest_ago_goes(monkeypatch):
    monkeypatch.setattr(kinds, "MOST", 2)
    dropped = []
    remembered = Kinds(dropped.append, lambda keys: None)
    for key in "abac":
        remembered[key].plans[1] = key
    assert dropped == ["b"]
    assert len(remembered) == 2
    remembered.clear()
    assert remembered["a"].plans == {}
    assert repr(remembered) == "Kinds(2)"
    assert repr(remembered["a"]) == "Kind(0 plans)"
