"""flax.nnx modules: what a function does to them is done to the caller's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import sod2jax
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


def test_a_module_that_is_returned_is_the_callers():
    counter = Counter()
    f = optimized(lambda m, x: (m(x), m), shapes=(None, "n"))
    for calls in (1, 2):
        _, returned = f(counter, np.ones(3))
        assert returned is counter
        assert counter.calls[...] == calls


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


def beside(fun, make, sizes=(5, 9, 16, 1, 5)):
    """Calls with modules of their own, whose structures and states are equal after each."""
    (f, ours), (plain, theirs) = ((jit(fun), make()) for jit in (optimized, nnx.jit))
    for n in sizes:
        assert_same(f(ours, normal(n, 4)), plain(theirs, normal(n, 4)))
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        assert_near(nnx.state(ours), nnx.state(theirs))
    return f, ours


def net():
    return Net(nnx.Rngs(0))


def test_structure_changes_as_under_nnx_jit():
    def evaluating(net, x):
        net.eval()
        return net(x)

    def recording(net, x):
        net.seen = nnx.Intermediate(x)
        return net(x)

    def measuring(net, x):
        net.rows = x.shape[0]
        return net(x)

    _, model = beside(evaluating, net)
    assert model.dropout.deterministic
    f, model = beside(recording, net)
    assert model.seen[...].shape == (5, 4)
    assert f.stats().exact_fallbacks == 0
    _, model = beside(measuring, net)
    assert model.rows == 5


def test_what_only_some_calls_change():
    """A function that was traced without a change goes another way from the first change on."""

    def maybe(net, x, mode):
        if mode == "eval":
            net.eval()
        return net(x)

    ours, theirs = net(), net()
    f, plain = optimized(maybe, static_argnames="mode"), nnx.jit(maybe, static_argnames="mode")
    for n, mode in ((5, "train"), (9, "train"), (7, "eval"), (4, "train"), (1, "eval")):
        assert_same(f(ours, normal(n, 4), mode=mode), plain(theirs, normal(n, 4), mode=mode))
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    assert_near(nnx.state(ours), nnx.state(theirs))


def test_references_that_change():
    def tie(net, x):
        net.other = net.first
        net.first.kernel[...] += 1
        return net(x)

    def swap(net, x):
        net.norm.mean, net.norm.var = net.norm.var, net.norm.mean
        return net.first(x)

    _, model = beside(tie, net)
    assert model.other is model.first
    model = net()
    mean, var = model.norm.mean, model.norm.var
    optimized(swap)(model, normal(5, 4))
    assert model.norm.mean is var and model.norm.var is mean


def test_new_modules_are_returned_with_their_references():
    def make(x):
        model = net()
        return [model, model.norm], x

    f = optimized(make)
    for n in SIZES:
        (model, norm), _ = f(normal(n, 4))
        assert model.norm is norm
    assert f.stats().exact_fallbacks == 0


def test_shared_variables_are_one():
    counter = Counter()
    both = optimized(lambda modules, x: modules[0](x) + modules[1](x))
    for calls, n in ((1, 3), (3, 5), (5, 9)):
        want = np.full(n, 2 * calls + 1)
        np.testing.assert_array_equal(both([counter, counter], np.ones(n)), want)
    assert counter.calls[...] == 6
    np.testing.assert_array_equal(both([Counter(), Counter()], np.ones(3)), np.full(3, 2))


def test_what_is_asked_and_not_called_changes_nothing():
    def recording(net, x):
        net.seen = nnx.Intermediate(x)
        return net(x)

    f, model = optimized(recording, shapes=(None, "n, 4")), net()
    x = normal(5, 4)
    assert f.eval_shape(model, x).shape == (5,)
    f.compile(model, x)
    assert f.lower(model, x).out_info.shape == (5,)
    assert f.bucket_for(model, x) is not None
    f.trace(model, x), f.analyse(model, x)
    assert not hasattr(model, "seen") and model.dropout.rngs.count[...] == 0
    report = sod2jax.check(f, model, x)
    assert report, report
    assert not hasattr(model, "seen")


def test_traces_in_other_threads():
    """Buckets are audited and compiled in threads, which know nothing of the call's context."""
    f, model = (
        optimized(lambda m, x: (m, m(x)), shapes=(None, "n, 4"), constraints=("n <= 32",)),
        net(),
    )
    f.compile(model, normal(5, 4))
    plain, other = nnx.jit(lambda m, x: (m, m(x))), net()
    for n in SIZES:
        (same, seen), (_, want) = f(model, normal(n, 4)), plain(other, normal(n, 4))
        assert same is model
        assert_same(seen, want)


def test_check_compares_updates():
    report = sod2jax.check(lambda m, x: m(x), Counter(), np.ones(5), shapes=(None, "n"))
    assert report, report
    assert len(report.leaves) == 2
