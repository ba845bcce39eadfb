"""Primitives that neither JAX nor this package registered, whatever they are called."""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax._src import dispatch
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxlib.mlir.dialects import stablehlo

import sod2jax
from sod2jax.errors import ExactFallbackWarning, SpecError, UnsupportedPrimitiveError
from sod2jax.ir import foreign
from sod2jax.ir.jaxprs import equations
from tests.ir.primitives import every_name

SIZES = (1, 3, 7, 8)  # the bucket is 8


def primitive(name, meaning, *, lowering=None, impl=None, abstract=None):
    """A primitive as packages make them; what it computes stands in its lowering rule."""
    p = Primitive(name)
    p.def_abstract_eval(
        abstract or (lambda x, *rest, **params: jax.core.ShapedArray(x.shape, x.dtype))
    )
    if impl or meaning:
        p.def_impl(impl or meaning)
    mlir.register_lowering(p, lowering or mlir.lower_fun(meaning, multiple_results=False))
    return p


def opaque(name):
    """A primitive of which no function of JAX's says that it is a sine."""
    p = primitive(name, None, lowering=lambda ctx, x: [stablehlo.sine(x)])
    p.def_impl(functools.partial(dispatch.apply_primitive, p))
    return p


def centred(x, **params):
    """As no primitive of JAX: every lane sees all lanes."""
    del params
    return x - x.mean()


def check(fun, *more: Any):
    """A function of an array of any length, and of some of fixed shape, as ``jax.jit`` has it."""
    spec = ("n", *(None for _ in more))
    poisoned = sod2jax.optimize(
        fun, shapes=spec, buckets={"n": (8,)}, on_unsupported="error", poison=True
    )
    bare = sod2jax.optimize(fun, on_unsupported="error")
    for size in SIZES:
        x = np.random.default_rng(size).normal(size=size).astype(np.float32)
        wanted = jax.jit(fun)(x, *more)
        for got in (poisoned(x, *more), bare(x, *more)):
            jax.tree.map(
                functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), got, wanted
            )


# Names


@pytest.mark.parametrize("name", "square add reduce_sum cumsum dot_general while jit sort".split())
def test_a_name_of_jax_is_no_rule_of_jax(name):
    p = primitive(name, centred)
    check(lambda x: (p.bind(x), p.bind(jnp.sin(x)) * 2))


def test_no_name_of_the_vocabulary_reaches_the_stages():
    x = jnp.ones(3)
    for name in every_name():
        with_function, without = primitive(name, centred), opaque(name)
        jaxpr = jax.make_jaxpr(lambda x, ps=(with_function, without): [p.bind(x) for p in ps])(x)
        for always in (False, True):
            opened = foreign.opened(jaxpr, always)
            left = [eqn.primitive for eqn in equations(opened)]
            assert with_function not in left and without not in left
            assert name not in [p.name for p in left if hasattr(p, "original")]


def test_two_primitives_of_one_name_are_two():
    names = {
        foreign.opened(jax.make_jaxpr(opaque("wave").bind)(1.0)).eqns[0].primitive.name
        for _ in range(2)
    }
    assert len(names) == 2 and all(":wave" in name for name in names)


@pytest.mark.parametrize("family", "control elementwise gradients linalg loop random".split())
def test_what_is_jax_s_stays(family):
    for harness in importlib.import_module(f"tests.harnesses.{family}").HARNESSES[::4]:
        args = [jax.ShapeDtypeStruct(arg.shape(harness.full), arg.dtype) for arg in harness.args]
        jaxpr = jax.make_jaxpr(harness.fun)(*args)
        assert foreign.opened(jaxpr) is jaxpr


def test_a_reducer_of_another_package_is_no_sum():
    p = primitive("add", lambda a, b: jnp.maximum(a, b))
    x = np.array([-3.0, -1.0, -2.0], np.float32)
    fun = sod2jax.optimize(
        lambda x: lax.reduce(x, np.float32(-np.inf), p.bind, (0,)), shapes=("n",), poison=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExactFallbackWarning)  # it is no reducer that is known
        assert fun(x) == -1


# Where no symbol is


def loop(p, x, w):
    carry, ys = lax.scan(lambda c, y: (p.bind(c) + y, c.sum()), w, x)
    body = lambda c: (c[0] + 1, p.bind(c[1]), c[2])  # noqa: E731
    return lax.while_loop(lambda c: c[0] + p.bind(c[0]) < 3, body, (w[0], carry, ys))


