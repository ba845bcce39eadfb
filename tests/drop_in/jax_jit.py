"""Rows of ``jax.jit``."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from tests.drop_in import SIZES, assert_same, normal, optimized, row

JIT = "jax.jit"
ONE = jax.devices()[0]


def scaled(x, k=2):
    return x * k


def softmax(x):
    return jax.nn.softmax(x).sum(0), x.shape[0]


def beside(fun: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Calls both on the same arguments at several sizes: no run is exact, few are compiled."""
    function, plain = optimized(fun, **options), jax.jit(fun, **options)
    for size in SIZES:
        x = normal(size)
        assert_same(function(x, *arguments), plain(x, *arguments))
    stats = function.stats()
    assert stats.compiles <= 2 and stats.exact_fallbacks == 0, stats
    return function


@row(JIT, "calls", "better")
def calls():
    """At any size from few executables; a call of a new size traces and compiles nothing."""
    beside(softmax)


@row(JIT, "as a decorator", "same")
def decorators():
    """Bare, with keywords, by `functools.partial`, and on a method."""

    @sod2jax.optimize
    def bare(x):
        return x * 2

    @sod2jax.optimize(static_argnames="k")
    def told(x, k=2):
        return x * k

    @functools.partial(sod2jax.optimize, static_argnames="k")
    def partly(x, k=2):
        return x * k

    class Scale:
        @functools.partial(sod2jax.optimize, static_argnums=0)
        def method(self, x):
            return x * 2

    for function in (bare, told, partly, Scale().method):
        for size in SIZES:
            assert_same(function(normal(size)), jax.jit(scaled)(normal(size)))
    assert bare.__name__ == "bare"


@row(JIT, "static_argnums", "same")
def static_argnums():
    """A program is made for each value."""
    beside(scaled, 3, static_argnums=1)
    beside(scaled, 3, static_argnums=-1)


@row(JIT, "static_argnames", "same")
def static_argnames():
    """By name, also where the argument is given by position."""
    beside(scaled, 3, static_argnames="k")


@row(JIT, "donate_argnums", "same")
def donate_argnums():
    """The array is consumed, and an error tells of a later use; its memory is used again where a
    result of the bucket has its shape, freed early where none has."""
    function = optimized(scaled, donate_argnums=0)
    for size in SIZES:
        x = jnp.asarray(normal(size))
        assert_same(function(x), jax.jit(scaled)(normal(size)))
        assert x.is_deleted()
        with pytest.raises(RuntimeError, match="deleted"):
            function(x)


@row(JIT, "donate_argnames", "same")
def donate_argnames():
    """By name."""
    x = jnp.asarray(normal(5))
    optimized(scaled, donate_argnames="x")(x=x)
    assert x.is_deleted()


@row(JIT, "keep_unused", "same")
def keep_unused():
    """For exact runs; in buckets an unused argument costs nothing."""
    beside(lambda x, y: x * 2, normal(3), keep_unused=True)


@row(JIT, "inline", "same")
def inline():
    """Inside of other traces no call is left."""
    for given in (False, True):
        seen = jax.make_jaxpr(lambda x: sod2jax.optimize(scaled, inline=given)(x))(normal(3))  # noqa: B023
        want = jax.make_jaxpr(lambda x: jax.jit(scaled, inline=given)(x))(normal(3))  # noqa: B023
        names = [[str(eqn.primitive) for eqn in jaxpr.eqns] for jaxpr in (seen, want)]
        assert names[0] == names[1]


@row(JIT, "compiler_options", "same")
def compiler_options():
    """XLA is told them for every bucket."""
    beside(scaled, compiler_options={"xla_cpu_enable_fast_math": False})


@row(JIT, "device", "same")
def device():
    """Calls run there, from buckets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        beside(scaled, device=ONE)


@row(JIT, "backend", "same")
def backend():
    """The same, by the name of a platform."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        beside(scaled, backend=ONE.platform)


@row(JIT, "in_shardings", "same")
@row(JIT, "out_shardings", "same")
def shardings():
    """Arrays are placed as `jit` places them."""
    place = jax.sharding.NamedSharding(jax.make_mesh((1,), ("a",)), jax.sharding.PartitionSpec())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("in_shardings", "out_shardings"):
            function = sod2jax.optimize(scaled, **{name: place})
            plain = jax.jit(scaled, **{name: place})
            for size in SIZES:
                seen, want = function(normal(size)), plain(normal(size))
                assert_same(seen, want)
                assert seen.sharding == want.sharding


@row(JIT, "a function that jax.jit made", "same")
def told_before():
    """What it was told holds."""
    function = optimized(jax.jit(scaled, static_argnums=1))
    for size in SIZES:
        assert_same(function(normal(size), 3), jax.jit(scaled)(normal(size), 3))


@row(JIT, "arguments that are no arrays", "same")
def no_arrays():
    """A TypeError; here it names the argument, and `filter=True` makes them static."""
    for jit in (optimized, jax.jit):
        with pytest.raises(TypeError):
            jit(lambda x, f: f(x))(normal(3), jnp.sin)
    with pytest.raises(TypeError, match=r"'f' is .*filter=True"):
        optimized(lambda x, f: f(x))(normal(3), jnp.sin)


