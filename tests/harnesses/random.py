"""Programs that draw random numbers: the same ones at every bucket."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import threefry2x32_p

from tests.harnesses.base import Arg, Harness

BS = Arg("b, s")
BST = Arg("b, s, t")


def _words(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 1 << 32, shape, dtype=np.uint32)


KEY = Arg((2,), np.uint32, _words)
KEY4 = Arg((4,), np.uint32, _words)
SEED = Arg((), np.int32)


def _harness(
    name: str,
    fun: Callable[..., Any],
    *args: Arg,
    constraints: tuple[str, ...] = (),
    exact: str | None = None,
) -> Harness:
    """A small bucket: XLA takes long over the hash functions of large arrays."""
    bucket = {"b": 3, "s": 3, "t": 2}
    return Harness(name, fun, args, bucket=bucket, constraints=constraints, exact=exact)


def _original(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The function under the threefry scheme that is not partitionable."""

    @functools.wraps(fun)
    def wrapped(*args: Any) -> Any:
        with jax.threefry_partitionable(False):
            return fun(*args)

    return wrapped


def _bits(dtype: Any, impl: str = "threefry2x32") -> Callable[[jax.Array, jax.Array], Any]:
    return lambda k, x: jax.random.bits(jax.random.wrap_key_data(k, impl=impl), x.shape, dtype)


def _split(impl: str) -> Callable[[jax.Array, jax.Array], Any]:
    return lambda k, x: jax.random.key_data(
        jax.random.split(jax.random.wrap_key_data(k, impl=impl), x.shape)
    )


def _rows(impl: str = "threefry2x32") -> Callable[[jax.Array, jax.Array], Any]:
    """Splits a key into one for each row; each draws the bits of its row."""

    def rows(k: jax.Array, x: jax.Array) -> Any:
        keys = jax.random.split(jax.random.wrap_key_data(k, impl=impl), x.shape[0])
        bits = jax.vmap(lambda key: jax.random.bits(key, x.shape[1:]))(keys)
        return jax.random.key_data(keys), bits

    return rows


def _folded(k: jax.Array, x: jax.Array) -> jax.Array:
    key = jax.random.wrap_key_data(k)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(x.shape[0]))
    return jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:]))(keys)


def _fold_in_unsafe_rbg(k: jax.Array, x: jax.Array) -> jax.Array:
    key = jax.random.wrap_key_data(k, impl="unsafe_rbg")
    return jax.random.key_data(jax.vmap(lambda i: jax.random.fold_in(key, i))(x))


