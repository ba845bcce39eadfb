"""Rows of ``nnx.jit``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import sod2jax
from sod2jax.errors import ExactFallbackWarning
from tests.drop_in import SIZES, assert_same, normal, optimized, row

JIT = "nnx.jit"
# One object for both sides: what it holds is part of the structure of an optimizer.
SGD = optax.sgd(0.1, momentum=0.9)


class Net(nnx.Module):
    def __init__(self, tied: bool = False):
        rngs = nnx.Rngs(0)
        self.table = nnx.Param(jax.random.normal(rngs.params(), (4, 6)))
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.out = self.table if tied else nnx.Param(self.table[...] + 1)

    def __call__(self, x):
        return self.dropout(self.norm(x @ self.table[...])) @ self.out[...].T


class Counter(nnx.Module):
    def __init__(self):
        self.calls = nnx.Variable(jnp.zeros((), jnp.int32))


def learner() -> tuple[Any, ...]:
    net = Net()
    return net, nnx.Optimizer(net, SGD, wrt=nnx.Param)


def beside(
    fun: Callable[..., Any], make: Callable[[], tuple[Any, ...]], **options: Any
) -> tuple[Any, Any]:
    """Calls both on arguments of their own; results and arguments are equal after each call."""
    ours, theirs = make(), make()
    function, plain = optimized(fun, **options), nnx.jit(fun, **options)
    for size in SIZES:
        x = normal(size, 4)
        assert_same(function(*ours, x), plain(*theirs, x))
        assert_same(states(ours), states(theirs))
    return function, ours


def states(arguments: tuple[Any, ...]) -> list[Any]:
    """What modules hold, each variable once, and how they are built."""
    modules = [each for each in arguments if isinstance(each, nnx.Pytree)]
    return [(nnx.state(each), jax.tree.structure(each)) for each in modules]


def forward(net, x):
    return net(x)


def train(net, optimizer, x):
    value, gradients = nnx.value_and_grad(lambda net: (net(x) ** 2).mean())(net)
    optimizer.update(net, gradients)
    return value


@row(JIT, "changed variables", "better")
def changed_variables():
    """What is written to variables, batch statistics and random streams among them, is written to
    the caller's; only what was written leaves the executable."""
    function, _ = beside(forward, lambda: (Net(),))
    stats = function.stats()
    assert (stats.compiles, stats.exact_fallbacks) == (2, 0)


@row(JIT, "nnx.Optimizer", "same")
def optimizers():
    """A step that updates a model and its optimizer."""
    beside(train, learner)


@row(JIT, "new variables", "same")
def new_variables():
    """Variables that the function adds are in the caller's module after the call."""

    def record(net, x):
        net.seen = nnx.Intermediate(x.sum(0))
        return net(x)

    _, (net,) = beside(record, lambda: (Net(),))
    assert isinstance(net.seen, nnx.Intermediate)


@row(JIT, "removed variables", "same")
def removed_variables():
    """Variables that it removes are gone."""

    def remove(net, x):
        if hasattr(net, "out"):
            del net.out
        return x @ net.table[...]

    _, (net,) = beside(remove, lambda: (Net(),))
    assert not hasattr(net, "out")


@row(JIT, "static attributes", "same")
def static_attributes():
    """Attributes that are no arrays change, too: `net.eval()`, or a number made of sizes, which is
    that of each call."""

    def evaluate(net, x):
        net.eval()
        net.rows = x.shape[0]
        return net(x)

    function, (net,) = beside(evaluate, lambda: (Net(),))
    assert net.dropout.deterministic and net.rows == SIZES[-1]
    assert function.stats().exact_fallbacks == 0


@row(JIT, "arrays that are in no variable", "same")
def bare_arrays():
    """They are replaced as attributes are."""

    class Holder(nnx.Module):
        def __init__(self):
            self.last = nnx.data(jnp.zeros(4))

    def replace(holder, x):
        holder.last = x.sum(0)
        return x

    beside(replace, lambda: (Holder(),))


