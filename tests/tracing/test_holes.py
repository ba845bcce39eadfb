"""What plain symbolic dimensions answer wrongly, or not at all, is right at every size."""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from tests.quick import run_plainly

LARGEST = 9
KEY = jax.random.key(0)


def optimized(fun: Callable, specs: Sequence[str], *constraints: str) -> sod2jax.OptimizedFunction:
    return sod2jax.optimize(
        fun,
        shapes=specs,
        constraints=constraints or [f"{name} <= {LARGEST}" for name in specs],
        max_executables=2,
        poison=True,
        on_unsupported="error",
    )


def check(fun: Callable, specs: Sequence[str], points: Iterable[tuple[int, ...]]) -> None:
    """Compares with ``jax.jit`` at every point."""
    function, points = optimized(fun, specs), list(points)
    calls = [[np.arange(1.0, size + 1, dtype=np.float32) for size in point] for point in points]
    for point, call, want in zip(points, calls, run_plainly(fun, calls), strict=True):
        for a, b in zip(jax.tree.leaves(function(*call)), want, strict=True):
            assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type), point
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=str(point))
    assert function.stats().exact_fallbacks == 0


@functools.lru_cache
def _cached_factor(n: int) -> int:
    return 5 if n == 1 else 6


@jax.jit
def _jitted_elsewhere(x: jax.Array) -> jax.Array:
    return x * 2 if x.shape[0] == 3 else x


@jax.custom_jvp
def _with_own_tangent(x: jax.Array) -> jax.Array:
    return x * 2 if x.shape[0] == 3 else x


_with_own_tangent.defjvps(lambda t, _, x: t * 5 if x.shape[0] == 4 else t)


def _matched(x: jax.Array) -> jax.Array:
    match x.shape[0]:
        case 1:
            return x * 5
        case 4:
            return x * 6
        case _:
            return x


def _matched_shape(x: jax.Array) -> jax.Array:
    match x.shape:
        case (2,):
            return x * 5
        case _:
            return x


def _caught(x: jax.Array) -> jax.Array:
    try:
        assert x.shape[0] == 3
    except AssertionError:
        return x
    return x * 2


def _halving(x: jax.Array) -> jax.Array:
    n = x.shape[0]
    while n > 1:
        x, n = x * 2, n // 2
    return x