def branches(p, x, w):
    return lax.cond(p.bind(x.sum()) > 0.3, lambda x: x * p.bind(w)[0], lambda x: x - 1, x)


def nested(p, x, w):
    @jax.checkpoint
    def inner(x):
        return jnp.sin(x) * p.bind(w).sum()

    return jax.jit(inner)(x), jax.vmap(lambda y: y * p.bind(w))(x)


def solved(p, x, w):
    mean = lax.custom_root(
        lambda c: c - p.bind(x.sum()),
        jnp.float32(0),
        lambda f, c: c - f(c),
        lambda f, b: b / f(1.0),
    )
    return x * mean, x + p.bind(w)[0]


@pytest.mark.parametrize("fun", [loop, branches, nested, solved])
def test_what_no_symbol_touches_is_bound_as_it_is(fun):
    p = opaque("wave")
    check(lambda x, w: fun(p, x, w), np.array([0.3, 0.7, 0.2], np.float32))


# What a primitive computes, in its place


def test_an_implementation_is_traced_where_the_lowering_says_nothing():
    lowering = lambda ctx, x: [stablehlo.sine(x)]  # noqa: E731
    p = primitive("wave", None, lowering=lowering, impl=jnp.sin)
    check(lambda x: p.bind(x).cumsum()[::-1])


def test_a_number_among_the_operands_is_known():
    """As equinox's ``noinline``, which looks its function up."""
    table = [jnp.sin, centred]

    def impl(which, x):
        return table[which.item()](x)

    p = primitive(
        "looked_up",
        None,
        lowering=lambda ctx, which, x: [stablehlo.sine(x)],
        impl=impl,
        abstract=lambda which, x: x,
    )
    check(lambda x: p.bind(np.array(0), x))


def test_primitives_inside_primitives():
    inner = primitive("inner", centred)
    outer = primitive(
        "outer", lambda x, times: lax.fori_loop(0, times, lambda _, y: inner.bind(jnp.cos(y)), x)
    )
    check(lambda x: outer.bind(x, times=3))


def test_sizes_among_the_parameters():
    p = primitive(
        "spread",
        lambda x, size: jnp.broadcast_to(x, (size,)) + jnp.arange(size),
        abstract=lambda x, size: jax.core.ShapedArray((size,), x.dtype),
    )
    check(lambda x: p.bind(x.sum(), size=2 * x.shape[0] + 1))


def test_derivatives_and_batches_come_first():
    p = primitive("triple", lambda x: 3 * x)
    ad.defjvp(p, lambda t, x: -7 * t)  # no derivative of 3 * x
    batching.defvectorized(p)
    check(jax.grad(lambda x: (p.bind(x) ** 2).sum()))
    check(lambda x: jax.vmap(lambda y: p.bind(y) / x.sum())(x))


def test_rows_of_different_sizes():
    p = primitive("any_of_all", jnp.any, abstract=lambda x: jax.core.ShapedArray((), np.bool_))
    batching.primitive_batchers[p] = lambda xs, axes: (p.bind(*xs), batching.not_mapped)
    fun = lambda x: jnp.where(x > p.bind(x > 1), x, 0).sum()  # noqa: E731
    rows = [np.linspace(-1, k, k, dtype=np.float32) for k in (1, 3, 7)]
    got = sod2jax.ragged_vmap(fun, shapes=("n",))(rows)
    np.testing.assert_allclose(got, [fun(row) for row in rows], rtol=1e-6)


def test_functions_that_need_numbers_are_generalised():
    def meaning(x):
        return x * np.float32(sum(range(int(x.shape[0]))))

    p = primitive("weighed", meaning)
    check(lambda x: p.bind(x))


# Where nothing says what a primitive computes


def test_what_nothing_is_known_of_runs_exactly_with_a_reason():
    p = opaque("wave")
    fun = sod2jax.optimize(lambda x: p.bind(x) + 1, shapes=("n",), buckets={"n": (8,)})
    x = np.arange(5, dtype=np.float32)
    wanted = r"tests:wave.*' at .*test_foreign.py:\d+ .*register_rule"
    with pytest.warns(ExactFallbackWarning, match=wanted) as caught:
        np.testing.assert_allclose(fun(x), np.sin(x) + 1, rtol=1e-6)
    assert "sod2jax/" not in str(caught[0].message)


