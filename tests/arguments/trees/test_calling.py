"""Whatever can be called, however its arguments are passed, and from wherever."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from tests.arguments.trees.compare import SIZES, assert_same, compare, normal


class Model:
    scale = 3.0

    def __init__(self, w):
        self.w = w

    def __call__(self, x):
        return self.w * x

    def times(self, x, k=1):
        return self.w * k * x

    @classmethod
    def of_class(cls, x):
        return cls.scale * x

    @staticmethod
    def of_none(x):
        return 7 * x

    @sod2jax.optimize(shapes={"x": "n"}, static_argnums=0, poison=True)
    def method(self, x):
        return self.w * x

    @sod2jax.optimize(static_argnames="self", poison=True)
    def bare(self, x):
        return self.w * x

    @classmethod
    @sod2jax.optimize(shapes={"x": "n"}, static_argnums=0, poison=True)
    def decorated_of_class(cls, x):
        return cls.scale * x

    @staticmethod
    @sod2jax.optimize(shapes=("n",), poison=True)
    def decorated_of_none(x):
        return 7 * x

    @sod2jax.optimize
    def without_static(self, x):
        return self.w * x


model = Model(2.0)
NUMBER, VECTOR = np.float32(3), 2 * jnp.ones(3)
CALLABLES = {
    "object": model,
    "bound method": model.times,
    "class method": Model.of_class,
    "static method": Model.of_none,
    "partial": functools.partial(model.times, k=3),
    "partial of positions": functools.partial(lambda a, b, x: (a, b * x), 1.0, 2),
    "default": lambda x, s=NUMBER: s * x,
    "ufunc": jnp.sin,
    "custom_jvp": jax.nn.relu,
    "jit": jax.jit(model.times),
    "grad": jax.grad(lambda x: (x**2).sum()),
    "vmap": jax.vmap(lambda x: 2 * x),
}


@pytest.mark.parametrize("fun", CALLABLES.values(), ids=CALLABLES)
def test_callables(fun):
    assert compare(fun, [(normal(n),) for n in SIZES]).traces == 2


def test_decorated_methods():
    models = [Model(2.0), Model(3.0)]
    for made in models:
        for n in SIZES:
            x = normal(n)
            np.testing.assert_allclose(made.method(x), made.w * x, rtol=1e-6)
            np.testing.assert_allclose(made.bare(x), made.w * x, rtol=1e-6)
            np.testing.assert_allclose(made.decorated_of_class(x), 3 * x, rtol=1e-6)
            np.testing.assert_allclose(made.decorated_of_none(x), 7 * x, rtol=1e-6)
    assert Model.method.stats().traces == 2
    # the second model knows from the first what varies
    assert Model.bare.stats().traces == 3


def test_a_self_that_is_no_array_is_named():
    with pytest.raises(TypeError, match=r"'self' is <.*Model object .* not a valid JAX type"):
        model.without_static(normal(3))


def gather(*xs, **named):
    return sum(x.sum() for x in xs), {k: 2 * v for k, v in named.items()}


def test_gathered_arguments():
    f = sod2jax.optimize(gather, poison=True, on_unsupported="error")
    for count in (0, 1, 3):
        for keys in ((), ("b", "a")):
            for n in SIZES if count or keys else ():
                args = [normal(n)] * count
                kwargs = {key: normal(n, 2) for key in keys}
                assert_same(f(*args, **kwargs), jax.jit(gather)(*args, **kwargs))
    assert f.stats().traces == 5 * 2
    specs = {"xs": ("n", "m"), "named": {"a": "n, 2"}}
    calls = [(normal(n), normal(n + 1)) for n in SIZES]
    f = sod2jax.optimize(gather, shapes=specs, poison=True)
    for args in calls:
        kwargs = {"a": normal(len(args[0]), 2)}
        assert_same(f(*args, **kwargs), jax.jit(gather)(*args, **kwargs))
    assert f.stats().traces == 1


def mixed(x, mode="times", k=2):
    return x * k if mode == "times" else x + k


@pytest.mark.parametrize(
    "static", [{"static_argnums": 1}, {"static_argnames": "mode"}, {"static_argnums": (1, 2)}]
)
@pytest.mark.parametrize("specs", [None, {"x": "n"}], ids=["bare", "specs"])
def test_static_arguments(static, specs):
    f = sod2jax.optimize(mixed, shapes=specs, poison=True, on_unsupported="error", **static)
    plain = jax.jit(mixed, **static)
    ways = [((), {}), (("plus",), {}), (("plus", 3), {}), ((), {"mode": "plus"})]
    for args, kwargs in [*ways, *ways]:
        for n in SIZES:
            x = normal(n)
            assert_same(f(x, *args, **kwargs), plain(x, *args, **kwargs))
    assert f.stats().traces <= (len(ways) if specs else 2 * len(ways))


def test_keyword_only_arguments_with_defaults():
    def work(x, *, k, mode="a", y=None):
        return x * k, mode == "a", y

    options = [{"k": k, **more} for k in (1, 2) for more in ({}, {"y": 1.5}, {"y": normal(3)})]
    for names, traces in ((("k",), 6), ((), 3)):
        f = sod2jax.optimize(work, shapes={"x": "n"}, static_argnames=(*names, "mode"), poison=True)
        plain = jax.jit(work, static_argnames=(*names, "mode"))
        for kwargs in options:
            for n in SIZES:
                assert_same(f(normal(n), **kwargs), plain(normal(n), **kwargs))
        assert f.stats().traces == traces


def test_static_values_that_have_no_hash_are_named():
    f = sod2jax.optimize(lambda x, k: x, static_argnums=1)
    with pytest.raises(ValueError, match=r"static argument 1 of <lambda> is \[1\], which has no"):
        f(normal(3), [1])
    with pytest.raises(ValueError, match=r"static argument 'k' of <lambda> .* must be hashable"):
        f(normal(3), k=np.ones(3))


def test_array_defaults_are_constants():
    def work(x, w=VECTOR):
        return x @ w

    assert compare(work, [(normal(n, 3),) for n in SIZES]).traces == 2


def loss(w, x):
    return jnp.tanh(x @ w).sum()


TRANSFORMATIONS = {
    "jit": jax.jit,
    "grad": jax.grad,
    "value_and_grad": lambda f: jax.value_and_grad(f, argnums=(0, 1)),
    "hessian": jax.hessian,
    "checkpoint": lambda f: jax.jit(jax.checkpoint(f)),
    "vjp": lambda f: lambda w, x: jax.vjp(f, w, x)[1](1.0),
    "linearize": lambda f: lambda w, x: jax.linearize(f, w, x)[1](w, x),
    "vmap": lambda f: lambda w, x: jax.vmap(f, (None, 0))(w, x[None]),
    "scan": lambda f: (
        lambda w, x: lax.scan(lambda c, y: (c + f(w, y[None]), f(w, y[None])), 0.0, x)
    ),
    "one argument concrete": lambda f: lambda w, x: jax.jit(lambda v: f(v, x))(w),
}


@pytest.mark.parametrize("transform", TRANSFORMATIONS.values(), ids=TRANSFORMATIONS)
def test_transformations_equal_those_of_the_function(transform):
    f = sod2jax.optimize(loss)
    w, x = normal(4, 3), normal(5, 4)
    assert_same(transform(f)(w, x), transform(loss)(w, x))
    assert f.stats().exact_fallbacks == 0


def test_one_optimized_function_calls_another():
    inner = sod2jax.optimize(loss)
    compare(lambda w, x: 2 * inner(w, x), [(normal(4, 3), normal(n, 4)) for n in SIZES])
    assert inner.stats().calls == 0


def test_threads_that_learn_at_once():
    def mix(x, y):
        return jax.nn.softmax(x @ y).sum(0), x[0]

    points = [(n, k) for n in range(1, 9) for k in (3, 4)] * 2
    want = {(n, k): jax.jit(mix)(normal(n, k), normal(k, 5)) for n, k in sorted(set(points))}
    f = sod2jax.optimize(mix, poison=True, on_unsupported="error")

    def run(share):
        return [(point, f(normal(*point), normal(point[1], 5))) for point in share]

    with ThreadPoolExecutor(4) as pool:
        for share in pool.map(run, [points[k::4] for k in range(4)]):
            for point, result in share:
                assert_same(result, want[point])
    stats = f.stats()
    assert (stats.calls, stats.exact_fallbacks) == (len(points), 0)
    assert stats.traces <= 5


def test_abstract_arguments_stand_for_all_kinds():
    def work(tree, x, keys, k=2):
        return tree["w"] * k, x.sum(), jax.random.key_data(keys)

    f = sod2jax.optimize(work, shapes={"x": "n", "keys": "n"}, poison=True)

    def make(n):
        return {"w": normal(3)}, jnp.asarray(normal(n)), jax.random.split(jax.random.key(0), n)

    def abstract(n):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), make(n))

    assert "x: float32[n]" in str(f.analyse(*abstract(4)))
    f.compile(*abstract(4))
    before = f.stats()
    for n in SIZES:
        assert_same(f(*make(n)), jax.jit(work)(*make(n)))
    assert (f.stats().traces, f.stats().compiles) == (before.traces, before.compiles)
    f(*make(3), 2)
    assert f.stats().traces == before.traces + 1