EQUALITIES: dict[str, Callable[[Any], Any]] = {
    "one": lambda x: x.reshape(-1) if x.shape[0] != 1 else jnp.zeros(3),
    "numpy_integer": lambda x: x if x.shape[0] == np.int64(3) else -x,
    "integer_of_numpy_first": lambda x: x if np.int64(3) == x.shape[0] else -x,
    "in_tuple": lambda x: x * 2 if x.shape[0] in (1, 2) else x,
    "in_list": lambda x: x * 2 if x.shape[0] in [1, 2] else x,
    "list_index": lambda x: x * [7, 3, x.shape[0]].index(x.shape[0]),
    "list_count": lambda x: x * [7, 3, x.shape[0]].count(3),
    "match": _matched,
    "match_shape": _matched_shape,
    "shape": lambda x: x * 2 if x.shape == (2,) else x,
    "number_of_elements": lambda x: x * 2 if x.size == 3 else x,
    "of_floordiv": lambda x: x * 2 if (x.shape[0] + 1) // 2 == 2 else x,
    "of_strided": lambda x: x * 2 if x[::2].shape[0] == 2 else x,
    "of_mod": lambda x: x * 2 if x.shape[0] % 3 == 2 else x,
    "of_square": lambda x: x * 2 if x.shape[0] ** 2 == 9 else x,
    "cached_function": lambda x: x * _cached_factor(x.shape[0]) + _cached_factor(x.shape[0]),
    "caught": _caught,
    "class": lambda x: x if isinstance(x.shape[0], int) else -x,
    "float": lambda x: x * 2 if x.shape[0] == 3.0 else x,
}
TRUTHS: dict[str, Callable[[Any], Any]] = {
    "mod": lambda x: x * 3 if x.shape[0] % 2 else -x,
    "not": lambda x: x * 3 if not (x.shape[0] - 3) else -x,
    "or": lambda x: x * ((x.shape[0] - 2) or 7),
    "bool": lambda x: x * bool(x.shape[0] % 3),
    "any": lambda x: x * any((x.shape[0] - 1, x.shape[0] - 2)),
}
WITH_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "jax_array": lambda x: x.shape[0] == jnp.arange(5),
    "jax_array_first": lambda x: jnp.arange(5) == x.shape[0],
    "numpy_array": lambda x: np.arange(5) == x.shape[0],
    "numpy_array_unequal": lambda x: jnp.where(np.arange(5) != x.shape[0], 1, 2),
    "tracer": lambda x: x.shape[0] == x,
    "tracer_unequal": lambda x: x.shape[0] != x,
}
BOUNDS: dict[str, Callable[[Any], Any]] = {
    "square_of_floordiv": lambda x: x * 2 if ((x.shape[0] - 5) // 2) ** 2 >= 1 else -x,
    "halving": _halving,
    "ceiling_of_quotient": lambda x: jnp.zeros(-(-x.shape[0] // 4)),
    "linspace": lambda x: jnp.linspace(0, 1, x.shape[0]),
    "linspace_open": lambda x: jnp.linspace(0, 1, x.shape[0], endpoint=False),
    "second_difference": lambda x: jnp.diff(x, n=2),
    "top_k": lambda x: lax.top_k(x, min(3, x.shape[0]))[1],
    "array_split": lambda x: jnp.array_split(x, 2)[1],
    "split": lambda x: jnp.split(jnp.concatenate([x, x]), 2),
}
INSIDE: dict[str, Callable[[Any], Any]] = {
    "jit": lambda x: jax.jit(lambda v: v * 2 if v.shape[0] == 3 else v)(x),
    "jit_elsewhere": lambda x: _jitted_elsewhere(x) + _jitted_elsewhere(x * 2),
    "grad": jax.grad(lambda x: (x * 2 if x.shape[0] == 3 else x * x).sum()),
    "scan": lambda x: lax.scan(lambda c, v: (c + v, v * 2 if x.shape[0] == 3 else v), 0.0, x),
    "vmap": lambda x: jax.vmap(lambda v: v * 2 if x.shape[0] == 3 else v)(x),
    "cond": lambda x: lax.cond(
        x.sum() > 3, lambda v: v * 2 if v.shape[0] == 3 else v, lambda v: -v, x
    ),
    "checkpoint": jax.checkpoint(lambda x: x * 2 if x.shape[0] == 3 else x),
    "custom_jvp": jax.value_and_grad(lambda x: _with_own_tangent(x).sum()),
}
LIBRARY: dict[str, Callable[[Any], Any]] = {
    "det": lambda x: jnp.linalg.det(x[:, None] * x[None] / 50 + jnp.eye(x.shape[0])),
    "slogdet": lambda x: jnp.linalg.slogdet(x[:, None] * x[None] + jnp.eye(x.shape[0])),
    "packbits": lambda x: jnp.packbits(x > 2),
    "map_in_batches": lambda x: lax.map(lambda r: r * 2, x, batch_size=3),
    "put": lambda x: jnp.put(x, jnp.array([0]), 7.0, inplace=False),
    "vectorize": lambda x: jnp.vectorize(lambda a, b: a @ b, signature="(k),(k)->()")(x, x),
    "rfftfreq": lambda x: jnp.fft.rfftfreq(x.shape[0]),
    "permutation": lambda x: jax.random.permutation(KEY, x),
    "index": lambda x: x[x.shape[0] // 2],
    "isin": lambda x: jnp.isin(x, jnp.array([1.0, 3.0])),
    "union": lambda x: jnp.union1d(x, jnp.array([1.0, 3.0]), size=4),
}
EMPTY_INSIDE: dict[str, Callable[[Any], Any]] = {
    "slice": lambda x: (x[1:], x[:-1].sum()),
    "maximum": lambda x: jnp.max(x[1:], initial=-5.0),
    "concatenate": lambda x: jnp.concatenate([x[1:], x[:-1]]),
    "difference": jnp.diff,
}
ONE_SIZE = {
    f"{group}_{name}": fun
    for group, funs in (
        ("equality", EQUALITIES),
        ("truth", TRUTHS),
        ("with", WITH_ARRAYS),
        ("bounds", BOUNDS),
        ("inside", INSIDE),
        ("library", LIBRARY),
        ("empty", EMPTY_INSIDE),
    )
    for name, fun in funs.items()
}


@pytest.mark.parametrize("fun", [pytest.param(f, id=name) for name, f in ONE_SIZE.items()])
def test_one_size(fun):
    check(fun, ("n",), [(n,) for n in range(1, LARGEST + 1)])


def _refused_when_odd(x: jax.Array) -> jax.Array:
    if x.shape[0] % 2:
        raise RuntimeError("the size must be even")
    return x.reshape(2, -1)


# Sizes that are looked up take the checked path, where some sizes run with exact shapes.
LOOKED_UP = {
    "dictionary": lambda x: x * {1: 5.0, 3: 6.0}.get(x.shape[0], 7.0),
    "dictionary_over_lines": lambda x: (
        x
        * {1: 5.0, 3: 6.0}.get(
            x.shape[0],
            7.0,
        )
    ),
    "subscript": lambda x: x * {k: k + 2.0 for k in range(1, 10)}[x.shape[0]],
    "set": lambda x: x * 2 if x.shape[0] in {1, 3} else x,
    "set_display": lambda x: x * len({x.shape[0], 3}),
    "set_call": lambda x: x * len(set((x.shape[0], 3, 8))),
    "from_keys": lambda x: x * len(dict.fromkeys((x.shape[0], 3))),
    "counter": lambda x: x * len(collections.Counter([x.shape[0], 3])),
    "bit_length": lambda x: x * x.shape[0].bit_length(),
    "invert": lambda x: x * ~x.shape[0],
}


@pytest.mark.parametrize("name", LOOKED_UP)
@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
def test_a_size_that_is_looked_up(name):
    fun = LOOKED_UP[name]
    function = sod2jax.optimize(fun, shapes=("n",), constraints=(f"n <= {LARGEST}",))
    for size in range(1, LARGEST + 1):
        x = np.arange(1.0, size + 1, dtype=np.float32)
        np.testing.assert_allclose(function(x), jax.jit(fun)(x), rtol=1e-5)


def test_an_error_of_the_users_own_is_raised_where_jit_raises_it():
    function = sod2jax.optimize(_refused_when_odd, shapes=("n",), constraints=("n <= 9",))
    for size in (4, 2, 8):
        x = np.arange(size, dtype=np.float32)
        np.testing.assert_array_equal(function(x), jax.jit(_refused_when_odd)(x))
    with pytest.raises(RuntimeError, match="must be even"):  # and nothing besides
        function(np.zeros(3, np.float32))


def _by_value(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.arange(max(x.shape[0], y.shape[0])) * min(x.shape[0], y.shape[0])


def _longer_and_shorter(x: jax.Array, y: jax.Array) -> jax.Array:
    a, b = sorted([x, y], key=lambda v: v.shape[0])
    return a.sum() - 3 * b.sum()


TWO_SIZES: dict[str, Callable[[Any, Any], Any]] = {
    "equal": lambda x, y: x + y if x.shape[0] == y.shape[0] else x.sum() - y.sum(),
    "equal_shapes": lambda x, y: x * 2 if x.shape == y.shape else x,
    "ordered_shapes": lambda x, y: x * 2 if x.shape < y.shape else x,
    "equal_to_each_other_and_3": lambda x, y: x * 2 if x.shape[0] == y.shape[0] == 3 else x,
    "one_of_them": lambda x, y: x + y if 1 in (x.shape[0], y.shape[0]) else x,
    "product": lambda x, y: x * 2 if x.shape[0] * y.shape[0] == 4 else x,
    "difference": lambda x, y: x * 2 if x.shape[0] - y.shape[0] == 1 else x,
    "twice": lambda x, y: x.reshape(-1, 2).sum(1) + y if x.shape[0] == 2 * y.shape[0] else y,
    "larger": lambda x, y: x * 2 if x.shape[0] > y.shape[0] else x,
    "larger_product": lambda x, y: x * 2 if x.shape[0] * y.shape[0] > 10 else x,
    "square_of_floordiv": lambda x, y: x * 2 if ((x.shape[0] - y.shape[0]) // 2) ** 2 >= 1 else -x,
    "floordiv": lambda x, y: x * (x.shape[0] // y.shape[0]),
    "extremes": _by_value,
    "sorted": _longer_and_shorter,
    "array_equal": jnp.array_equal,
    "average": lambda x, y: jnp.average(x[:, None] * y[None], axis=0, weights=x),
}
RANDOM: dict[str, Callable[[Any, Any], Any]] = {
    "uniform": lambda x, y: jax.random.uniform(KEY, (x.shape[0], y.shape[0])),
    "normal": lambda x, y: jax.random.normal(KEY, (3, x.shape[0], y.shape[0])),
    "bits": lambda x, y: jax.random.bits(KEY, (x.shape[0], y.shape[0]), np.uint8),
    "keys": lambda x, y: jax.random.bits(jax.random.split(KEY, x.shape[0])[-1], y.shape),
}


@pytest.mark.parametrize("fun", [pytest.param(f, id=name) for name, f in TWO_SIZES.items()])
def test_two_sizes(fun):
    check(fun, ("n", "m"), itertools.product((1, 2, 3, LARGEST), repeat=2))


@pytest.mark.parametrize("fun", [pytest.param(f, id=name) for name, f in RANDOM.items()])
def test_random_numbers_on_inner_axes(fun):
    check(fun, ("n", "m"), [(1, 1), (2, 5), (LARGEST, 3)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "fun", [pytest.param(f, id=name) for name, f in (TWO_SIZES | RANDOM).items()]
)
def test_every_pair_of_sizes(fun):
    check(fun, ("n", "m"), itertools.product(range(1, LARGEST + 1), repeat=2))


@pytest.mark.parametrize(
    "fun",
    [lambda x: x.sum(), lambda x: jnp.concatenate([x, x]), lambda x: jnp.zeros(x.shape[0]) + x],
)
def test_size_zero(fun):
    function, plain = optimized(fun, ("n",)), jax.jit(fun)
    for size in range(LARGEST + 1):
        x = np.arange(1.0, size + 1, dtype=np.float32)
        np.testing.assert_array_equal(function(x), plain(x))


@pytest.mark.parametrize(
    ("constraints", "allowed"),
    [
        (("n <= 6",), lambda n: n <= 6),
        (("n <= 9", "n >= 3"), lambda n: n >= 3),
        (("n <= 9", "mod(n, 2) == 0"), lambda n: n % 2 == 0),
        (("n <= 1",), lambda n: n == 1),
    ],
)
def test_a_size_outside_the_constraints_is_refused(constraints, allowed):
    def fun(x: jax.Array) -> jax.Array:
        return jnp.linspace(0, 1, x.shape[0]) + x

    function = optimized(fun, ("n",), *constraints)
    for size in range(1, LARGEST + 1):
        x = np.ones(size, np.float32)
        if allowed(size):
            np.testing.assert_allclose(function(x), jax.jit(fun)(x), rtol=1e-6)
            continue
        with pytest.raises(sod2jax.errors.ShapeError):
            function(x)


def _window_that_covers_all(x: jax.Array) -> jax.Array:
    equinox = pytest.importorskip("equinox")
    return equinox.nn.AvgPool1d(2, 2, use_ceil=True)(x[None])


def _adaptive(x: jax.Array) -> jax.Array:
    equinox = pytest.importorskip("equinox")
    return equinox.nn.AdaptiveAvgPool1d(2)(jnp.concatenate([x, x])[None])


@pytest.mark.parametrize("fun", [_window_that_covers_all, _adaptive])
def test_pooling_of_equinox(fun):
    check(fun, ("n",), [(n,) for n in range(1, LARGEST + 1)])


def test_a_divisor_that_is_zero_raises_as_in_jit():
    function = optimized(lambda x: x * (12 // (x.shape[0] - 3)), ("n",))
    np.testing.assert_array_equal(function(np.ones(5, np.float32)), np.full(5, 6, np.float32))
    with pytest.raises(ZeroDivisionError):
        function(np.ones(3, np.float32))


def test_numpy_multiplies_sizes():
    check(
        lambda x, y: x.sum() * y.sum() * np.prod([*x.shape, *y.shape]), ("n", "m"), [(1, 4), (5, 5)]
    )
