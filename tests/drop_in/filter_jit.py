"""Rows of ``equinox.filter_jit``, which is what ``filter=True`` is."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sod2jax
from tests.drop_in import SIZES, assert_same, normal, row
from tests.drop_in import optimized as _optimized

JIT = "filter_jit"
optimized = functools.partial(_optimized, filter=True)


class Net(eqx.Module):
    linear: eqx.nn.Linear
    norm: eqx.nn.LayerNorm
    activation: Callable[..., Any]
    scale: float
    name: str = eqx.field(static=True, default="net")

    def __call__(self, x):
        return self.norm(self.activation(self.linear(x))) * self.scale

    def over(self, x):
        return jax.vmap(self)(x)


NET = Net(eqx.nn.Linear(4, 3, key=jax.random.key(0)), eqx.nn.LayerNorm(3), jax.nn.gelu, 2.0)


def loss(net, x):
    return (net.over(x) ** 2).mean()


def beside(fun: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Calls both on the same arguments at several sizes: no run is exact, few are compiled."""
    function, plain = optimized(fun, **options), eqx.filter_jit(fun)
    for size in SIZES:
        x = normal(size, 4)
        assert_same(function(*arguments, x), plain(*arguments, x))
    stats = function.stats()
    assert stats.compiles <= 2 and stats.exact_fallbacks == 0, stats
    return function


@row(JIT, "leaves that are no arrays", "same")
def leaves():
    """Functions, numbers and strings, wherever in the arguments, are static."""
    beside(Net.over, NET)
    beside(lambda mode, power, f, x: f(x) ** power if mode == "a" else x, "a", 2, jnp.sin)


@row(JIT, "arrays", "same")
def arrays():
    """All arrays of JAX and NumPy, NumPy's scalars among them, are traced."""
    beside(lambda a, b, x: x * a + b, np.float32(3), np.ones((1, 4), np.float32))


@row(JIT, "another static value", "better")
def another_value():
    """It makes another program; 1, 1.0 and True are three, where `filter_jit` takes the first for
    the others (equinox 0.13.8)."""
    function = optimized(lambda k, x: x * k)
    for k in (1, 1.0, True, 2):
        plain = eqx.filter_jit(lambda k, x: x * k)
        for size in SIZES:
            x = np.arange(size)
            assert_same(function(k, x), plain(k, x))


@row(JIT, "what has no hash", "same")
def without_hash():
    """It is refused; here the error says where it is."""
    for jit in (optimized, eqx.filter_jit):
        with pytest.raises((TypeError, ValueError), match="hash"):
            jit(lambda s, x: x)({1, 2}, normal(3))
    with pytest.raises(TypeError, match=r"type set, at \[0\]\[0\]\['a'\].*filter=True"):
        optimized(lambda s, x: x)({"a": {1, 2}}, normal(3))


@row(JIT, "results that are no arrays", "same")
def results():
    """They come back as they are: modules, text, numbers."""
    beside(lambda net, x: (net, x.sum(), "text", 3, 2.5, None, jnp.float32), NET)


@row(JIT, "results made of sizes", "same")
def sizes_in_results():
    """A whole number made of sizes is a Python number, that of each call. A quotient of sizes is,
    too, by exact shapes and with a warning."""
    beside(lambda x: (x.shape[0], x.size * 2 + 1, x))
    function, plain = sod2jax.optimize(_inverse, filter=True), eqx.filter_jit(_inverse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for size in SIZES:
            assert_same(function(normal(size)), plain(normal(size)))


def _inverse(x):
    return 1 / x.shape[0], x


@row(JIT, "methods of modules", "same")
def methods_of_modules():
    """Decorated in the class, or taken from an instance."""

    class Scaled(eqx.Module):
        weight: jax.Array
        activation: Callable[..., Any]

        @functools.partial(sod2jax.optimize, filter=True)
        def __call__(self, x):
            return self.activation(x * self.weight)

    scaled = Scaled(jnp.float32(2), jnp.sin)
    for size in SIZES:
        np.testing.assert_allclose(scaled(normal(size)), np.sin(normal(size) * 2), rtol=1e-5)
    beside(NET.over)


@row(JIT, "methods of plain classes", "same")
def methods_of_plain_classes():
    """The instance is static."""

    class Plain:
        factor = 2

        @sod2jax.optimize(filter=True)
        def scaled(self, x):
            return x * self.factor

    plain = Plain()
    for size in SIZES:
        np.testing.assert_array_equal(plain.scaled(normal(size)), normal(size) * 2)


@row(JIT, "functions that are modules", "same")
def callables():
    """`optimize(net, filter=True)` closes over the arrays of the module, which stay inputs of its
    executables."""
    beside(eqx.nn.Lambda(jnp.sin))
    beside(eqx.filter_vmap(NET))


@row(JIT, "filter_grad, filter_value_and_grad", "better")
def gradients():
    """Inside of an optimized function, around it, and optimized themselves; around it on arrays
    they run from buckets, where `filter_jit` traces anew."""
    beside(lambda net, x: eqx.filter_value_and_grad(loss)(net, x), NET)
    beside(eqx.filter_value_and_grad(loss), NET)
    around, plain = eqx.filter_grad(optimized(loss)), eqx.filter_grad(eqx.filter_jit(loss))
    for size in SIZES:
        assert_same(around(NET, normal(size, 4)), plain(NET, normal(size, 4)))


@row(JIT, "a training step", "same")
def training():
    """With optax: the module, the state and the optimizer itself as arguments."""
    optimizer = optax.adam(1e-2)

    def step(net, state, optimizer, x):
        value, gradients = eqx.filter_value_and_grad(loss)(net, x)
        updates, state = optimizer.update(gradients, state, net)
        return eqx.apply_updates(net, updates), state, value

    state = optimizer.init(eqx.filter(NET, eqx.is_inexact_array))
    beside(step, NET, state, optimizer)


@row(JIT, "stateful layers", "same")
def stateful():
    """`eqx.nn.State` goes in and comes out."""
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, axis_name="b", mode="batch")

    def over(norm, state, x):
        one = functools.partial(jax.vmap, axis_name="b", in_axes=(0, None), out_axes=(0, None))
        return one(norm)(x, state)

    beside(over, norm, state)


