"""Gates: parts of a program that only some rows of a batch need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness

C, D = 16, 64
BUCKET = {"b": 4, "h": 9, "w": 8, "s": 40}


def _weights(*shape: int) -> np.ndarray:
    values = np.random.default_rng(len(shape)).normal(size=shape)
    return (values / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)


KERNEL, MATRIX = _weights(3, 3, C, C), _weights(D, D)
IMAGES, TOKENS = Arg(f"b, h, w, {C}"), Arg(f"b, s, {D}")


def gates(rate: float) -> Arg:
    """bool[b], on at a rate."""
    return Arg("b", bool, lambda rng, shape: rng.random(shape) < rate)


GATE = gates(0.5)


def conv(x: jax.Array, kernel: Any = KERNEL) -> jax.Array:
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=numbers)


def block(x: jax.Array) -> jax.Array:
    return jax.nn.relu(x + conv(jax.nn.relu(conv(x))))


def along(gate: jax.Array, x: jax.Array) -> jax.Array:
    return gate.reshape(-1, *(1,) * (x.ndim - 1))


def masked(gate: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.where(along(gate, x), block(x), x)


def branched(gate: jax.Array, x: jax.Array, kernel: Any = KERNEL) -> jax.Array:
    def one(on: jax.Array, image: jax.Array) -> jax.Array:
        return lax.cond(on, lambda y: conv(y[None], kernel)[0], lambda y: y, image)

    return jax.vmap(one)(gate, x)


def chained(x: jax.Array) -> jax.Array:
    """Each gate is decided by what the last block gave."""
    for _ in range(3):
        x = masked(x.mean((1, 2, 3)) > 0.1, x) - 0.1
    return x


def exits(first: jax.Array, second: jax.Array, x: jax.Array) -> jax.Array:
    """Rows leave after the first or the second stage, or after the third."""
    logits = [x.mean((1, 2))]
    for _ in range(2):
        x = block(x)
        logits.append(x.mean((1, 2)) @ MATRIX[:C, :C])
    rest = jnp.where(along(second, logits[1]), logits[1], logits[2])
    return jnp.where(along(first, logits[0]), logits[0], rest)


def exits_of_tokens(first: jax.Array, second: jax.Array, x: jax.Array) -> jax.Array:
    y = jnp.tanh(x @ MATRIX)
    z = jnp.where(along(second, x), y, jnp.tanh(y @ MATRIX))
    return jnp.where(along(first, x), x, z)


def exits_by_branches(x: jax.Array) -> jax.Array:
    """The same for one example, with an exit decided by its own logits."""

    def one(image: jax.Array) -> jax.Array:
        early = image.mean((0, 1))

        def middle() -> jax.Array:
            y = block(image[None])[0]
            logits = y.mean((0, 1))
            return lax.cond(
                logits.max() > 0.8, lambda: logits, lambda: block(y[None])[0].sum((0, 1))
            )

        return lax.cond(early.max() > 0.4, lambda: early, middle)

    return jax.vmap(one)(x)


def attention(x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
    """Within each row; or to the keys of all rows."""
    y = x @ MATRIX
    if keys is None:
        return jax.nn.softmax(jnp.einsum("bsd,btd->bst", y, x)) @ x
    scores = jnp.einsum("bsd,ctd->bsct", y, keys)
    return jnp.einsum("bsct,ctd->bsd", jax.nn.softmax(scores, axis=(2, 3)), keys)


def switched(index: jax.Array, x: jax.Array) -> jax.Array:
    def one(i: jax.Array, y: jax.Array) -> jax.Array:
        return lax.switch(i, [lambda z: z, lambda z: z @ MATRIX, lambda z: jnp.tanh(z @ MATRIX)], y)

    return jax.vmap(one)(index, x)


def two_results(gate: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = x @ MATRIX
    return jnp.where(along(gate, x), y, x), jnp.where(gate, y.max((1, 2)), x.sum((1, 2)))


def repeated(gate: jax.Array, x: jax.Array) -> jax.Array:
    """A scan over layers and, in each row, as many steps as it needs."""
    layers = jnp.stack([MATRIX, MATRIX.T])
    y, _ = lax.scan(lambda c, w: (jnp.tanh(c @ w), None), x, layers)
    y = jax.vmap(
        lambda row: lax.while_loop(
            lambda v: jnp.abs(v).sum() > 1, lambda v: v @ (0.5 * MATRIX), row
        )
    )(y)
    return jnp.where(along(gate, x), y, x)


def pooled(gate: jax.Array, x: jax.Array) -> jax.Array:
    """With windows inside, and a reshape that merges and splits other axes."""
    y = conv(x)
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    y = lax.reduce_window(y, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 1, 1, 1), padding)
    y = y.reshape(y.shape[0], -1, C).sum(1)
    return jnp.where(along(gate, y), y, x.sum((1, 2)))


def gradient(run: Callable[..., jax.Array]) -> Callable[..., Any]:
    def loss(x: jax.Array, kernel: jax.Array, gate: jax.Array) -> jax.Array:
        return (run(gate, conv(x, kernel)) ** 2).mean()

    return lambda gate, x: jax.value_and_grad(loss, (0, 1))(x, KERNEL, gate)


_ROWS: dict[str, tuple[Callable[..., Any], tuple[Arg, ...]]] = {
    **{f"rate_{r}": (masked, (gates(r), IMAGES)) for r in (0, 0.5, 1)},
    "inverted": (lambda g, x: jnp.where(along(g, x), x, block(x)), (GATE, IMAGES)),
    "negated": (lambda g, x: jnp.where(along(~g, x), block(x), 0), (GATE, IMAGES)),
    "two_bodies": (lambda g, x: jnp.where(along(g, x), conv(x), block(x)), (GATE, IMAGES)),
    "chain": (chained, (IMAGES,)),
    "exits": (exits, (GATE, GATE, IMAGES)),
    "exits_by_branches": (exits_by_branches, (IMAGES,)),
    "branches": (branched, (GATE, IMAGES)),
    "switch": (switched, (Arg("b", np.int32, lambda r, s: r.integers(-1, 4, s)), TOKENS)),
    "two_results": (two_results, (GATE, TOKENS)),
    "attention": (lambda g, x: jnp.where(along(g, x), attention(x), x), (GATE, TOKENS)),
    "all_keys": (lambda g, x: jnp.where(along(g, x), attention(x, x), x), (GATE, TOKENS)),
    "repeated": (repeated, (GATE, TOKENS)),
    "pooled": (pooled, (GATE, IMAGES)),
    "positions": (
        lambda g, x: jnp.where(along(g, x), (x + along(jnp.arange(x.shape[0]), x)) @ MATRIX, x),
        (GATE, TOKENS),
    ),
    "rows_in_the_middle": (
        lambda g, x: jnp.where(g[None, :, None], jnp.sin(x) @ MATRIX, x),
        (GATE, Arg(f"s, b, {D}")),
    ),
    "integers": (
        lambda g, x: jnp.where(along(g, x), x @ (100 * MATRIX).astype(np.int32), -x),
        (GATE, Arg(f"b, s, {D}", np.int32)),
    ),
    "gradient_of_masks": (gradient(masked), (GATE, IMAGES)),
    "gradient_of_branches": (gradient(branched), (GATE, IMAGES)),
}

HARNESSES = [
    *(
        Harness(
            f"gates_{name}",
            fun,
            args,
            BUCKET,
            rtol=1e-4 if "gradient" in name else 1e-5,
        )
        for name, (fun, args) in _ROWS.items()
    ),
    Harness("gates_one_row", masked, (GATE, IMAGES), {**BUCKET, "b": 1}),
    # One row has too few elements for its weights: four run together.
    Harness(
        "gates_blocks",
        lambda g, x: jnp.where(along(g, x), jnp.tanh(x @ MATRIX), x),
        (GATE, TOKENS),
        {"b": 9, "s": 8},
    ),
    # A softmax over rows of NaN leaves NaN in pad rows; the rows themselves are written over.
    Harness(
        "gates_over_rows_of_nan",
        lambda g, x, y: jnp.where(along(g, x), jnp.tanh(x @ MATRIX), jax.nn.softmax(y, 0)).sum(0),
        (gates(1), TOKENS, Arg(f"b, s, {D}", make=lambda rng, shape: np.full(shape, np.nan))),
        BUCKET,
    ),
    Harness("gates_blocks_nested", exits_of_tokens, (GATE, GATE, TOKENS), {"b": 9, "s": 8}),
    Harness(
        "gates_fixed_rows",
        lambda g, x: jnp.where(along(g, x), jnp.tanh(x @ MATRIX), x),
        (Arg((5,), bool), Arg(f"5, s, {D}")),
        BUCKET,
    ),
    Harness("gates_fixed_branches", branched, (Arg((3,), bool), Arg(f"3, h, w, {C}")), BUCKET),
]
