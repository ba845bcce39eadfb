from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax.errors import InvariantError
from sod2jax.ir import dims
from sod2jax.rdp import analyse
from sod2jax.rdp.engine import propagate
from sod2jax.rdp.lattice import NAC, DimFact
from sod2jax.rdp.rule import DEFAULT_RULE, LocalRule, register_transfer, rule_of
from tests.quick import last_of
from tests.rdp import concrete, soundness

F32, I32, U32 = np.float32, np.int32, np.uint32


def attention(x):
    q, k, v = x, x * 2, x + 1
    scores = q @ k.swapaxes(-1, -2)
    return jax.nn.softmax(scores, axis=-1) @ v


def causal(x):
    n = x.shape[1]
    rows, columns = jnp.arange(n)[:, None], jnp.arange(n)[None, :]
    scores = x @ x.swapaxes(-1, -2)
    weights = jax.nn.softmax(jnp.where((columns <= rows)[None], scores, -jnp.inf), axis=-1)
    return weights @ x


def positions(tokens, table):
    mask = (tokens != 1).astype(jnp.int32)
    return table[jnp.cumsum(mask, axis=1) * mask + 1]


def layer_norm(x):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5)


def double_rows(x):
    return lax.while_loop(lambda c: c < 10, lambda c: c * 2 + 1, x)


def batched_while(x):
    return jax.vmap(double_rows)(jnp.abs(x) + 1)


def count_up(x):
    return lax.while_loop(lambda c: c[0] < x.shape[0], lambda c: (c[0] + 2, c[1] * 2), (0, x))


def shared(x):
    halve = jax.jit(lambda v: v // 2)
    return halve(jnp.arange(x.shape[0])) + halve(jnp.arange(x.shape[0]) + 100)


def nested_loops(x):
    def inner(i, c):
        return c + i

    def outer(i, c):
        return lax.fori_loop(0, 2, inner, c) * x[:, i]

    return lax.fori_loop(0, 3, outer, x[:, 0])


def scatter_rows(x, i):
    return x.at[i].add(1.0), x.at[:, 0].set(2.0), x.at[i].max(0.5)


def dropout(key, x):
    keep = jax.random.bernoulli(jax.random.wrap_key_data(key), 0.5, x.shape)
    return jnp.where(keep, x, 0)


def keys_per_row(key, x):
    keys = jax.random.split(jax.random.wrap_key_data(key), x.shape[0])
    return jax.vmap(lambda k, row: row + jax.random.normal(k, row.shape))(keys, x)


def loss(x):
    return jnp.mean(jax.nn.gelu(x @ x.swapaxes(-1, -2))[:, 0])


def windows(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 2), (1, 1), "SAME")


