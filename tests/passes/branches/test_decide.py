"""Conds that sizes decide: the branch that is not taken is in no executable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from tests.harnesses.base import Harness, assert_same, check, run_both
from tests.passes.branches.programs import S, analysed, conds, counts, heavier, heavy, reasons


def sorted_when_long(x: jax.Array) -> jax.Array:
    return lax.cond(jnp.asarray(x.shape[0]) > 100, jnp.sort, heavy, x)


def optimized(fun: Callable[..., Any], most: int = 256, **options: Any) -> Any:
    options.setdefault("constraints", (f"s <= {most}",))
    return sod2jax.optimize(fun, shapes=("s",), on_unsupported="error", **options)


def executable(function: Any, size: int) -> Any:
    """The executable that serves a size."""
    plan = function.planner.choose(function.planner.read((np.ones(size, np.float32),), {}))
    return plan.specialisation.executables.get(plan.plan.bucket)


def assert_exact(function: Any, sizes: list[int], like: Callable[..., Any] | None = None) -> None:
    """Equal to ``jax.jit``, poisoned, at each size."""
    plain = jax.jit(like or function.__wrapped__)
    for size in sizes:
        x = np.random.default_rng(size).normal(size=size).astype(np.float32)
        for seen in run_both(function, [x]):
            assert_same(seen, jax.tree.leaves(plain(x)), 1e-5, f"size {size}")


def test_the_dead_branch_is_in_no_executable() -> None:
    function = optimized(sorted_when_long)
    long, short = (executable(function, size) for size in (101, 100))
    assert (counts(long.jaxpr)["sort"], counts(short.jaxpr)["sort"]) == (1, 0)
    assert (counts(long.jaxpr)["cos"], counts(short.jaxpr)["cos"]) == (0, 1)
    for found in (long, short):
        assert not counts(found.jaxpr)["cond"]
        assert "conditional(" not in found.call.as_text()
    assert " sort(" in long.call.as_text() and " sort(" not in short.call.as_text()
    assert " cosine(" in short.call.as_text() and " cosine(" not in long.call.as_text()
    assert_exact(function, [1, 99, 100, 101, 102, 256])
    report = function.explain()
    assert "sizes alone decide its index, which changes after s=100" in report
    assert "left 1 of 2 branches of a cond out" in report


def test_the_threshold_is_an_edge_of_the_ladder() -> None:
    function = optimized(sorted_when_long).compile(np.ones(3, np.float32))
    assert 100 in [bucket["s"] for bucket in function.buckets]
    assert len(function.buckets) <= 8
    assert all(counts(executable(function, b["s"]).jaxpr)["cond"] == 0 for b in function.buckets)


def test_a_threshold_between_two_given_sizes_stays_a_branch_there() -> None:
    function = optimized(sorted_when_long, buckets={"s": (64, 128, 256)}, constraints=())
    assert [counts(executable(function, s).jaxpr)["cond"] for s in (64, 128, 256)] == [0, 1, 0]
    assert_exact(function, [1, 64, 65, 100, 101, 128, 129, 256])


def test_without_room_for_an_edge_the_branch_stays() -> None:
    function = optimized(sorted_when_long, max_executables=1)
    assert [b["s"] for b in function.buckets] == []
    assert counts(executable(function, 5).jaxpr)["cond"] == 1
    assert_exact(function, [1, 100, 101, 256])


def test_a_cheap_branch_in_a_bucket_of_both_is_a_select() -> None:
    def fun(x: jax.Array) -> jax.Array:
        return lax.cond(jnp.asarray(x.shape[0]) > 100, lambda y: y + 1, lambda y: y * 3, x)

    function = optimized(fun, buckets={"s": (256,)}, constraints=())
    assert not counts(executable(function, 5).jaxpr)["cond"]
    assert_exact(function, [1, 100, 101, 256])


def test_a_switch_on_sizes_keeps_what_a_bucket_may_take() -> None:
    def fun(x: jax.Array) -> jax.Array:
        branches = [heavy, heavier, jnp.sort, lambda y: jnp.tanh(heavy(y)), jnp.cumsum]
        return lax.switch(jnp.asarray(x.shape[0]) // 32 - 1, branches, x)

    function = optimized(fun, buckets={"s": (16, 96, 127, 256)}, constraints=())
    text = [counts(executable(function, size).jaxpr) for size in (16, 96, 127, 256)]
    assert [c["cond"] for c in text] == [0, 1, 0, 1]
    assert text[1]["sort"] == 2 and not text[1]["tanh"] + text[1]["cumsum"]
    assert text[2]["sort"] == 1 and not text[2]["cos"]
    assert not text[3]["sort"] and text[3]["tanh"] == 1
    assert_exact(function, [1, 31, 63, 64, 95, 96, 97, 127, 128, 159, 160, 256])


def test_thresholds_of_every_symbol() -> None:
    def fun(x: jax.Array) -> jax.Array:
        y = lax.cond(jnp.asarray(x.shape[0]) > 2, heavy, heavier, x)
        return lax.cond(jnp.asarray(x.shape[1]) >= 20, heavier, heavy, y)

    function = sod2jax.optimize(fun, shapes=("b, s",), constraints=("b <= 4", "s <= 64"))
    ladders = dict(function.analyse(np.ones((2, 3), np.float32)).ladders.sizes)
    assert 2 in ladders["b"] and 19 in ladders["s"]
    for b, s in [(1, 1), (2, 19), (3, 20), (4, 64), (2, 20)]:
        x = np.random.default_rng(s).normal(size=(b, s)).astype(np.float32)
        plan = function.planner.choose(function.planner.read((x,), {}))
        assert not counts(plan.specialisation.executables.get(plan.plan.bucket).jaxpr)["cond"]
        for seen in run_both(function, [x]):
            assert_same(seen, [jax.jit(fun)(x)], 3e-5, f"{b}, {s}")


def test_in_a_loop_and_in_a_call() -> None:
    def fun(x: jax.Array) -> jax.Array:
        long = jnp.asarray(x.shape[0]) > 100

        def step(c: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
            return lax.cond(long, lambda v: jnp.sort(v), lambda v: jnp.cumsum(v), c) * row, c.sum()

        return lax.scan(step, x, x[:3] * 0 + 1)[0] + jax.jit(sorted_when_long)(x)

    assert 100 in dict(optimized(fun).analyse(np.ones(3, np.float32)).ladders.sizes)["s"]
    function = optimized(fun, buckets={"s": (3, 100, 128)}, constraints=("s >= 3",))
    for size, sorts in ((100, 0), (128, 2)):
        found = counts(executable(function, size).jaxpr)
        assert not found["cond"] and found["sort"] == sorts
    assert_exact(function, [3, 4, 99, 100, 101, 128])


def test_a_loop_counter_is_no_size() -> None:
    def fun(x: jax.Array) -> jax.Array:
        def step(i: jax.Array, c: jax.Array) -> jax.Array:
            return lax.cond(i > 3, heavy, heavier, c)

        return lax.fori_loop(0, x.shape[0], step, x)

    analysis = analysed(fun, S)
    assert "us of a branch" in reasons(analysis, "kept a cond")[0]
    assert not analysis.ladders.separate
    check(Harness("counter", fun, (S,)))


def test_symbols_without_a_bound_know_their_upper_end_only() -> None:
    function = optimized(sorted_when_long, constraints=())
    assert [counts(executable(function, s).jaxpr)["cond"] for s in (16, 64, 128, 500)] == [
        0,
        0,
        1,
        1,
    ]
    assert_exact(function, [1, 64, 100, 101, 300])


def test_sizes_that_decide_over_the_whole_region_do_so_in_a_pass() -> None:
    def fun(x: jax.Array) -> jax.Array:
        return lax.cond(jnp.asarray(x.shape[0]) > 100, heavy, heavier, x)

    analysis = analysed(fun, S)
    assert not conds(analysis) and not counts(analysis.program.jaxpr)["sort"] - 1
    assert reasons(analysis, "left 1 of 2 branches") == ["the sizes take branch 0 only"]
    check(Harness("all", fun, (S,)))


def test_closed_over_arrays_of_a_dead_branch() -> None:
    table, other = (np.random.default_rng(k).normal(size=512).astype(np.float32) for k in (0, 1))

    def fun(x: jax.Array) -> jax.Array:
        n = jnp.asarray(x.shape[0])
        y = lax.cond(n > 100, lambda v: heavy(v) * table.sum(), lambda v: heavier(v), x)
        return lax.cond(n > 100, heavier, lambda v: heavy(v) + jnp.cos(other).sum(), y)

    assert_exact(optimized(fun), [1, 100, 101, 256])


def test_gradients() -> None:
    def loss(x: jax.Array) -> jax.Array:
        return (sorted_when_long(x * 2) ** 2).sum()

    function = optimized(jax.grad(loss))
    assert not counts(executable(function, 101).jaxpr)["cond"]
    assert_exact(function, [1, 99, 100, 101, 256], jax.grad(loss))


@pytest.mark.parametrize("size", [1, 50, 100, 101, 200])
def test_the_limit_of_executables_never_runs_a_size_in_a_bucket_without_its_branch(
    size: int,
) -> None:
    """A call may run in a larger bucket than planned, but in none that begins above it."""
    function = optimized(sorted_when_long)
    function(np.ones(256, np.float32))
    plan = function.planner.choose(function.planner.read((np.ones(size, np.float32),), {}))
    plan.specialisation.executables._limit = 1
    x = np.random.default_rng(size).normal(size=size).astype(np.float32)
    assert_same(
        [function(x)], [jax.jit(sorted_when_long)(x)], 1e-5, f"{size} in {plan.plan.bucket}"
    )
