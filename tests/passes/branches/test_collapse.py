"""Fewer conds, smaller ones, and selects: what happens to each, why, and that it stays exact."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import models
import sod2jax
from sod2jax.ir.jaxprs import equations
from tests.harnesses.base import Arg, Harness, check

S, BS, FLAG = Arg("s"), Arg("b, s"), Arg((), np.bool_)


def heavy(x: jax.Array) -> jax.Array:
    """Work that no bucket makes cheap: far more than a branch costs."""
    return x * (2 + jnp.cos(jnp.linspace(0, 1, 8192) + lax.logistic(x.mean()))).mean()


def heavier(x: jax.Array) -> jax.Array:
    return heavy(heavy(x) - 1) + jnp.sort(x)


def analysed(fun: Callable[..., Any], *args: Arg, **options: Any) -> Any:
    """The analysis of a function; symbols go up to 64."""
    harness = Harness("", fun, args)
    options.setdefault("constraints", tuple(f"{name} <= 64" for name in harness.symbols))
    specs = tuple(arg.spec if isinstance(arg.spec, str) else None for arg in args)
    optimized = sod2jax.optimize(fun, shapes=specs, on_unsupported="error", **options)
    sizes = dict.fromkeys(harness.symbols, 5)
    return optimized.trace(*(arg.values(np.random.default_rng(0), sizes) for arg in args))


def counts(jaxpr: Any) -> collections.Counter[str]:
    """How many equations of each primitive there are, at any depth."""
    return collections.Counter(eqn.primitive.name for eqn in equations(jaxpr))


def conds(analysis: Any) -> list[Any]:
    return [eqn for eqn in equations(analysis.program.jaxpr) if eqn.primitive.name == "cond"]


def reasons(analysis: Any, what: str) -> list[str]:
    """The reasons of the changes whose text starts so."""
    return [change.reason for change in analysis.remarks if change.what.startswith(what)]


# Merging


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
INDEX = Arg((), np.int32, lambda rng, shape: rng.integers(-2, 5, shape))
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


# Gradients: backward conds have the index and the residuals of the forward ones


def _loss(x: jax.Array) -> jax.Array:
    p = x.sum() > 0
    y = lax.cond(p, lambda v: heavy(jnp.sin(v)), lambda v: heavier(v) * v.max(), x)
    return (y * lax.cond(p, lambda v: jnp.tanh(v) * v.sum(), heavy, y)).sum()


def test_forward_and_backward_conds_become_one() -> None:
    analysis = analysed(jax.value_and_grad(_loss), S)
    assert len(conds(analysis)) == 1
    check(Harness("gradient", jax.value_and_grad(_loss), (S,), rtol=1e-4))


# Sinking


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


# Selects


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


# Predicates that are known early


def test_a_policy_is_recognised_as_known_before_the_blocks() -> None:
    model = models.load("blockdrop", "tiny")
    shapes = (None, "1, h, w, 3")
    optimized = sod2jax.optimize(
        model.fun, shapes=shapes, constraints=(*model.constraints, "h <= 48", "w <= 48")
    )
    inputs = model.inputs(np.random.default_rng(0), b=1, h=40, w=33)
    analysis = optimized.trace(model.params, *inputs)
    kept = conds(analysis)
    assert len(kept) == model.gates
    (reason,) = reasons(analysis, f"recognised {model.gates} predicates")
    assert "h=48, w=48" in reason
    share = int(reason.split("(")[1].split(" %")[0])
    assert 30 < share < 100
    assert reason in optimized.explain()


def test_gates_that_depend_on_blocks_are_not_known_early() -> None:
    def fun(x: jax.Array) -> jax.Array:
        for _ in range(3):
            x = lax.cond(x.sum() > 0, heavy, heavier, x)
        return x

    assert not reasons(analysed(fun, S), "recognised")


# Memory


def test_exclusive_branches_share_memory() -> None:
    size = 256

    def branch(w: jax.Array, x: jax.Array) -> jax.Array:
        y = x @ w  # [s, 4096], which the second product needs as a whole
        return jnp.sort(y, axis=1) @ w.T

    def one(p: jax.Array, w: jax.Array, v: jax.Array, x: jax.Array) -> jax.Array:
        return lax.cond(p, lambda: branch(w, x), lambda: branch(v, x + 1))

    def both(p: jax.Array, w: jax.Array, v: jax.Array, x: jax.Array) -> jax.Array:
        first, second = lax.optimization_barrier((_wide(w, x), _wide(v, x + 1)))
        return jnp.where(p, first @ w.T, second @ v.T)

    def _wide(w: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sort(x @ w, axis=1)

    w = np.ones((16, 4096), np.float32)
    inputs = (np.True_, w, w, np.ones((size, 16), np.float32))
    buffer = size * 4096 * 4
    plans = {}
    for fun in (one, both):
        optimized = sod2jax.optimize(
            fun, shapes=(None, None, None, "s, 16"), buckets={"s": (size,)}
        )
        optimized(*inputs)
        plans[fun] = optimized.memory_plan(size)
    for measure in (lambda plan: plan.arena_bytes, lambda plan: plan.xla.temp_bytes):
        assert measure(plans[one]) < measure(plans[both]) - 0.8 * buffer
        assert measure(plans[one]) < 2.2 * buffer