@row(JIT, "shared references in arguments", "same")
def shared_references():
    """One variable in two places is one variable inside, and after: tied weights have one gradient,
    and a write is seen in both places."""

    def step(modules, x):
        first, second = modules
        assert first is second
        first.norm.mean[...] += 1
        gradients = nnx.grad(lambda net: (net(x) ** 2).mean())(first)
        return second.norm.mean[...], jax.tree.leaves(gradients)

    def make() -> tuple[Any, ...]:
        net = Net(tied=True)
        return ([net, net],)

    function, ((net, same),) = beside(step, make)
    assert net is same and net.table is net.out
    assert function.stats().exact_fallbacks == 0


@row(JIT, "new references", "same")
def new_references():
    """A variable that the function puts into a second place is one variable there."""

    def tie(net, x):
        net.out = net.table
        return net(x)

    _, (net,) = beside(tie, lambda: (Net(),))
    assert net.out is net.table


@row(JIT, "modules in results", "same")
def returned_modules():
    """An argument that is returned is the caller's object; a new module is a new one, with the
    references that it was made with."""

    def both(net, x):
        return net, Net(tied=True), net(x)

    function, plain, ours, theirs = optimized(both), nnx.jit(both), Net(), Net()
    for size in SIZES:
        seen, want = function(ours, normal(size, 4)), plain(theirs, normal(size, 4))
        assert_same(seen, want)
        assert seen[0] is ours and seen[1].out is seen[1].table


@row(JIT, "modules that are methods' own", "same")
def methods():
    """A method may be decorated; its module is the first argument."""

    class Counting(Counter):
        @sod2jax.optimize
        def __call__(self, x):
            self.calls[...] += 1
            return x * self.calls[...]

    counting = Counting()
    for calls, size in enumerate(SIZES, 1):
        np.testing.assert_allclose(counting(normal(size)), normal(size) * calls, rtol=1e-6)


@row(JIT, "states", "same")
def split_states():
    """`nnx.split` outside and `nnx.merge` inside: a state is a tree of arrays, and a copy."""

    def step(definition, state, x):
        net = nnx.merge(definition, state)
        return net(x), nnx.state(net)

    function, plain = optimized(step, static_argnums=0), jax.jit(step, static_argnums=0)
    definition, state = nnx.split(Net())
    for size in SIZES:
        x = normal(size, 4)
        assert_same(function(definition, state, x), plain(definition, state, x))


@row(JIT, "hijax variables", "refused")
def hijax_variables():
    """They run as under `jax.jit`, with exact shapes and a warning, and are written to: JAX says
    nothing of the sizes in them. (`nnx.jit` refuses them.)"""

    class Sum(nnx.Module):
        def __init__(self):
            self.total = nnx.Variable(jnp.zeros(()), hijax=True)

    def add(module, x):
        module.total[...] += x.sum()
        return x * module.total[...]

    function, ours, theirs = sod2jax.optimize(add), Sum(), Sum()
    with pytest.warns(ExactFallbackWarning, match="hijax"):
        for size in SIZES:
            assert_same(function(ours, normal(size)), jax.jit(add)(theirs, normal(size)))
    assert float(ours.total[...]) == float(theirs.total[...])


@row(JIT, "calls inside of nnx.jit", "same")
def inside_of_others():
    """There it is what `nnx.jit` is there: what it changes is the outer function's to see."""

    def record(net, x):
        net.seen = nnx.Intermediate(x.sum(0))
        return net(x)

    inner = optimized(record)
    ours, theirs = Net(), Net()
    for size in SIZES:
        x = normal(size, 4)
        seen = nnx.jit(lambda net, x: inner(net, x) + net.seen[...].sum())(ours, x)
        want = nnx.jit(lambda net, x: record(net, x) + net.seen[...].sum())(theirs, x)
        assert_same(seen, want)
        assert_same(states((ours,)), states((theirs,)))


