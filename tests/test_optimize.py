"""The decorated function is the function: results, transformations, threads, no retrace."""

from __future__ import annotations

import collections
import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import (
    ExactFallbackWarning,
)
from tests.attention import W, assert_close, attention, normal, optimized

# Results


@pytest.mark.parametrize(("b", "s"), [(1, 1), (2, 4), (3, 5), (3, 8)])
def test_equals_jit(b, s):
    f = optimized()
    x = normal(b, s, 4)
    assert_close(f(x, W), jax.jit(attention)(x, W))


def test_poison_changes_no_bit():
    clean, poisoned = optimized(), optimized(poison=True)
    for b, s in [(1, 1), (2, 3), (3, 7)]:
        x = normal(b, s, 4)
        for a, b_ in zip(*(jax.tree.leaves(f(x, W)) for f in (clean, poisoned)), strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b_).tobytes()


Pair = collections.namedtuple("Pair", ["left", "right"])


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    x: jax.Array
    count: jax.Array | None


def test_trees_are_kept():
    def rearrange(pair, state):
        swapped = Pair(pair.right * 2, pair.left)
        return {"pair": swapped, "none": None}, [State(state.x + 1, None), (pair.left.sum(),)]

    specs = (Pair("s", "s, t"), State("t", None))
    f = optimized(rearrange, shapes=specs, buckets={"s": (8,), "t": (4,)})
    args = Pair(normal(5), normal(5, 3)), State(normal(3), jnp.int32(4))
    seen = f(*args)
    assert_close(seen, jax.jit(rearrange)(*args))
    assert type(seen[0]["pair"]) is Pair
    assert seen[0]["none"] is None
    assert seen[1][0].count is None


def test_python_scalars_and_weak_types():
    def scale(x, a, b, flag):
        return x * a, x * b, x + flag, a, jnp.asarray(a) * 2

    f = optimized(scale, shapes={"x": "s"}, buckets={"s": (8,)})
    for x in (np.arange(3, dtype=np.int32), normal(5), np.arange(6.0)):
        for a, b in ((2, 2.5), (np.float32(2), 3), (jnp.int8(2), True)):
            assert_close(f(x, a, b, True), jax.jit(scale)(x, a, b, True))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8", "uint32", "bool", "complex64"])