def test_a_function_that_binds_the_primitive_says_nothing():
    p = opaque("wave")
    p.def_impl(lambda x: dispatch.apply_primitive(p, x))
    with pytest.raises(UnsupportedPrimitiveError, match="tests:wave"):
        sod2jax.optimize(p.bind, shapes=("n",), on_unsupported="error")(jnp.ones(3))


def test_a_function_that_needs_values_says_nothing():
    p = opaque("wave")
    p.def_impl(lambda x: np.sin(np.asarray(x)))
    with pytest.raises(sod2jax.errors.Sod2jaxError, match=r"tests:wave.*TracerArrayConversion"):
        sod2jax.optimize(lambda x: p.bind(x), shapes=("n",), on_unsupported="error")(jnp.ones(3))


# Rules of users


def test_a_function_in_the_place_of_a_primitive():
    p = opaque("wave")
    sod2jax.register_rule(p, jnp.sin)
    check(lambda x: (p.bind(x).cumsum(), p.bind(x.sum())))


def test_parameters_come_by_name_and_results_as_a_list():
    p = opaque("waves")
    p.multiple_results = True
    p.def_abstract_eval(lambda x, times: [x] * times)
    lowering = lambda ctx, x, times: [stablehlo.sine(x)] * times  # noqa: E731
    mlir.register_lowering(p, lowering)
    sod2jax.register_rule(p, lambda x, times: [jnp.sin(x)] * times)
    check(lambda x: sum(p.bind(x, times=3)))


def test_elementwise():
    p = opaque("wave")
    sod2jax.register_rule(p, elementwise=True)
    check(lambda x, w: (p.bind(x)[::-1], p.bind(jnp.outer(x, w)).sum(0), p.bind(w)), jnp.ones(3))


def test_a_function_of_another_shape_is_refused():
    p = opaque("wave")
    sod2jax.register_rule(p, lambda x: jnp.sin(x).sum())
    with pytest.raises(sod2jax.errors.Sod2jaxError, match="the function in its place gives"):
        sod2jax.optimize(lambda x: p.bind(x), shapes=("n",), on_unsupported="error")(jnp.ones(3))


@pytest.mark.parametrize("rule", [lambda x: jnp.sin(x), lambda x, y, *, times: jnp.sin(x) * y])
def test_a_function_that_takes_other_arguments_is_refused(rule):
    p = opaque("wave")
    sod2jax.register_rule(p, rule)
    f = sod2jax.optimize(lambda x: p.bind(x, times=2), shapes=("n",), on_unsupported="error")
    with pytest.raises(Exception, match=r"is called as function\(x0, times=...\)"):
        f(np.ones(3, np.float32))


def test_rules_that_cannot_be_registered():
    p = opaque("wave")
    with pytest.raises(SpecError, match="either a function, or elementwise"):
        sod2jax.register_rule(p)
    with pytest.raises(SpecError, match="either a function, or elementwise"):
        sod2jax.register_rule(p, jnp.sin, elementwise=True)
    with pytest.raises(SpecError, match="JAX's own"):
        sod2jax.register_rule(lax.sin_p, jnp.sin)
    with pytest.raises(TypeError, match=r"takes a jax.extend.core.Primitive.* 'wave' of type str"):
        sod2jax.register_rule("wave", jnp.sin)
    with pytest.raises(TypeError, match="what 'wave' computes is no function: 3"):
        sod2jax.register_rule(p, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("specs", [("n",), None])
def test_a_rule_that_comes_late_serves_the_next_call(specs):
    p = opaque("wave")
    fun = sod2jax.optimize(lambda x: p.bind(x) + 1, shapes=specs)
    x = np.arange(5, dtype=np.float32)
    with pytest.warns(ExactFallbackWarning, match="wave"):
        fun(x), fun(x[:3])
    told = fun.stats().exact_fallbacks
    sod2jax.register_rule(p, jnp.cos)
    np.testing.assert_allclose(fun(x), np.cos(x) + 1, rtol=1e-6)
    sod2jax.register_rule(p, jnp.sin)  # which replaces it
    for n in (5, 3, 4):
        np.testing.assert_allclose(fun(x[:n]), np.sin(x[:n]) + 1, rtol=1e-6)
    assert fun.stats().exact_fallbacks == told
