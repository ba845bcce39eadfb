"""flax.nnx modules: what a function writes to their variables comes back, or is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import sod2jax
from sod2jax.errors import StateError
from tests.arguments.trees.compare import SIZES, assert_same, compare, normal


class Net(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(4, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(6, 1, rngs=rngs)
        self.activation = jax.nn.relu

    def __call__(self, x):
        return self.last(self.dropout(self.norm(self.activation(self.first(x)))))[:, 0]


class Counter(nnx.Module):
    def __init__(self):
        self.calls = nnx.Variable(jnp.zeros((), jnp.int32))

    def __call__(self, x):
        self.calls[...] += 1
        return x * self.calls[...]


def optimized(fun, **options):
    return sod2jax.optimize(fun, **{"poison": True, "on_unsupported": "error", **options})


def train(net, optimizer, x, y):
    def loss(net):
        return ((net(x) - y) ** 2).mean()

    value, gradients = nnx.value_and_grad(loss)(net)
    optimizer.update(net, gradients)
    return value


def learner():
    net = Net(nnx.Rngs(0))
    return net, nnx.Optimizer(net, optax.adamw(1e-2), wrt=nnx.Param)


def test_a_training_step_updates_module_and_optimizer():
    ours, theirs = learner(), learner()
    step, plain = optimized(train), nnx.jit(train)
    for n in (8, 8, 5, 12, 8, 5):
        x, y = normal(n, 4), normal(n)
        assert_same(step(*ours, x, y), plain(*theirs, x, y))
    for seen, want in zip(map(nnx.state, ours), map(nnx.state, theirs), strict=True):
        assert_near(seen, want)
    stats = step.stats()
    assert (stats.traces, stats.compiles, stats.exact_fallbacks) == (2, 2, 0)


def assert_near(seen, want):
    for a, b in zip(jax.tree.leaves(seen), jax.tree.leaves(want), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        # Adam divides by gradients that are nothing but rounding
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_updates_come_back_from_every_route():
    counter = Counter()
    f = optimized(lambda m, x: m(x), shapes=(None, "n"))
    for calls in range(1, 5):
        np.testing.assert_array_equal(f(counter, np.ones(calls + 2)), np.full(calls + 2, calls))
    f(counter, np.ones(0))
    assert f.stats().exact_fallbacks == 1
    assert counter.calls[...] == 5
    nnx.jit(f)(counter, np.ones(3))
    assert counter.calls[...] == 6
    assert f.stats().calls == 5


def test_modules_that_are_only_read_return_nothing_more():
    net = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    f = optimized(lambda m, x: m(x))
    for n in SIZES:
        assert_same(f(net, normal(n, 4)), nnx.jit(lambda m, x: m(x))(net, normal(n, 4)))
    for made in f.planner.specialisations:
        assert len(made.analysis.program.out_shapes) == 1


def test_modules_inside_trees_and_variables_alone():
    def work(parts, variable, x):
        variable[...] = variable[...] + x.sum()
        return [part(x) for part in parts["counters"]]

    parts, variable = {"counters": [Counter(), Counter()]}, nnx.Variable(jnp.float32(0))
    f = optimized(work, shapes={"x": "n"})
    for n in SIZES:
        f(parts, variable, np.ones(n, np.float32))
    assert variable[...] == sum(SIZES)
    assert [part.calls[...] for part in parts["counters"]] == [len(SIZES)] * 2


def test_a_module_that_is_returned_is_updated_too():
    counter = Counter()
    f = optimized(lambda m, x: (m(x), m), shapes=(None, "n"))
    _, returned = f(counter, np.ones(3))
    assert returned is not counter
    assert returned.calls[...] == counter.calls[...] == 1


def test_random_streams_advance():
    drop = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    same = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    f, plain = optimized(lambda m, x: m(x), shapes=(None, "n")), nnx.jit(lambda m, x: m(x))
    seen = []
    for _ in range(3):
        seen.append(np.asarray(f(drop, np.ones(40, np.float32))))
        np.testing.assert_array_equal(seen[-1], plain(same, np.ones(40, np.float32)))
    assert (seen[0] != seen[1]).any()


def test_states_are_values():
    def step(definition, state, x):
        net = nnx.merge(definition, state)
        return net(x), nnx.state(net)

    definition, state = nnx.split(nnx.BatchNorm(4, rngs=nnx.Rngs(0)))
    calls = [(definition, state, normal(n, 4)) for n in (5, 16, 9)]
    before = jax.tree.map(lambda x: x, state)
    assert compare(step, calls, static_argnums=0).traces == 2
    assert compare(step, calls, shapes=(None, None, "n, 4")).traces == 1
    assert_same(state, before)


def test_structure_may_not_change():
    def evaluating(net, x):
        net.eval()
        return net(x)

    def recording(net, x):
        net.seen = nnx.Intermediate(x)
        return net(x)

    for fun in (evaluating, recording):
        net = Net(nnx.Rngs(0))
        with pytest.raises(StateError, match=f"{fun.__name__} changes the structure of its Net"):
            optimized(fun, on_unsupported="exact")(net, normal(5, 4))
    net.eval()
    f = optimized(evaluating)
    for n in (5, 9):
        assert_same(f(net, normal(n, 4)), nnx.jit(evaluating)(net, normal(n, 4)))


def test_a_changed_module_may_be_returned():
    def switch(net):
        net.eval()
        return net

    net = Net(nnx.Rngs(0))
    assert optimized(switch)(net).dropout.deterministic
    assert not net.dropout.deterministic


def test_shared_variables_may_be_read_and_not_written():
    counter = Counter()
    both = optimized(lambda modules, x: modules[0](x) + modules[1](x))
    with pytest.raises(StateError, match="hold in more than one place"):
        both([counter, counter], np.ones(3))
    assert counter.calls[...] == 0
    read = optimized(lambda modules, x: modules[0].calls[...] + modules[1].calls[...] + x)
    np.testing.assert_array_equal(read([counter, counter], np.ones(3)), np.ones(3))


def test_check_compares_updates():
    report = sod2jax.check(lambda m, x: m(x), Counter(), np.ones(5), shapes=(None, "n"))
    assert report, report
    assert len(report.leaves) == 2
