from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.rdp.concrete import outputs

S, SCALAR = ("s", np.float32), ("", np.int32)


def inside(facts, name):
    """The equations of a primitive inside the body of a program's only loop."""
    (loop,) = [eqn for eqn in facts.jaxpr.eqns if eqn.primitive.name in ("scan", "while")]
    body = loop.params["jaxpr" if loop.primitive.name == "scan" else "body_jaxpr"]
    return [eqn for eqn in body.eqns if eqn.primitive.name == name]


VALUES = {
    "call": (lambda x: jax.jit(lambda n: n + 1)(jnp.arange(x.shape[0])), "1..s"),
    "branches": (
        lambda x: lax.cond(x[0] > 0, lambda: x.shape[0], lambda: 3),
        "min(3, s)..max(3, s)",
    ),
    "decided": (lambda x: lax.cond(jnp.asarray(x.shape[0]) > 0, lambda: 5, lambda: 7), "5"),
    "counted": (
        lambda x: lax.fori_loop(2, 9, lambda i, c: c + x[i % 1], 0.0).astype(np.int32),
        "nac",
    ),
    "scan_counter": (lambda x: lax.scan(lambda c, _: (c + 3, None), 1, None, length=4)[0], "1..13"),
    "scan_symbolic": (lambda x: lax.scan(lambda c, _: (c + 1, None), 0, x)[0], "0..s"),
    "scan_steps": (lambda x: lax.scan(lambda c, _: (c + 1, c), 0, x)[1], "0..s - 1"),
    "unchanged": (lambda x: lax.scan(lambda c, _: (c, None), x.shape[0], None, length=4)[0], "s"),
    "toggled": (lambda x: lax.scan(lambda c, _: (1 - c, None), 0, None, length=4)[0], "0..1"),
    "doubled": (lambda x: lax.scan(lambda c, _: (c * 2, None), 1, None, length=4)[0], "nac"),
    "while_counter": (
        lambda x: lax.while_loop(lambda c: c < x.shape[0], lambda c: c + 2, 0),
        "0..s + 1",
    ),
    "floor_div": (lambda x: (jnp.arange(x.shape[0]) - 3) // 2, "-2..(s - 4)//2"),
    "floor_div_vector": (
        lambda x: jnp.arange(x.shape[0]) // (jnp.arange(x.shape[0]) + 1),
        "0..s - 1",
    ),
    "remainder": (lambda x: (jnp.arange(x.shape[0]) - 3) % 4, "0..3"),
    "remainder_size": (lambda x: x.astype(np.int32) % x.shape[0], "0..s - 1"),
    "negative_divisor": (lambda x: jnp.arange(x.shape[0]) // -2, "nac"),
}


@pytest.mark.parametrize("name", VALUES)
def test_value(name):
    function, expected = VALUES[name]
    facts, (out,) = outputs(function, S, constraints=("s <= 50",))
    assert str(facts.value(out)) == expected


@pytest.mark.parametrize("count", [lambda x: 3, lambda x: x.shape[0]], ids=["scan", "while"])
def test_loop_index_is_in_bounds(count):
    facts, _ = outputs(
        lambda x: lax.fori_loop(0, count(x), lambda i, c: c + x[i], 0.0), S, constraints=("s >= 3",)
    )
    for eqn in inside(facts, "dynamic_slice"):
        low, high = facts.value_range(eqn.invars[1])
        assert low == 0 and str(high) in ("2", "s - 1")


FLOWS = {
    "scan": (
        lambda x: lax.scan(lambda c, y: (c + y, c * y), jnp.zeros(x.shape[0]), x.T),
        ("b, 4", np.float32),
        [({(0, 0)},), (frozenset(), {(0, 0)})],
    ),
    "scalar_predicate": (
        lambda x: lax.while_loop(lambda c: c[0] < 9, lambda c: c * 2 + 1, x),
        S,
        [(frozenset(),)],
    ),
    "row_predicate": (
        jax.vmap(lambda x: lax.while_loop(lambda c: c < 9, lambda c: c * 2 + 1, x)),
        S,
        [({(0, 0)},)],
    ),
    "branches": (lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), S, [(frozenset(),)]),
    "barrier": (lambda x: lax.optimization_barrier((x * 2, x.sum()))[0], S, [({(0, 0)},)]),
    "custom": (lambda x: jax.nn.relu(x) + jax.nn.silu(x), S, [({(0, 0)},)]),
    "remat": (lambda x: jax.checkpoint(jnp.sin)(x), S, [({(0, 0)},)]),
}


@pytest.mark.parametrize("name", FLOWS)
def test_flow(name):
    function, spec, expected = FLOWS[name]
    facts, outs = outputs(function, spec)
    assert [facts.flow(out) for out in outs] == expected


def test_demand_through_calls_and_branches():
    facts, _ = outputs(
        lambda p, x: lax.cond(p > 0, jax.jit(lambda v: v[1:3]), lambda v: v[4:6], x),
        SCALAR,
        S,
        constraints=("s >= 6",),
    )
    assert str(facts.demand(facts.jaxpr.invars[1])) == "[1:6]"


def test_a_loop_needs_all_it_is_given():
    facts, _ = outputs(lambda x: lax.scan(lambda c, y: (c + y, c), 0.0, x)[1][:1], S)
    assert str(facts.demand(facts.jaxpr.invars[0])) == "[:]"