def convolution(x):
    return lax.conv_general_dilated(
        x[..., None], jnp.ones((3, 1, 2)), (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")
    )


BS, S, B = ("b, s", F32), ("s", F32), ("b", F32)
BSI, SI = ("b, s", I32), ("s", I32)
PROGRAMS = {
    "attention": (attention, ("b, s, 4", F32)),
    "causal": (causal, ("b, s, 4", F32)),
    "positions": (positions, BSI, ("16, 4", F32)),
    "layer_norm": (layer_norm, ("b, s, 4", F32)),
    "take": (lambda t, e: jnp.take(e, t, axis=0), BSI, ("7, 4", F32)),
    "arange_rows": (
        lambda x, e: x + e[jnp.arange(x.shape[1])][None],
        ("b, s, 4", F32),
        ("9, 4", F32),
    ),
    "first": (lambda x: x[:, 0] * 2, BS),
    "last": (lambda x: x[:, -1] * 2, BS),
    "sliced": (lambda x: (x * 2)[:, 1:-1], ("b, s + 3", F32)),
    "strided": (lambda x: x[::2], ("s, 4", F32)),
    "split": (lambda x: jnp.split(x * 2, 2, -1)[1], ("s, 8", F32)),
    "concatenate": (lambda x, y: jnp.concatenate([x, y * 2], 1), BS, ("b, t", F32)),
    "pad": (lambda x: jnp.pad(jnp.cumsum(x, 0), ((1, 2), (0, 0))), BSI),
    "stack": (lambda x: jnp.stack([x, x * 2], 1), BS),
    "tile": (lambda x: jnp.tile(x, (2, 1)), BS),
    "merge": (lambda x: (x.reshape(-1, 4) * 2).reshape(x.shape), ("b, s, 4", F32)),
    "regroup": (lambda x: x.reshape(x.shape[1], 4, 4), ("4, s, 4", F32)),
    "heads": (lambda x: x.reshape(*x.shape[:2], 2, 4).swapaxes(1, 2), ("b, s, 8", F32)),
    "reverse": (lambda x: (x[:, ::-1], lax.rev(x, (1,))), BS),
    "mask": (
        lambda x, n: jnp.where(jnp.arange(x.shape[1])[None] < n[:, None], x, 0),
        BS,
        ("b", I32),
    ),
    "tril": (lambda x: jnp.tril(x), ("s, s", F32)),
    "symmetric": (lambda x: x + x.T, ("s, s", F32)),
    "one_hot": (lambda t: jax.nn.one_hot(t, 7), BSI),
    "argmax": (lambda x: (jnp.argmax(x, -1), jnp.argmin(x, 0)), BS),
    "sort": (lambda x: (jnp.sort(x), jnp.argsort(x)), BS),
    "top_k": (lambda x: lax.top_k(x, 2), ("b, s + 2", F32)),
    "top_rows": (
        lambda x: x[jnp.arange(x.shape[0])[:, None], lax.top_k(x, 2)[1]],
        ("b, s + 2", F32),
    ),
    "take_along": (lambda x, i: jnp.take_along_axis(x, i, 1), BS, BSI),
    "vector": (lambda x: jnp.arange(x.shape[0])[jnp.arange(x.shape[0])[::-1]], S),
    "dynamic_slice": (lambda x, i: lax.dynamic_slice_in_dim(x, i, 1, 0), ("s, 4", F32), ("", I32)),
    "dynamic_last": (
        lambda x: lax.dynamic_slice_in_dim(x * 2, x.shape[0] - 1, 1, 0),
        ("s, 4", F32),
    ),
    "update": (lambda x: lax.dynamic_update_slice_in_dim(x, x[:1] * 2, 1, 0), ("s, 4", F32)),
    "update_int": (
        lambda x: lax.dynamic_update_slice(jnp.arange(x.shape[0]), x[:1].astype(I32), (0,)),
        S,
    ),
    "scatter": (scatter_rows, ("s, 4", F32), ("3", I32)),
    "floor_sizes": (lambda x: jnp.arange(x.shape[0]) // 2 + x.shape[0] // 2, S),
    "floor_div": (lambda x: (x // 3, x % 3, -x // 2, lax.div(x, 3), lax.rem(x, 3)), SI),
    "floor_range": (
        lambda x: ((jnp.arange(x.shape[0]) - 3) // 2, (jnp.arange(x.shape[0]) - 3) % 4),
        S,
    ),
    "arithmetic": (
        lambda x: (
            jnp.abs(jnp.clip(x, -3, 4)) * jnp.minimum(x, 2),
            jnp.sign(x) - jnp.clip(x, -3, 4) ** 2,
        ),
        SI,
    ),
    "sums": (lambda x: ((x > 1).sum(1), (x > 1).any(0), jnp.clip(x, 0, 4).max(), x.sum()), BSI),
    "logic": (lambda x: ((x > 0) & (x < 3) | ~(x > 1), x & 3, x | 1, ~x), SI),
    "narrow": (lambda x: jnp.arange(x.shape[0]).astype(jnp.int8) * 100, S),
    "iota_float": (lambda x: x + lax.iota(F32, x.shape[0]), S),
    "composite": (lambda x: lax.composite(lambda y: y / y.sum(), "test.scale")(x), S),
    "device_put": (lambda x: jax.device_put((x, x + 1))[1].max(0), BS),
    "to_float": (lambda x: x / x.shape[0] + jnp.arange(x.shape[0]).astype(F32), S),
    "scan_fixed": (lambda x: lax.scan(lambda c, y: (c + 1, y * c), 0, x), ("5, s", F32)),
    "scan_symbolic": (
        lambda x: lax.scan(lambda c, y: (c + y, c), jnp.zeros(x.shape[1:]), x),
        ("s, 3", F32),
    ),
    "scan_reverse": (
        lambda x: lax.scan(lambda c, y: (c * 2, c), 1, x, reverse=True),
        ("4, s", F32),
    ),
    "fori": (lambda x: lax.fori_loop(0, x.shape[0], lambda i, c: c + x[i], 0.0), S),
    "fori_columns": (
        lambda x: lax.fori_loop(0, 3, lambda i, c: c + x[:, i], x[:, 0]),
        ("s, 3", F32),
    ),
    "nested_loops": (nested_loops, ("s, 3", F32)),
    "cond": (lambda p, x: lax.cond(p > 0, lambda x: x + 1, lambda x: x * 2, x), ("", I32), S),
    "switch": (
        lambda p, x: lax.switch(p, [lambda: 1, lambda: x.shape[0], lambda: 7]),
        ("", I32),
        S,
    ),
    "while_scalar": (lambda x: lax.while_loop(lambda c: c.sum() < 9, lambda c: c + 0.3, x), S),
    "cond_lanes": (lambda x: lax.cond(x[0] > x[-1], jnp.sin, jnp.cos, x), S),
    "slices": (lambda x: lax.slice(lax.slice(x * 2, (1,), (8,)), (2,), (5,)), ("9", F32)),
    "gather_fill": (lambda x: jnp.arange(x.shape[0]).at[x].get(mode="fill"), SI),
    "while_batched": (batched_while, B),
    "while_count": (count_up, S),
    "shared": (shared, S),
    "remat": (lambda x: jax.checkpoint(lambda y: jnp.sin(y) * 2)(x), BS),
    "relu_silu": (lambda x: jax.nn.relu(x) + jax.nn.silu(x), BS),
    "dropout": (dropout, ("2", U32), BS),
    "keys_per_row": (keys_per_row, ("2", U32), BS),
    "gradient": (jax.value_and_grad(loss), ("b, s, 4", F32)),
    "windows": (windows, BS),
    "convolution": (convolution, BS),
    "bitcast": (
        lambda x: (lax.bitcast_convert_type(x, jnp.int8), lax.bitcast_convert_type(x, I32)),
        BS,
    ),
    "barrier": (lambda x, y: lax.optimization_barrier((x * 2, y * 3))[0], S, S),
    "diagonal": (lambda x: jnp.einsum("bii->bi", x), ("b, 3, 3", F32)),
    "einsum": (lambda x, y: jnp.einsum("bsd,td->bst", x, y), ("b, s, 4", F32), ("t, 4", F32)),
    "shape_vector": (lambda x: jnp.array([x.shape[0], 3, x.shape[1]])[1:] * 2, BS),
}
POINTS = ({"b": 2, "s": 3, "t": 2}, {"b": 1, "s": 1, "t": 4}, {"b": 3, "s": 5, "t": 1})


@pytest.fixture(scope="module", params=PROGRAMS, ids=str)
def facts(request):
    function, *specs = PROGRAMS[request.param]
    jaxpr = concrete.trace(function, *specs)
    return analyse(jaxpr, concrete.region(jaxpr))


@pytest.mark.parametrize("sizes", [POINTS[1], *last_of(POINTS[2], POINTS[0])], ids=str)
def test_facts_hold_in_concrete_runs(facts, sizes):
    soundness.check(facts, sizes)


def test_changed_lanes_stay_in_their_lane(facts):
    soundness.check_flow(facts, POINTS[0])


def run(function, *specs, rule_of=rule_of, data_dependent=frozenset()):
    jaxpr = concrete.trace(function, *specs)
    return propagate(jaxpr, concrete.region(jaxpr), data_dependent, rule_of)


def unknown(*names):
    return lambda eqn: DEFAULT_RULE if eqn.primitive.name in names else rule_of(eqn)


@pytest.mark.parametrize("name", ["attention", "positions", "scan_fixed", "cond", "scatter"])
def test_primitives_without_a_rule_are_taken_conservatively(name):
    function, *specs = PROGRAMS[name]
    facts = run(function, *specs, rule_of=lambda eqn: DEFAULT_RULE)
    for eqn in facts.jaxpr.eqns:
        for var in eqn.outvars:
            assert facts.shape(var).constants is not None
            assert facts.value_range(var) is None
            assert not any(facts.flow(var))


def test_bodies_that_were_not_entered_are_undefined():
    facts = run(lambda x: lax.fori_loop(0, 3, lambda i, c: c * 2, x), S, rule_of=unknown("scan"))
    (loop,) = facts.jaxpr.eqns
    inner = loop.params["jaxpr"].eqns[0].outvars[0]
    assert facts.inputs(inner) is None
    assert "not reached" in str(facts)


def test_a_rule_that_contradicts_jax_is_reported():
    wrong = LocalRule(shape=lambda eqn, operand: [(DimFact(3),)])
    with pytest.raises(InvariantError, match=r"'sin' at .*test_engine.py.*contradicts JAX"):
        run(lambda x: jnp.sin(x), S, rule_of=lambda eqn: wrong)


def test_lanes_of_unequal_dimensions_are_reported():
    wrong = LocalRule(lanes=lambda eqn: [(0,)])
    with pytest.raises(InvariantError, match="aligned an axis"):
        run(lambda x: lax.slice(x, (1,), (3,)), ("5", F32), rule_of=lambda eqn: wrong)


def test_one_rule_for_each_primitive():
    with pytest.raises(InvariantError, match="two transfer rules"):
        register_transfer("add", rule=DEFAULT_RULE)


def test_dimensions_of_data_dependent_are_nac():
    facts = run(lambda x: jnp.concatenate([x, x], 1) * 2, BS, data_dependent=frozenset({"s"}))
    (out,) = facts.jaxpr.outvars
    batch, length = facts.shape(out).dims
    assert batch == DimFact.of(dims.symbol("b"))
    assert length == NAC


def test_shared_bodies_hold_what_every_call_says():
    facts = run(*PROGRAMS["shared"])
    calls = [eqn for eqn in facts.jaxpr.eqns if eqn.primitive.name == "jit"]
    bodies = {id(eqn.params["jaxpr"]) for eqn in calls}
    assert len(calls) == 2 and len(bodies) == 1
    (inside,) = calls[0].params["jaxpr"].invars
    assert str(facts.value(inside)) == "0..s + 99"
    assert [str(facts.value(eqn.outvars[0])) for eqn in calls] == [
        "0..(s - 1)//2",
        "50..(s + 99)//2",
    ]


def test_literals_and_constants_have_facts():
    table = np.array([[5, -3], [2, 9]], np.int32)
    facts = run(lambda x: jnp.asarray(table)[0, 0] + x.astype(I32) + 4, S)
    ranges = [facts.value_range(v) for v in facts.jaxpr.constvars]
    literals = [a for eqn in facts.jaxpr.eqns for a in eqn.invars if type(a).__name__ == "Literal"]
    assert ranges == [(-3, 9)]
    assert (4, 4) in [facts.value_range(a) for a in literals]
    assert all(facts.flow(a) == () for a in literals)


def test_dead_equations():
    def function(x):
        unused = jnp.sin(x) * 2
        return x + 0 * unused.shape[0]

    facts = run(function, S)
    dead = [
        facts.demand(eqn.outvars[0]).is_dead
        for eqn in facts.jaxpr.eqns
        if eqn.primitive.name in ("sin", "mul") and eqn.outvars[0].aval.shape
    ]
    assert dead and all(dead)
    assert "dead" in str(facts)


def test_what_an_effect_sees_is_needed():
    def function(x):
        jax.debug.print("{}", jnp.sin(x).sum())
        return x[:1]

    facts = run(function, S)
    assert str(facts.demand(facts.jaxpr.invars[0])) == "[:]"
    assert not any(facts.demand(eqn.outvars[0]).is_dead for eqn in facts.jaxpr.eqns if eqn.outvars)


def test_symbols_without_an_upper_bound_stay_below_the_index_limit():
    jaxpr = concrete.trace(lambda x: (jnp.arange(x.shape[0]), jnp.arange(x.shape[0]) * 2), S)
    facts = analyse(jaxpr, concrete.Region.of(("s",), ()))
    assert [facts.value_range(out) is None for out in jaxpr.outvars] == [False, True]


def test_facts_are_read_only():
    facts = run(lambda x: x * 2, S)
    with pytest.raises(TypeError):
        facts.table[facts.jaxpr.invars[0]] = None


def test_demand_is_computed_once_when_it_is_asked_for():
    asked = []

    def demand(ctx, eqn, outs):
        asked.append(eqn)
        return outs

    rule = LocalRule(lanes=lambda eqn: [(0, 1)], demand=demand)
    facts = run(lambda x: -x, BS, rule_of=lambda eqn: rule)
    assert not asked
    assert [str(facts.demand(v)) for v in facts.jaxpr.invars * 2] == ["[:, :]"] * 2
    assert len(asked) == 1