@row(JIT, "donate_argnums", "same")
@row(JIT, "donate_argnames", "same")
def donated():
    """The arrays of a module are consumed; the module has new ones, and goes on."""
    before = Net()
    table = before.table[...]
    optimized(forward, donate_argnums=0)(before, normal(5, 4))
    assert table.is_deleted() and not before.table[...].is_deleted()
    beside(train, learner, donate_argnums=(0, 1))
    beside(forward, lambda: (Net(),), donate_argnames="net")


@row(JIT, "static_argnums", "same")
@row(JIT, "static_argnames", "same")
def static():
    """As for `jax.jit`."""

    def scaled(net, factor, x):
        return net(x) * factor

    beside(scaled, lambda: (Net(), 3), static_argnums=1)
    beside(scaled, lambda: (Net(), 3), static_argnames="factor")


@row(JIT, "keep_unused", "same")
@row(JIT, "inline", "same")
@row(JIT, "device", "same")
@row(JIT, "backend", "same")
@row(JIT, "in_shardings", "same")
@row(JIT, "out_shardings", "same")
def passed_on():
    """As for `jax.jit`; `nnx.jit` itself raises for a device or a backend (flax 0.12.8)."""
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for given in (
            {"keep_unused": True},
            {"inline": True},
            {"device": jax.devices()[0]},
            {"backend": "cpu"},
            {"in_shardings": place},
            {"out_shardings": place},
        ):
            ours, theirs = Net(), Net()
            function, plain = sod2jax.optimize(forward, **given), nnx.jit(forward)
            assert_same(function(ours, normal(5, 4)), plain(theirs, normal(5, 4)))


@row(JIT, "graph", "refused")
@row(JIT, "graph_updates", "refused")
def modes():
    """There is nothing to choose: modules are read as trees, the quick way, until something asks
    for a graph."""
    for name in ("graph", "graph_updates"):
        with pytest.raises(TypeError, match=name):
            sod2jax.optimize(forward, **{name: True})
    trees, graphs = optimized(forward), optimized(lambda net, x: (net, net(x)))
    for size in SIZES:
        trees(Net(), normal(size, 4))
        graphs(Net(), normal(size, 4))
    assert "trees" in repr(trees.passage) and "graphs" in repr(graphs.passage)


@row(JIT, "eval_shape()", "same")
def eval_shape():
    """The shapes of the result; nothing is written."""

    def record(net, x):
        net.seen = nnx.Intermediate(x)
        return net(x)

    net = Net()
    assert_same(optimized(record).eval_shape(net, normal(5, 4)).shape, (5, 4))
    assert not hasattr(net, "seen") and net.dropout.rngs.count[...] == 0


@row(JIT, "trace()", "same")
def traced():
    """The program at the very shapes."""
    jaxpr = optimized(forward).trace(Net(), normal(5, 4)).jaxpr
    assert (5, 4) in [aval.shape for aval in jaxpr.in_avals]


@row(JIT, "lower()", "better")
def lowered():
    """The bucket that serves the arguments, for all sizes that it serves."""
    function = optimized(forward, shapes=(None, "n, 4"), buckets={"n": (16,)})
    ours, theirs = Net(), Net()
    compiled = function.lower(ours, normal(5, 4)).compile()
    for size in SIZES:
        assert_same(compiled(ours, normal(size, 4)), nnx.jit(forward)(theirs, normal(size, 4)))
    assert_same(states((ours,)), states((theirs,)))
    assert function.stats().compiles == 1


@row(JIT, "what it was told, as attributes", "refused")
def attributes():
    """`options` has it: `fun`, `jitted_fn`, `in_shardings` and the like are inner parts of flax.
    The function is `__wrapped__`."""
    function = sod2jax.optimize(forward, donate_argnums=0)
    assert function.__wrapped__ is forward
    assert function.options.jit.donate_argnums == (0,)


ATTRIBUTES = {
    "fun",
    "in_shardings",
    "jax_in_shardings",
    "jax_out_shardings",
    "jitted_fn",
    "kwarg_shardings",
    "out_shardings",
    "static_argnums",
}
"""That no other row names."""
