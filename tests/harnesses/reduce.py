"""Reductions and contractions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness

BS = Arg("b, s")
BSI = Arg("b, s", np.int32)
BSB = Arg("b, s", bool)


def _attention(x: jax.Array, w: jax.Array) -> jax.Array:
    q, k, v = jnp.split(x @ w, 3, axis=-1)
    weights = jax.nn.softmax(jnp.einsum("bsd,btd->bst", q, k))
    return jnp.einsum("bst,btd->bsd", weights, v)


def _sum_and_product(a: tuple, b: tuple) -> tuple:
    return a[0] + b[0], a[1] * b[1]


def _two_groups(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.array([1, 0])


ONE = Arg((), make=lambda rng, shape: np.ones(shape))
LOWEST = Arg((), make=lambda rng, shape: np.full(shape, -np.inf))
GROUPS = Arg((2,), np.int32, lambda rng, shape: np.array([2, 4]))

HARNESSES = [
    *(
        Harness(f"reduce_{name}_{dtype.__name__}", fun, (Arg("b, s", dtype),))
        for name, fun, dtypes in (
            ("sum", lambda x: (x.sum(), x.sum(0), x.sum(1)), (np.float32, np.int32, np.complex64)),
            ("prod", lambda x: (x.prod(), x.prod(0)), (np.float32, np.int32)),
            ("max", lambda x: (x.max(), x.max(0), x.max(1)), (np.float32, np.int32, np.uint8)),
            ("min", lambda x: (x.min(), x.min(0), x.min(1)), (np.float32, np.int32, np.uint8)),
            ("all", lambda x: (x.all(), x.all(0)), (bool,)),
            ("any", lambda x: (x.any(), x.any(1)), (bool,)),
            ("bitand", lambda x: jnp.bitwise_and.reduce(x, axis=1), (np.int32, np.uint8)),
            ("bitor", lambda x: jnp.bitwise_or.reduce(x, axis=1), (np.int32, np.uint8)),
            ("bitxor", lambda x: jnp.bitwise_xor.reduce(x, axis=1), (np.int32,)),
        )
        for dtype in dtypes
    ),
    *(
        Harness(f"reduce_{name}_float8", fun, (Arg("b, s", jnp.float8_e4m3fn),))
        for name, fun in (("max", lambda x: x.max(1)), ("min", lambda x: x.min(0)))
    ),
    # XLA takes the initial value for the identity; where it is no literal, JAX keeps the reducer.
    # XLA makes 0 of 0 / 0 where a size that is always 1 is not known to it.
    Harness(
        "reduce_sum_of_one_row",
        jax.grad(lambda x: (jnp.var(x, axis=0, ddof=1) ** 2).sum()),
        (Arg("b, 3"),),
        {"b": 1},
        delicate=True,
    ),
    Harness("reduce_by_product", lambda x, one: lax.reduce(x, one, lax.mul, (0, 1)), (BS, ONE)),
    Harness("reduce_by_max", lambda x, low: lax.reduce(x, low, lax.max, (1,)), (BS, LOWEST)),
    # XLA leaves an initial value out where only one lane is reduced.
    Harness("reduce_from_one", lambda x, one: lax.reduce(x, one, lax.add, (1,)), (BS, ONE)),
    Harness("reduce_all_from_one", lambda x, one: lax.reduce(x, one, lax.max, (0, 1)), (BS, ONE)),
    Harness(
        "reduce_merged_from_one",
        lambda x, one: lax.reduce(x.reshape(-1), one, lax.max, (0,)),
        (BS, ONE),
    ),
    Harness(
        "reduce_pairs_along_fixed_axis",
        lambda x: lax.reduce((x, x), (0.0, 1.0), _sum_and_product, (1,)),
        (Arg("s, 3"),),
    ),
    Harness(
        "reduce_pairs_refused",
        lambda x: lax.reduce((x, x), (0.0, 1.0), _sum_and_product, (0,)),
        (Arg("s, 3"),),
        exact="reduce",
    ),
    *(
        Harness(f"ragged_dot_{name}", lax.ragged_dot, args)
        for name, args in (
            ("rows", (Arg("s, 4"), Arg((2, 4, 3)), Arg((2,), np.int32, _two_groups))),
            ("contracted", (Arg("6, s"), Arg("2, s, 3"), GROUPS)),
            ("columns", (Arg((6, 4)), Arg("2, 4, s"), GROUPS)),
        )
    ),
    Harness("mean_var", lambda x: (x.mean(1), x.var(1), x.std()), (BS,)),
    Harness("softmax", lambda x: jax.nn.softmax(x, axis=1), (BS,)),
    Harness("softmax_first_axis", lambda x: jax.nn.softmax(x, axis=0), (BS,)),
    Harness("log_softmax", lambda x: jax.nn.log_softmax(x), (BS,)),
    Harness("logsumexp", lambda x: jax.nn.logsumexp(x, axis=1), (BS,)),
    Harness(
        "softmax_of_infinities",
        lambda x: jax.nn.softmax(jnp.where(x > 0, jnp.inf, x), axis=1).sum(1),
        (BS,),
    ),
    Harness(
        "softmax_of_minus_infinities",
        lambda x: jax.nn.softmax(jnp.where(x > -9, -jnp.inf, x), axis=1).sum(1),
        (BS,),
    ),
    Harness(
        "softmax_weights_signed_sum",
        lambda x, y: ((x - x.max(1, keepdims=True)) / x.sum(1, keepdims=True)) @ y,
        (BS, Arg("s, 3")),
    ),
    Harness("matmul_free", lambda x, w: x @ w, (Arg("b, s, 4"), Arg((4, 3)))),
    Harness("matmul_contract", lambda x, y: x @ y, (BS, Arg("s, t"))),
    Harness("matmul_contract_int", lambda x, y: x @ y, (BSI, Arg("s, t", np.int32))),
    Harness(
        "matmul_batch",
        lambda x, y: jnp.einsum("bst,btu->bsu", x, y),
        (Arg("b, s, t"), Arg("b, t, 3")),
    ),
    Harness("matmul_merged", lambda x, w: x.reshape(-1, 4) @ w, (Arg("b, s, 4"), Arg((4, 3)))),
    Harness(
        "matmul_contract_merged",
        lambda x, y: x.reshape(-1, 4).T @ y.reshape(-1, 4),
        (Arg("b, s, 4"), Arg("b, s, 4")),
    ),
    Harness("matmul_contract_layouts", lambda x, y: x.reshape(-1) @ y, (BS, Arg("b*s"))),
    Harness("masked_mean", lambda x, m: (x * m).sum() / m.sum(), (BS, BSB)),
    Harness(
        "layer_norm",
        lambda x: (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-3),
        (BS,),
    ),
]