@row(JIT, "Python and NumPy arguments", "better")
def host_arguments():
    """Numbers have weak types; a NumPy array may be written to after the call, which XLA never
    reads late."""
    beside(lambda x, k: x * k, 3)
    function, x = optimized(scaled), normal(5)
    seen = function(x)
    x[:] = 0
    assert_same(seen, jax.jit(scaled)(normal(5)))


@row(JIT, "inside of other traces", "same")
def inside():
    """There it is `jax.jit(fun)`: one call in the program, traced once."""
    traces = []

    def counted(x):
        traces.append(1)
        return x * 2

    function = optimized(counted)
    assert_same(jax.jit(lambda x: function(function(x)))(normal(5)), jnp.asarray(normal(5) * 4))
    assert len(traces) == 1


@row(JIT, "grad, vmap, jvp, vjp, hessian", "better")
def transformations():
    """Of arrays, they run from buckets of a derived function, where `jit` traces for each shape."""

    def energy(x):
        return (jnp.sin(x) ** 2).sum()

    function = optimized(energy)
    for transform in (jax.grad, jax.value_and_grad, jax.hessian):
        for size in SIZES:
            seen, want = transform(function)(normal(size)), transform(energy)(normal(size))
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-5), seen, want)
    for size in SIZES:
        x = normal(3, size)
        np.testing.assert_allclose(jax.vmap(function)(x), jax.vmap(energy)(x), rtol=1e-5)


@row(JIT, "jax.disable_jit, jax_debug_nans", "same")
def debugging():
    """Calls run as JAX was told to run them."""
    with jax.disable_jit():
        assert_same(sod2jax.optimize(scaled)(jnp.asarray(normal(3))), jnp.asarray(normal(3)) * 2)
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        sod2jax.optimize(jnp.log)(-np.ones(3, np.float32))


@row(JIT, "errors of the function", "same")
def errors():
    """What the function raises while it is traced comes out."""

    def failing(x):
        raise KeyError("mine")

    for jit in (sod2jax.optimize, jax.jit):
        with pytest.raises(KeyError, match="mine"):
            jit(failing)(normal(3))


@row(JIT, "jax.stages.Wrapped", "same")
def wrapped():
    """`isinstance` says that it is one, and `jax.export` takes it."""
    function = sod2jax.optimize(scaled)
    assert isinstance(function, jax.stages.Wrapped)
    exported = jax.export.export(function)(jax.ShapeDtypeStruct((5,), np.float32))
    assert_same(exported.call(normal(5)), jax.jit(scaled)(normal(5)))


@row(JIT, "copy.deepcopy", "same")
def copies():
    """The copy has programs of its own."""
    function = optimized(scaled)
    other = copy.deepcopy(function)
    assert_same(other(normal(5)), function(normal(5)))
    assert other is not function and other.stats().calls == 1


@row(JIT, "trace()", "same")
def traced():
    """The program at the very shapes; `analyse()` gives the symbolic one."""
    seen, want = (jit(scaled).trace(normal(5)) for jit in (sod2jax.optimize, jax.jit))
    assert str(seen.jaxpr) == str(want.jaxpr)
    assert "n" in str(sod2jax.optimize(scaled, shapes=("n",)).analyse(normal(5)))


@row(JIT, "lower()", "better")
def lowered():
    """The bucket that serves the arguments, with `as_text`, `compiler_ir`, `cost_analysis`,
    `compile` and what says shapes; what is compiled takes all sizes of the bucket."""
    function = optimized(scaled, shapes=("n",), buckets={"n": (16,)})
    stage = function.lower(normal(5))
    plain = jax.jit(scaled).lower(normal(5))
    assert stage.out_info.shape == plain.out_info.shape == (5,)
    assert stage.in_tree == plain.in_tree and stage.out_tree == plain.out_tree
    assert stage.in_avals == plain.in_avals and stage.donate_argnums == plain.donate_argnums
    assert stage.args_info == plain.args_info
    assert "16xf32" in stage.as_text() and stage.compiler_ir() and stage.cost_analysis()
    compiled = stage.compile()
    for size in SIZES:
        assert_same(compiled(normal(size)), jax.jit(scaled)(normal(size)))
    assert compiled.as_text() and compiled.memory_analysis() and compiled.cost_analysis()
    assert compiled.runtime_executable() and compiled.in_avals == plain.in_avals
    assert compiled.args_info == plain.args_info


@row(JIT, "layouts and shardings of what is compiled", "refused")
def layouts():
    """`input_formats`, `output_formats`, `input_shardings` and `output_shardings` are of arrays of
    a bucket, which no caller holds: `runtime_executable()` has them."""
    compiled = sod2jax.optimize(scaled).lower(normal(5)).compile()
    for name in LAYOUTS:
        assert not hasattr(compiled, name)
    assert compiled.runtime_executable()


@row(JIT, "eval_shape()", "same")
def eval_shape():
    """The shapes and dtypes of the result."""
    for size in SIZES:
        seen = sod2jax.optimize(softmax).eval_shape(normal(size))
        assert seen == jax.jit(softmax).eval_shape(normal(size))


@row(JIT, "clear_cache()", "same")
def clear_cache():
    """All programs and executables are forgotten."""
    function = optimized(scaled)
    function(normal(5))
    function.clear_cache()
    assert not function.buckets
    assert_same(function(normal(5)), jax.jit(scaled)(normal(5)))


LAYOUTS = {"input_formats", "output_formats", "input_shardings", "output_shardings", "call"}
"""Of compiled functions, refused; ``call`` is what calling does."""
