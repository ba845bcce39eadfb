"""Random programs behind a gate: whatever mixes rows or tells them apart, results stay exact."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.harnesses.base import Arg, Harness, assert_same, run_both
from tests.harnesses.gates import MATRIX, along

D = len(MATRIX)
BUCKET = {"b": 5, "s": 34}
Step = Callable[[jax.Array], jax.Array]


def positions(x: jax.Array, axis: int) -> jax.Array:
    return lax.broadcasted_iota(jnp.float32, x.shape, axis)


def layers(x: jax.Array) -> jax.Array:
    return lax.scan(lambda c, w: (jnp.tanh(c @ w), None), x, jnp.stack([MATRIX, MATRIX.T]))[0]


def first_row(x: jax.Array) -> jax.Array:
    """Written over by the mean of all."""
    return lax.dynamic_update_slice(x, x.mean(0, keepdims=True), (0, 0, 0))


def merged(x: jax.Array) -> jax.Array:
    """Rows and positions as one axis."""
    b, s, d = x.shape
    return jnp.sin(x.reshape(b * s, d) @ MATRIX).reshape(b, s, d)


def cumulated(x: jax.Array) -> jax.Array:
    b, s, d = x.shape
    return 0.1 * jnp.cumsum(x.reshape(b * s, d), axis=0).reshape(b, s, d)


def by_row(x: jax.Array) -> jax.Array:
    """A branch of each row's own, and a row's largest position."""

    def one(row: jax.Array) -> jax.Array:
        best = jnp.argmax(row.sum(1))
        return lax.cond(
            row[best].max() > 1, lambda: jnp.tanh(row @ MATRIX), lambda: row - row[best][None]
        )

    return jax.vmap(one)(x)


STEPS: dict[str, Step] = {
    "matmul": lambda x: jnp.tanh(x @ MATRIX),
    "layers": layers,
    "softmax_in_row": lambda x: x * jax.nn.softmax(x, axis=1),
    "softmax_over_rows": lambda x: x * jax.nn.softmax(x, axis=0),
    "centred": lambda x: x - x.mean(1, keepdims=True),
    "centred_over_rows": lambda x: x - x.mean(0, keepdims=True),
    "all_rows": lambda x: x + 0.1 * x.sum(),
    "cumsum_in_row": lambda x: 0.1 * jnp.cumsum(x, axis=1),
    "cumsum_over_rows": lambda x: 0.1 * jnp.cumsum(x, axis=0),
    "sort_in_row": lambda x: jnp.sort(x, axis=1),
    "sort_over_rows": lambda x: jnp.sort(x, axis=0),
    "reversed_in_row": lambda x: x[:, ::-1],
    "reversed_rows": lambda x: x[::-1],
    "position_in_row": lambda x: x + 0.01 * positions(x, 1),
    "position_of_row": lambda x: x + 0.1 * positions(x, 0),
    "rolled_rows": lambda x: jnp.roll(x, 1, axis=0),
    "first_row": first_row,
    "first_position": lambda x: x.at[:, 0].set(x.mean(1)),
    "taken_rows": lambda x: x[jnp.argsort(x[:, 0, 0])],
    "taken_in_row": lambda x: jnp.take_along_axis(x, jnp.argsort(x, axis=1), axis=1),
    "number_of_rows": lambda x: x / x.shape[0],
    "attention": lambda x: jax.nn.softmax(jnp.einsum("bsd,btd->bst", x, x)) @ x,
    "between_rows": lambda x: jnp.einsum("bc,csd->bsd", jnp.einsum("bsd,csd->bc", x, x), x) / 1e3,
    "merged": merged,
    "cumulated": cumulated,
    "twice": lambda x: jnp.concatenate([x, 2 * x], axis=2)[:, :, D // 2 : -D // 2],
    "rows_after": lambda x: jnp.concatenate([x[1:], x[:1]], axis=0),
    "transposed": lambda x: jnp.swapaxes(jnp.tanh(jnp.swapaxes(x, 0, 1) @ MATRIX), 0, 1),
    "by_row": by_row,
    "other_gate": lambda x: jnp.where(along(x[:, 0, 0] > 0, x), jnp.tanh(x @ MATRIX), x),
    "halved_while_large": lambda x: jax.vmap(
        lambda row: lax.while_loop(lambda r: jnp.abs(r).max() > 1, lambda r: r @ (MATRIX / 4), row)
    )(x),
}


def gated(names: list[str], leak: int) -> Callable[..., tuple[jax.Array, ...]]:
    """The steps one after another behind a gate; what step ``leak`` gives is a result, too."""

    def run(gate: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
        y, seen = x, []
        for name in names:
            y = STEPS[name](y)
            seen.append(y)
        extra = seen[leak].sum(0) if leak >= 0 else x.sum(0)
        return jnp.where(along(gate, x), y, jnp.cos(x)), extra

    return run


def check(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = ["matmul", *rng.choice(list(STEPS), size=4), "matmul"]
    leak = int(rng.integers(-3, 4))
    args = Arg("b", bool), Arg(f"b, s, {D}")
    harness = Harness("random", gated([str(name) for name in names], leak), args, BUCKET)
    optimized = harness.optimized()
    for sizes in ({"b": 5, "s": 34}, {"b": 3, "s": 7}):
        inputs = [arg.values(rng, sizes) for arg in args]
        want = jax.jit(harness.fun)(*inputs)
        for seen in run_both(optimized, inputs):
            assert_same(seen, list(want), 1e-4, f"{names}, leak {leak}, {sizes}")


@pytest.mark.parametrize("seed", range(3))
def test_random_programs_behind_a_gate(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 80))
def test_more_random_programs_behind_a_gate(seed: int) -> None:
    check(seed)