def _key_moves(k: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
    keys = jax.random.wrap_key_data(k)
    chosen = jnp.where(x > 0, keys, keys[:1])
    flat = keys.T.reshape(-1)
    moved = (
        chosen,
        flat,
        jnp.stack([flat, flat]),
        jnp.squeeze(keys[:1], 0),
        jax.random.clone(keys),
    )
    return tuple(map(jax.random.key_data, moved))


def _dropout(k: jax.Array, x: jax.Array) -> jax.Array:
    layer = nn.Dropout(0.4, deterministic=False)
    return layer.apply({}, x, rngs={"dropout": jax.random.wrap_key_data(k)})


def _from_floats(k: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
    key, shape = jax.random.wrap_key_data(k), x.shape
    return (
        jax.random.uniform(key, shape, minval=-1.0, maxval=2.0),
        jax.random.normal(key, shape),
        jax.random.exponential(key, shape),
        jax.random.laplace(key, shape),
        jax.random.gumbel(key, shape),
        jax.random.truncated_normal(key, -1.0, 0.5, shape),
        jax.random.bernoulli(key, 0.3, shape),
    )


def _steps(k: jax.Array, x: jax.Array) -> jax.Array:
    return lax.fori_loop(
        0, 3, lambda i, y: y + jax.random.uniform(jax.random.fold_in(k, i), y.shape), x
    )


def _scan_of_keys(k: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    def step(carry: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return carry + jax.random.uniform(key, carry.shape), carry.sum()

    return lax.scan(step, x, jax.random.split(k, 3))


def _gamma_rows(k: jax.Array, a: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.gamma)(jax.random.split(k, a.shape[0]), jnp.abs(a))


MIXED = Arg("2, b, 1, s, 3")
BITS = [
    *(
        _harness(f"random_bits_{np.dtype(dtype).name}_{scheme}", wrap(_bits(dtype)), KEY, arg)
        for scheme, wrap in (("partitionable", lambda fun: fun), ("original", _original))
        for dtype, arg in ((np.uint8, MIXED), (np.uint16, BS), (np.uint32, BST))
    ),
    *(
        _harness(f"random_bits_{impl}_{np.dtype(dtype).name}", _bits(dtype, impl), KEY4, arg)
        for impl, dtype, arg in (
            ("rbg", np.uint8, MIXED),
            ("rbg", np.uint16, BS),
            ("unsafe_rbg", np.uint32, BST),
        )
    ),
    _harness("random_bits_one_axis_original", _original(_bits(np.uint8)), KEY, Arg("s")),
    _harness("random_bits_rows", _rows(), KEY, BST),
    _harness("random_bits_rows_original", _original(_rows()), KEY, BST),
    _harness("random_bits_rows_rbg", _rows("rbg"), KEY4, BST),
    _harness("random_bits_rows_unsafe_rbg", _rows("unsafe_rbg"), KEY4, BST),
    _harness("random_bits_exact_rows", _rows(), KEY, Arg("b, 3")),
    _harness(
        "random_bits_seed", lambda n, x: jax.random.bits(jax.random.key(n), x.shape), SEED, BS
    ),
    _harness(
        "random_bits_old_key",
        lambda n, x: jax.random.bits(jax.random.PRNGKey(n), x.shape),
        SEED,
        BS,
    ),
]

KEYS = [
    _harness("random_split", _split("threefry2x32"), KEY, BS),
    _harness("random_split_original", _original(_split("threefry2x32")), KEY, BS),
    _harness("random_split_rbg", _split("rbg"), KEY4, BS),
    _harness("random_split_rbg_original", _original(_split("rbg")), KEY4, Arg("s")),
    _harness("random_split_unsafe_rbg", _split("unsafe_rbg"), KEY4, BS),
    _harness("random_fold_in_numbers", _folded, KEY, BST),
    _harness(
        "random_fold_in_keys",
        lambda k, x: jax.vmap(jax.random.fold_in)(jax.random.split(k, x.shape[0]), x),
        KEY,
        Arg("s", np.int32),
    ),
    _harness("random_fold_in_unsafe_rbg", _fold_in_unsafe_rbg, KEY4, Arg("s", np.int32)),
    _harness("random_seed_rows", lambda x: jax.vmap(jax.random.PRNGKey)(x), Arg("s", np.int32)),
    _harness(
        "random_wrap_rows",
        lambda d: jax.vmap(lambda k: jax.random.bits(k, (3,)))(d),
        Arg("b, 2", np.uint32, _words),
    ),
    _harness(
        "random_wrap_merged",
        lambda d: jax.random.key_data(jax.random.wrap_key_data(d.reshape(-1, 2))),
        Arg("b, s, 2", np.uint32, _words),
    ),
    _harness("random_key_moves", _key_moves, Arg("b, s, 2", np.uint32, _words), BS),
    _harness(
        "threefry2x32",
        lambda k, x: threefry2x32_p.bind(k[0], k[1], x, x + 1),
        KEY,
        Arg("b, s", np.uint32),
    ),
]

GENERATOR = [
    *(
        _harness(
            f"rng_bit_generator_{np.dtype(dtype).name}",
            lambda k, x, dtype=dtype: lax.rng_bit_generator(k, x.shape, dtype),
            KEY4,
            BS,
        )
        for dtype in (np.uint8, np.uint16, np.uint32)
    ),
    _harness(
        "rng_bit_generator_carries",
        lambda k, x: lax.rng_bit_generator(
            k | jnp.array([0, 0, 0xFFFFFFFE, 0], np.uint32), x.shape
        ),
        KEY4,
        BST,
    ),
    _harness(
        "rng_bit_generator_threefry",
        lambda k, x: lax.rng_bit_generator(k, x.shape, algorithm=lax.RandomAlgorithm.RNG_THREE_FRY),
        KEY4,
        BS,
        exact="rng_bit_generator",
    ),
    _harness(
        "rng_uniform", lambda x: lax.rng_uniform(0.0, 1.0, x.shape) >= 0, BS, exact="rng_uniform"
    ),
]

SAMPLERS = [
    _harness("random_from_floats", _from_floats, KEY, BS),
    _harness("random_half", lambda k, x: jax.random.uniform(k, x.shape, np.float16), KEY, BS),
    _harness("random_complex", lambda k, x: jax.random.normal(k, x.shape, np.complex64), KEY, BS),
    _harness("random_randint", lambda k, x: jax.random.randint(k, x.shape, 3, 77), KEY, BS),
    _harness(
        "random_randint_below",
        lambda k, n: jax.random.randint(k, n.shape, 0, n + 1),
        KEY,
        Arg("b, s", np.int32),
    ),
    _harness("random_choice", lambda k, x: jax.random.choice(k, 11, x.shape), KEY, BS),
    _harness(
        "random_choice_weighted",
        lambda k, x, p: jax.random.choice(k, 5, x.shape, p=p),
        KEY,
        BS,
        Arg((5,), make=lambda rng, shape: rng.dirichlet(np.ones(shape))),
    ),
    _harness("random_choice_of_rows", lambda k, x: jax.random.choice(k, x, (4,)), KEY, BS),
    _harness("random_categorical", lambda k, x: jax.random.categorical(k, x), KEY, BST),
    _harness(
        "random_categorical_first", lambda k, x: jax.random.categorical(k, x, axis=0), KEY, BS
    ),
    _harness("random_coins", lambda k, x: jax.random.bernoulli(k, jax.nn.sigmoid(x)), KEY, BST),
    _harness("random_dropout", _dropout, KEY, BST),
    _harness(
        "random_dropout_merged", lambda k, x: _dropout(k, x.reshape(-1, x.shape[2])), KEY, BST
    ),
    _harness("random_gradient", jax.grad(lambda x, k: (_dropout(k, x) ** 2).sum()), BS, KEY),
    _harness("random_sum", lambda k, x: jax.random.uniform(k, x.shape).sum(axis=0), KEY, BST),
    _harness("random_projection", lambda k, x: x @ jax.random.normal(k, (x.shape[1], 3)), KEY, BS),
    _harness("random_in_loop", _steps, KEY, BS),
    _harness("random_in_scan", _scan_of_keys, KEY, BS),
]

LARGE = ("b >= 2", "s >= 2")
GAMMA = [
    _harness(
        "random_gamma", lambda k, a: jax.random.gamma(k, jnp.abs(a)), KEY, BS, constraints=LARGE
    ),
    _harness("random_gamma_rows", _gamma_rows, KEY, BS, constraints=LARGE),
    _harness("random_gamma_per_key", _gamma_rows, KEY, Arg("s"), constraints=("s >= 2",)),
    _harness("random_gamma_original", _original(_gamma_rows), KEY, BS, exact="random_gamma"),
]

HARNESSES = [*BITS, *KEYS, *GENERATOR, *SAMPLERS, *GAMMA]