@row(JIT, "inside of filter_jit, and around it", "same")
def nested():
    """Inside it is what `filter_jit` is there; what `filter_jit` made may be optimized, too."""
    inner = optimized(Net.over)
    outer = eqx.filter_jit(lambda net, x: inner(net, x) + 1)
    for size in SIZES:
        assert_same(outer(NET, normal(size, 4)), eqx.filter_jit(Net.over)(NET, normal(size, 4)) + 1)
    beside(eqx.filter_jit(Net.over), NET)


@row(JIT, "donate", "same")
def donate():
    """Spelled as for `jax.jit`: `donate_argnums` and `donate_argnames` consume the arrays in the
    arguments that they name. There is no word for all arguments."""

    def shifted(net, x):
        return jax.tree.map(lambda a: a + x.sum() if eqx.is_array(a) else a, net)

    function = optimized(shifted, donate_argnums=0)
    first = jax.tree.map(lambda a: a + 0 if eqx.is_array(a) else a, NET)
    ours, theirs = first, NET
    for size in SIZES:
        ours, theirs = function(ours, normal(size)), eqx.filter_jit(shifted)(theirs, normal(size))
        assert_same(ours, theirs)
    assert first.linear.weight.is_deleted()
    with pytest.raises(TypeError, match="donate"):
        sod2jax.optimize(shifted, filter=True, donate="all")  # type: ignore[call-arg]


@row(JIT, "keywords of jax.jit", "better")
def keywords():
    """All may be given with `filter=True`, also those that `filter_jit` refuses."""
    beside(lambda k, x: x * k, 2, static_argnums=0, keep_unused=True, inline=True)
    with pytest.raises(ValueError, match="static_argnums"):
        eqx.filter_jit(lambda k, x: x * k, static_argnums=0)


@row(JIT, "shapes, buckets, compile() and the rest of optimize", "better")
def with_specs():
    """Specs are given as for any function: None for a module."""
    beside(Net.over, NET, shapes=(None, "n, 4"), constraints=("n <= 16",), max_executables=2)
    ahead = optimized(Net.over, shapes=(None, "n, 4"), buckets={"n": (16,)})
    ahead.compile(NET, normal(5, 4))
    assert "n=16" in repr(ahead) and "n" in ahead.explain()
    assert_same(ahead(NET, normal(5, 4)), eqx.filter_jit(Net.over)(NET, normal(5, 4)))
    assert sod2jax.check(ahead, NET, normal(5, 4))


@row(JIT, "lower()", "better")
def lowered():
    """The bucket that serves the arguments, with `compile()` and the rest; what is compiled takes
    all sizes of the bucket."""
    function = optimized(Net.over, shapes=(None, "n, 4"), buckets={"n": (16,)})
    compiled = function.lower(NET, normal(5, 4)).compile()
    for size in SIZES:
        x = normal(size, 4)
        assert_same(compiled(NET, x), eqx.filter_jit(Net.over)(NET, x))
    assert compiled.out_info.shape == (5, 3)
    shapes = function.eval_shape(NET, normal(5, 4))
    assert shapes.shape == (5, 3)


@row(JIT, "eqx.error_if", "same")
def errors():
    """It raises where the condition holds for true sizes. The error is the one that `jax.jit`
    raises, with the message in it: `EquinoxRuntimeError` is made by `filter_jit` alone."""

    def checked(x):
        return eqx.error_if(x, x.sum() > 100, "too large")

    function = optimized(checked, shapes=("n",))
    for size in SIZES:
        ones = np.ones(size, np.float32)
        assert_same(function(ones), eqx.filter_jit(checked)(ones))
    for jit in (function, eqx.filter_jit(checked)):
        with pytest.raises(RuntimeError, match="too large"):
            jax.block_until_ready(jit(np.full(9, 20, np.float32)))


ATTRIBUTES = {"fn", "filter_warning", "donate_first", "donate_rest"}
"""Inner parts of equinox, which no row names."""
