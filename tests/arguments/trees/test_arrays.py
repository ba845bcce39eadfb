"""Arrays of every make, and what may be done to them before and after a call."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import sod2jax
from tests.arguments.trees.compare import SIZES, assert_same, compare, normal


def read_only(array):
    array.flags.writeable = False
    return array


class Own(np.ndarray):
    pass


MAKES = {
    "strided": lambda n: normal(2 * n, 6)[::2, 1:4],
    "Fortran order": lambda n: np.asfortranarray(normal(n, 3)),
    "transposed": lambda n: normal(3, n).T,
    "read-only": lambda n: read_only(normal(n, 3)),
    "reversed": lambda n: normal(n, 3)[::-1],
    "broadcast": lambda n: np.broadcast_to(normal(3), (n, 3)),
    "float64": lambda n: normal(n, 3).astype(np.float64),
    "subclass": lambda n: normal(n, 3).view(Own),
    "jax": lambda n: jnp.asarray(normal(n, 3)),
    "committed": lambda n: jax.device_put(normal(n, 3), jax.devices()[0]),
    "sharded over one device": lambda n: jax.device_put(
        normal(n, 3), NamedSharding(jax.make_mesh((1,), ("x",)), PartitionSpec("x"))
    ),
}


def work(x):
    return 2 * x, x.sum(0), x, x[:1].T


def test_arrays_of_every_make_share_a_program():
    calls = [(make(n),) for make in MAKES.values() for n in SIZES]
    stats = compare(work, calls, shapes=("n, 3",))
    assert (stats.traces, stats.compiles) == (2, 2)  # results over a mesh have an executable


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_the_bare_decorator_takes_arrays_of_every_make(make):
    assert compare(work, [(make(n),) for n in SIZES]).traces == 2


def test_zero_dimensional_arrays():
    makes = np.float32, jnp.float32, lambda a: np.array(a, np.float32)
    calls = [(make(n), normal(n)) for n in SIZES for make in makes]
    stats = compare(lambda a, x: (a * x, a), calls, shapes=(None, "n"))
    assert stats.traces == 1


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_typed_keys(impl):
    def draw(keys):
        return jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys), keys

    calls = [(jax.random.split(jax.random.key(1, impl=impl), n),) for n in SIZES]
    f = sod2jax.optimize(draw, shapes=("n",), poison=True)
    if impl == "threefry2x32":
        for (keys,) in calls[:2]:
            assert_same(f(keys), jax.jit(draw)(keys))
        assert (f.stats().traces, f.stats().exact_fallbacks) == (1, 0)
    compare(lambda keys: (keys, keys[::-1]), calls, shapes=("n",))


def test_raw_keys_and_typed_keys_are_different_programs():
    def draw(keys):
        bits = jax.vmap(lambda key: jax.random.uniform(key, (3,)))(keys)
        return bits, jax.vmap(jax.random.split)(keys)

    typed = [jax.random.split(jax.random.key(1), n) for n in (5, 9)]
    calls = [(keys,) for keys in typed] + [(jax.random.key_data(keys),) for keys in typed]
    stats = compare(draw, [*calls, *((np.asarray(k),) for (k,) in calls[len(typed) :])])
    assert stats.traces == 4


def test_keys_that_are_not_batched():
    def drop(x, key):
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x, 0), jax.random.split(key)

    calls = [
        (normal(n, 3), make(n)) for make in (jax.random.key, jax.random.PRNGKey) for n in (5, 9)
    ]
    assert compare(drop, calls, shapes=("n, 3", None)).traces == 2


@pytest.mark.parametrize("specs", [("n", None), None], ids=["specs", "bare"])
def test_results_share_no_memory_with_arguments(specs):
    f = sod2jax.optimize(lambda x, p: (x, 2 * x, p, x[:1]), shapes=specs, poison=True)

    def results(x, p):
        return x.copy(), 2 * x, p.copy(), x[:1].copy()

    for n in (3, 16, 5, 32, 1024, 3, 16):
        x, p = normal(n), normal(7)
        want = results(x, p)
        seen = jax.block_until_ready(f(x, p))
        x[:], p[:] = 99, 99
        again = results(x, p)
        assert_equal(f(x, p), again)
        assert_equal(seen, want)
        assert (x == 99).all()
        assert (p == 99).all()


def test_results_outlive_their_arguments_and_later_calls():
    f = sod2jax.optimize(lambda x, p: (x, 2 * x, p), shapes=("n", None), poison=True)
    kept = []
    for n in (3, 16, 5, 16, 3):
        x, p = jnp.asarray(normal(n, seed=len(kept))), jnp.asarray(normal(7))
        kept.append((f(x, p), (np.array(x), np.array(2 * x), np.array(p))))
        del x, p
    for seen, want in kept:
        assert_equal(seen, want)


def assert_equal(seen, want):
    for a, b in zip(seen, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_results_may_be_donated_and_arguments_are_not():
    f = sod2jax.optimize(lambda x: (x, 2 * x), shapes=("n",))
    increase = jax.jit(lambda x: x + 1, donate_argnums=0)
    for n in (3, 16):
        x = jnp.asarray(normal(n))
        same, double = f(x)
        np.testing.assert_array_equal(increase(double), 2 * normal(n) + 1)
        np.testing.assert_array_equal(increase(same), normal(n) + 1)
        np.testing.assert_array_equal(x, normal(n))


def test_deleted_arguments_are_refused_as_jax_does():
    f = sod2jax.optimize(lambda x: 2 * x, shapes=("n",))
    x = jnp.asarray(normal(5))
    x.delete()
    with pytest.raises(RuntimeError, match="deleted"):
        f(x)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("abc", r"'x\[1\]' is 'abc' of type str"),
        (np.array(["a"]), r"'x\[1\]' is a NumPy array of dtype dtype\('<U1'\)"),
        (np.array([None]), r"'x\[1\]' is a NumPy array of dtype dtype\('O'\)"),
        (np.ones(3, ">f4"), r"'x\[1\]' is a NumPy array of dtype dtype\('>f4'\)"),
        (jax.nn.gelu, r"'x\[1\]' is <function gelu at .* of type function"),
        (np.datetime64("2020-01-01"), r"'x\[1\]' is .* of type datetime64"),
    ],
    ids=["str", "text array", "objects", "big-endian", "function", "date"],
)
def test_what_is_no_array_is_named(value, match):
    f = sod2jax.optimize(lambda x: x)
    with pytest.raises(TypeError, match=match + ", which is not a valid JAX type"):
        f([normal(3), value])
    with pytest.raises(TypeError):
        jax.jit(lambda x: x)([normal(3), value])