def test_dtypes(dtype):
    def work(x):
        return x[::-1], jnp.sum(x, 0, keepdims=True), x @ x.T, jnp.where(x == x[:1], x, 0)

    x = (normal(5, 3) * 3).astype(jnp.dtype(dtype))
    f = optimized(work, shapes=("s, 3",), buckets={"s": (8,)}, poison=True)
    for a, b in zip(f(x), jax.jit(work)(x), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(np.asarray(a, complex), np.asarray(b, complex), rtol=0.05)


def test_64_bit_mode_has_programs_of_its_own():
    f = optimized(lambda x: x * 2, shapes=("s",), buckets={"s": (8,)})
    assert f(np.arange(3.0)).dtype == np.float32
    with jax.enable_x64(True):
        assert f(np.arange(3.0)).dtype == np.float64
    assert f(np.arange(3.0)).dtype == np.float32
    assert f.stats().traces == 2


def test_typed_keys_may_be_padded():
    def draw(keys, flip):
        keys = jnp.where(flip, keys, keys[::-1])
        return jax.vmap(jax.random.normal)(keys), keys

    keys = jax.random.split(jax.random.key(3), 5)
    args = keys, np.arange(5) < 2
    f = optimized(draw, shapes=("s", "s"), buckets={"s": (8,)}, poison=True)
    numbers, seen = f(*args)
    want_numbers, want = jax.jit(draw)(*args)
    np.testing.assert_array_equal(numbers, want_numbers)
    assert seen.dtype == want.dtype
    np.testing.assert_array_equal(jax.random.key_data(seen), jax.random.key_data(want))


def masks_of_two_axes(x, y):
    return x.prod(1), x.sum(0), y.prod(0), y.sum(1), jnp.maximum(x, y).prod()


def mask_chosen_softmax(x, keep, y):
    return keep.all(1), jnp.where(keep, jax.nn.softmax(x, 1), 0.0) @ y


def integer_shares(x):
    sizes = lax.abs(x)
    totals = jnp.broadcast_to(sizes.sum(1, keepdims=True), sizes.shape)
    return lax.div(sizes, totals).sum(1)


@pytest.mark.parametrize(
    ("fun", "args", "shapes"),
    [
        (
            lambda x, y: (x.sum(1), x @ y),
            (normal(3, 5).astype(jnp.bfloat16), normal(5, 3).astype(jnp.bfloat16)),
            ("b, s", "s, 3"),
        ),
        (masks_of_two_axes, (1 + normal(3, 5) ** 2, 2 + normal(3, 5) ** 2), ("b, s", "b, s")),
        (
            mask_chosen_softmax,
            (np.full((3, 5), -np.inf, np.float32), np.zeros((3, 5), bool), normal(5, 3)),
            ("b, s", "b, s", "s, 3"),
        ),
        (integer_shares, (np.zeros((3, 5), np.int32),), ("b, s",)),
        (lambda z: (z.sum(1), (z * 2j).sum(1)), (normal(3, 5) + 1j * normal(3, 5),), ("b, s",)),
    ],
    ids=["bfloat16", "two axes", "chosen softmax", "integer shares", "complex"],
)
def test_what_is_known_of_padding_is_never_more_than_true(fun, args, shapes):
    buckets = {name: size for name, size in {"b": (4,), "s": (8,)}.items() if name in str(shapes)}
    f = optimized(fun, shapes=shapes, buckets=buckets, poison=True)
    for a, b in zip(*map(jax.tree.leaves, (f(*args), jax.jit(fun)(*args))), strict=True):
        np.testing.assert_allclose(np.asarray(a, complex), np.asarray(b, complex), rtol=1e-5)


# Calling


def test_calling_convention_is_that_of_the_function():
    def work(x, scale=2.0, *rest, mask=None, power=1):
        total = sum(rest, x * scale) ** power
        return total if mask is None else total * mask

    specs = {"x": "s", "rest": "s", "mask": "s"}
    f = optimized(work, shapes=specs, buckets={"s": (8,)}, static_argnames="power")
    x = normal(5)
    for args, kwargs in [
        ((x,), {}),
        ((), {"x": x}),
        ((x, 3.0), {"mask": x > 0}),
        ((x, 3.0, x, x), {"power": 2}),
        ((x,), {"mask": x > 0, "scale": 3.0}),
    ]:
        want = jax.jit(work, static_argnames="power")(*args, **kwargs)
        assert_close(f(*args, **kwargs), want)


def test_specs_skip_static_arguments():
    f = optimized(
        lambda x, mode, y: x + y if mode == "add" else x - y,
        shapes=("s", "s"),
        buckets={"s": (8,)},
        static_argnums=1,
    )
    x, y = normal(5), normal(5, seed=1)
    np.testing.assert_allclose(f(x, "add", y), x + y)
    np.testing.assert_allclose(f(x, "sub", y), x - y)
    assert f.bucket_for(x, "add", y) == Bucket.of({"s": 8})
    assert f.stats().traces == 2


def test_decorates_with_and_without_options():
    @sod2jax.optimize
    def bare(x):
        """Doubles."""
        return x * 2

    @sod2jax.optimize(shapes=("s",))
    def configured(x):
        return x * 2

    assert bare.__name__ == "bare"
    assert bare.__doc__ == "Doubles."
    assert list(inspect.signature(bare).parameters) == ["x"]
    np.testing.assert_array_equal(bare(np.arange(3.0)), configured(np.arange(3.0)))


def test_transformations_equal_those_of_the_function():
    f = optimized()
    x = normal(2, 5, 4)

    def loss(fun, x, w):
        return (fun(x, w)["mixed"] ** 2).sum()

    assert_close(jax.jit(f)(x, W), jax.jit(attention)(x, W))
    assert_close(
        jax.grad(loss, argnums=(1, 2))(f, x, W), jax.grad(loss, argnums=(1, 2))(attention, x, W)
    )
    batch = normal(3, 2, 5, 4)
    assert_close(
        jax.vmap(f, in_axes=(0, None))(batch, W), jax.vmap(attention, in_axes=(0, None))(batch, W)
    )
    assert_close(jax.jvp(f, (x, W), (x, W)), jax.jvp(attention, (x, W), (x, W)))
    assert jax.eval_shape(f, x, W) == jax.eval_shape(attention, x, W)
    assert f.stats().exact_fallbacks == 0


def test_concrete_arguments_inside_a_transformation():
    table = normal(4, 2)
    f = optimized(lambda x: x @ table, shapes=("s, 4",), buckets={"s": (4, 8)})
    x = normal(3, 4)
    total = (x @ table).sum()
    assert jax.jit(lambda y: f(x).sum() * y)(1.0) == pytest.approx(total, rel=1e-5)
    assert jax.grad(lambda y: f(x).sum() * y)(1.0) == pytest.approx(total, rel=1e-5)
    np.testing.assert_allclose(f(x), x @ table, rtol=1e-5)


@pytest.mark.parametrize("setting", ["jax_debug_nans", "jax_debug_infs", "jax_disable_jit"])
def test_debugging_jax_sees_no_padding(setting):
    f = optimized(lambda x: 1 / x, shapes=("s",), buckets={"s": (8,)})
    x = 1 + normal(3) ** 2
    jax.config.update(setting, True)
    try:
        np.testing.assert_allclose(f(x), 1 / x, rtol=1e-6)
    finally:
        jax.config.update(setting, False)
    assert f.stats().exact_fallbacks == 1
    f(x)
    assert f.stats().exact_fallbacks == 1


def test_closed_over_tracers_are_exact():
    x = normal(5)

    def loss(w):
        f = sod2jax.optimize(lambda x: (x * w).sum(), shapes=("s",))
        with pytest.warns(ExactFallbackWarning, match="closes over a value .* pass it as an arg"):
            return f(x)

    assert jax.grad(loss)(2.0) == pytest.approx(x.sum(), rel=1e-5)
