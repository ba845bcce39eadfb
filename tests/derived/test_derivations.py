"""``grad``, ``jvp``, ``vmap`` and what is made of them, on arrays: from buckets, as by jit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sod2jax
from sod2jax.errors import ExactFallbackWarning, ShapeError
from tests.compile_log import compile_log

SIZES = (1, 2, 3, 5, 8, 11, 13, 15, 16, 7)
W = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)


def rows(n: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32))


def scalar(w: jax.Array, x: jax.Array) -> jax.Array:
    y = jnp.sin(x @ w)
    return (y * jax.nn.softmax(y, axis=0)).sum()


def array(w: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.cumsum(jnp.sin(x @ w), axis=0)[::-1].mean(1)


def optimized(fun: Callable[..., Any], **options: Any) -> sod2jax.OptimizedFunction:
    given = {"shapes": (None, "n, 4"), "buckets": {"n": (16,)}, "on_unsupported": "error"}
    return sod2jax.optimize(fun, **{**given, **options})


def same(seen: Any, wanted: Any) -> None:
    """Equal in everything but the order of sums."""
    assert jax.tree.structure(seen) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(seen), jax.tree.leaves(wanted), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert getattr(a, "weak_type", False) == getattr(b, "weak_type", False)
        if a.dtype != jax.dtypes.float0:
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def compiles(function: sod2jax.OptimizedFunction) -> int:
    return sum(f.stats().compiles for f in (function, *function.derived))


def traces(function: sod2jax.OptimizedFunction) -> int:
    return sum(f.stats().traces for f in (function, *function.derived))


def jvp(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda w, x: jax.jvp(f, (w, x), (w * 2, jnp.cos(x)))


def vjp(f: Callable[..., Any]) -> Callable[..., Any]:
    def run(w: jax.Array, x: jax.Array) -> Any:
        result, pull = jax.vjp(f, w, x)
        return result, pull(jnp.ones_like(result) * 3)

    return run


def linearized(f: Callable[..., Any]) -> Callable[..., Any]:
    def run(w: jax.Array, x: jax.Array) -> Any:
        result, moved = jax.linearize(f, w, x)
        back = jax.linear_transpose(moved, w, x)
        return result, moved(w, x), back(jnp.ones_like(result))

    return run


def stacked(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda w, x: jax.vmap(f, (0, None))(jnp.stack([w, 2 * w, 3 * w]), x)


def per_example(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda w, x: jax.vmap(jax.grad(f), (None, 1))(w, jnp.stack([x, -x], 1))


# Each with how many compiles it takes, the function's own included.
FEW = (1, 7, 16)
AT_ALL_SIZES = ("grad", "jvp", "vmap", "hessian")

TRANSFORMS: dict[str, tuple[Callable[..., Any], Callable[..., Any], int]] = {
    "grad": (scalar, jax.grad, 2),
    "grad_of_both": (scalar, lambda f: jax.grad(f, (0, 1)), 2),
    "value_and_grad": (scalar, jax.value_and_grad, 2),
    "jvp": (array, jvp, 1),
    "vjp": (array, vjp, 2),
    "linearize": (array, linearized, 3),
    "vmap": (array, stacked, 1),
    "per_example": (scalar, per_example, 2),
    "grad_of_vmap": (array, lambda f: jax.grad(lambda w, x: stacked(f)(w, x).sum()), 2),
    "jacfwd": (array, jax.jacfwd, 1),
    "jacrev": (array, jax.jacrev, 2),
    "hessian": (scalar, jax.hessian, 2),
    "grad_of_grad": (scalar, lambda f: jax.grad(lambda w, x: jax.grad(f)(w, x).sum()), 3),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_equal_to_jit_from_one_bucket(name: str):
    fun, transform, most = TRANSFORMS[name]
    function, poisoned = optimized(fun), optimized(fun, poison=True)
    plain = transform(jax.jit(fun))
    for n in SIZES if name in AT_ALL_SIZES else FEW:
        wanted = plain(W, rows(n))
        same(transform(function)(W, rows(n)), wanted)
        if n in FEW:
            same(transform(poisoned)(W, rows(n)), wanted)
    kinds = len(function.derived)
    assert 1 <= kinds <= 3
    batched = any("batch" in f.buckets[0] for f in function.derived)
    # A batch as large as a size of the function has buckets of its own.
    assert compiles(function) <= (most if not batched else most * 3)
    assert traces(function) <= kinds + 1


@pytest.mark.parametrize("transform", [jax.grad, jax.value_and_grad, jvp], ids=lambda t: t.__name__)
def test_nothing_is_traced_at_a_new_shape(transform: Callable[..., Any]):
    function = optimized(scalar, audit=False)
    transformed = transform(function)
    jax.block_until_ready(transformed(W, rows(16)))
    inputs = [(W, rows(n)) for n in SIZES]
    tangents = [jnp.cos(x) for _, x in inputs]
    jax.block_until_ready(tangents)
    with compile_log() as log:
        for args in inputs:
            jax.block_until_ready(transformed(*args))
    assert log == []


def test_learns_without_specs():
    function = sod2jax.optimize(scalar)
    for n in SIZES:
        same(jax.grad(function)(W, rows(n)), jax.grad(jax.jit(scalar))(W, rows(n)))
    assert function.stats().exact_fallbacks == 0
    assert compiles(function) <= 2 * 3  # at the first shape, and twice as it grows


def test_integers_static_arguments_keywords_trees_and_aux():
    def fun(params: Any, x: jax.Array, k: jax.Array, power: int, *, scale: Any) -> Any:
        y = (x[k] @ params["w"]) ** power * scale
        return (y.sum() + params["b"]), {"count": (y > 0).sum(), "size": x.shape[0], "y": y}

    function = sod2jax.optimize(
        fun,
        shapes={"x": "n, 4", "k": "m"},
        buckets={"n": (16,), "m": (8,)},
        static_argnames="power",
        on_unsupported="error",
    )
    plain = jax.jit(fun, static_argnames="power")
    params = {"w": W, "b": 1.5, "unused": jnp.ones(2)}
    for n, m, power in ((1, 1, 2), (5, 3, 2), (16, 8, 2), (7, 5, 3)):
        k = jnp.arange(m) % n
        args, scale = (params, rows(n), k, power), jnp.float32(2)
        for argnums in (0, (0, 1)):
            both = [
                jax.value_and_grad(f, argnums, has_aux=True)(*args, scale=scale)
                for f in (function, plain)
            ]
            same(*both)

        def loss(x: jax.Array, k: jax.Array, f: Any, power: int = power) -> jax.Array:
            return f(params, x, k, power, scale=jnp.float32(2))[0]

        moved = jax.grad(loss, (0, 1), allow_int=True)
        same(*(moved(rows(n), k, f) for f in (function, plain)))
    assert function.derived


def test_closed_over_tracers_run_as_under_jit():
    x = rows(5)

    def loss(w: jax.Array, wrap: Callable[..., Any]) -> jax.Array:
        return wrap(lambda x: jnp.sin(x @ w).sum())(x * w[:1])

    def wrap(f: Callable[..., Any]) -> Callable[..., Any]:
        return sod2jax.optimize(f, shapes=("n, 4",))

    with pytest.warns(ExactFallbackWarning, match="closes over a value .* pass it as an argument"):
        seen = jax.grad(lambda w: loss(w, wrap))(W)
    same(seen, jax.grad(lambda w: loss(w, jax.jit))(W))


def test_a_closed_over_array_is_a_constant():
    function = sod2jax.optimize(lambda x: jnp.sin(x @ W).sum(), shapes=("n, 4",))
    same(jax.grad(function)(rows(5)), jax.grad(lambda x: jnp.sin(x @ W).sum())(rows(5)))


def test_under_jit_it_is_jit():
    function = optimized(scalar)
    same(jax.jit(jax.grad(function))(W, rows(3)), jax.grad(scalar)(W, rows(3)))
    same(
        jax.grad(lambda w: jax.lax.map(lambda x: function(w, x[None]), rows(3)).sum())(W),
        jax.grad(lambda w: jax.lax.map(lambda x: scalar(w, x[None]), rows(3)).sum())(W),
    )
    assert not function.derived


def test_a_pullback_may_be_jitted_and_mapped():
    function = optimized(array)
    cotangents = jnp.eye(5)
    for wrap in (jax.jit, jax.vmap):
        (_, pull), (_, plain) = jax.vjp(function, W, rows(5)), jax.vjp(array, W, rows(5))
        given = cotangents if wrap is jax.vmap else cotangents[0]
        same(wrap(pull)(given), wrap(plain)(given))


def test_a_pullback_in_an_optimized_function():
    (_, pull), (_, plain) = jax.vjp(optimized(array), W, rows(5)), jax.vjp(array, W, rows(5))
    scaled = sod2jax.optimize(
        lambda ct, k: pull(ct * k.sum()), shapes=(None, "n"), on_unsupported="error"
    )
    over = sod2jax.optimize(jax.vmap(pull), shapes=("m, 5",), on_unsupported="error")
    for n in (1, 2, 5):
        cts = jnp.cos(jnp.arange(5.0 * n)).reshape(n, 5)
        same(scaled(cts[0], jnp.ones(n)), plain(cts[0] * n))
        same(over(cts), jax.vmap(plain)(cts))


def test_results_without_the_axis_of_a_batch():
    def fun(w: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.sin(w).sum(), x @ w

    function = optimized(fun)
    for n in (1, 5, 16):
        args = (W, jnp.stack([rows(n)] * 3, 2))
        over = [jax.vmap(f, (None, 2), (None, 1)) for f in (function, jax.jit(fun))]
        same(*(f(*args) for f in over))
    assert compiles(function) == 1


def test_names_of_axes():
    def fun(w: jax.Array, x: jax.Array) -> jax.Array:
        return (x - jax.lax.pmean(x, "i")) @ w

    x = jnp.stack([rows(5), 2 * rows(5)])
    over = [
        jax.vmap(f, (None, 0), axis_name="i")
        for f in (optimized(fun, on_unsupported="exact"), optimized(array), fun, array)
    ]
    with pytest.warns(ExactFallbackWarning, match="names of axes around it"):
        same(over[0](W, x), over[2](W, x))
    same(over[1](W, x), over[3](W, x))


def test_custom_derivatives():
    @jax.custom_vjp
    def clipped(x: jax.Array) -> jax.Array:
        return jnp.sin(x)

    clipped.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (jnp.clip(ct * jnp.cos(x), -0.1, 0.1),))

    @jax.custom_jvp
    def doubled(x: jax.Array) -> jax.Array:
        return x * 1

    doubled.defjvp(lambda primals, tangents: (doubled(*primals), 2 * tangents[0]))

    def fun(w: jax.Array, x: jax.Array) -> jax.Array:
        return clipped(doubled(x) @ w).sum()

    function = optimized(fun)
    for n in (1, 5, 16):
        same(jax.grad(function, (0, 1))(W, rows(n)), jax.grad(fun, (0, 1))(W, rows(n)))
    assert compiles(function) == 2


def test_random_keys_and_other_dtypes():
    def fun(key: jax.Array, x: jax.Array, z: jax.Array) -> jax.Array:
        kept = jax.random.bernoulli(key, 0.5, x.shape)
        return (jnp.where(kept, x, 0).astype(jnp.float32) * jnp.abs(z[:, None]) ** 2).sum()

    function = sod2jax.optimize(fun, shapes=(None, "n, 4", "n"), buckets={"n": (16,)})
    key = jax.random.key(0)
    for n in (1, 5, 16):
        args = (key, rows(n).astype(jnp.bfloat16), rows(n)[:, 0] + 1j)
        same(jax.grad(function, (1, 2))(*args), jax.grad(jax.jit(fun), (1, 2))(*args))
        keys = jax.random.split(key, 3)
        over = [jax.vmap(f, (0, None, None)) for f in (function, jax.jit(fun))]
        same(*(f(keys, *args[1:]) for f in over))
    assert function.stats().exact_fallbacks == 0


def test_weak_types_are_those_of_jit():
    def fun(a: Any, x: jax.Array) -> Any:
        return a * 2, x * a

    function = sod2jax.optimize(fun, shapes=(None, "n, 4"))
    x = rows(3)
    for f in (jax.jit(fun), function):
        f(2.0, x)
    partial = [functools.partial(f, x=x) for f in (function, jax.jit(fun))]
    same(*(jax.jvp(f, (2.0,), (1.0,)) for f in partial))
    same(*(jax.jacrev(f)(2.0) for f in partial))


def test_modules_and_what_they_write():
    class Model(nnx.Module):
        def __init__(self) -> None:
            self.linear = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
            self.calls = nnx.Variable(jnp.zeros((), jnp.int32))

        def __call__(self, x: jax.Array) -> jax.Array:
            self.calls[...] += 1
            return jnp.sin(self.linear(x)).sum()

    def fun(model: Model, x: jax.Array) -> jax.Array:
        return model(x)

    function = sod2jax.optimize(fun, shapes=(None, "n, 4"), buckets={"n": (16,)})
    model, plain = Model(), Model()
    for n in (1, 5, 16):
        seen = nnx.grad(function, argnums=nnx.DiffState(0, nnx.Param))(model, rows(n))
        wanted = nnx.grad(fun, argnums=nnx.DiffState(0, nnx.Param))(plain, rows(n))
        same(jax.tree.map(jnp.asarray, seen), jax.tree.map(jnp.asarray, wanted))
    assert int(model.calls[...]) == int(plain.calls[...]) == 3


def test_methods():
    class Model:
        @sod2jax.optimize(static_argnums=0, shapes={"x": "n, 4"}, buckets={"n": (16,)})
        def loss(self, x: jax.Array) -> jax.Array:
            return jnp.sin(x).sum()

    model = Model()
    for n in (1, 5, 16):
        same(jax.grad(model.loss)(rows(n)), jnp.cos(rows(n)))


def test_effects_run_once_as_under_jit(capfd: pytest.CaptureFixture[str]):
    def fun(w: jax.Array, x: jax.Array) -> jax.Array:
        jax.debug.print("seen")
        return jnp.sin(x @ w).sum()

    function = sod2jax.optimize(fun, shapes=(None, "n, 4"))
    with pytest.warns(ExactFallbackWarning, match="has effects"):
        seen = jax.grad(function)(W, rows(3))
    jax.effects_barrier()
    assert capfd.readouterr().out.count("seen") == 1
    same(seen, jax.grad(jax.jit(fun))(W, rows(3)))
    assert not function.derived


def test_shapes_out_of_range_are_refused():
    function = optimized(scalar)
    with pytest.raises(ShapeError, match="16"):
        jax.grad(function)(W, rows(17))


def test_sizes_of_results_that_are_expressions():
    def fun(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x[::2], x[1:], x * 2])

    function = sod2jax.optimize(fun, shapes=("n, 4",), buckets={"n": (16,)}, poison=True)
    for n in (1, 2, 5, 16):
        ct = jnp.cos(jnp.ones(((n + 1) // 2 + n - 1 + n, 4)))
        pulls = [jax.vjp(f, rows(n))[1](ct) for f in (function, jax.jit(fun))]
        same(*pulls)
    assert function.stats().exact_fallbacks == 0


def test_donated_arguments_stay():
    function = optimized(scalar, donate_argnums=1)
    x = rows(5)
    jax.grad(function)(W, x)
    assert not x.is_deleted()


def test_debugging_jax_sees_no_padding():
    function = optimized(scalar)
    with jax.disable_jit():
        same(jax.grad(function)(W, rows(3)), jax.grad(scalar)(W, rows(3)))
    assert not function.derived


def test_programs_are_forgotten_with_the_cache():
    function = optimized(scalar)
    jax.grad(function)(W, rows(3))
    assert [f._name for f in function.derived] == ["scalar_vjp"]
    assert "derived: <optimized scalar_vjp(n)" in function.explain()
    function.clear_cache()
    assert not function.derived
    same(jax.grad(function)(W, rows(3)), jax.grad(scalar)(W, rows(3)))


def test_no_tracer_is_left_behind():
    function = optimized(scalar)
    with jax.checking_leaks():
        for n in (3, 5):
            same(jax.hessian(function)(W, rows(n)), jax.hessian(scalar)(W, rows(n)))


def test_programs_for_different_sizes():
    """Python code that asks for sizes: a program for each answer, and what is derived from each."""

    def fun(w: jax.Array, x: jax.Array) -> jax.Array:
        if x.shape[0] == 1:
            return (x * 3).sum()
        if x.shape[0] > 6:
            return jnp.sin(x @ w).sum()
        return jnp.cos(x @ w).sum()

    function = optimized(fun)
    for n in SIZES:
        same(jax.grad(function, 1)(W, rows(n)), jax.grad(jax.jit(fun), 1)(W, rows(n)))
    assert compiles(function) == 2 * 3
