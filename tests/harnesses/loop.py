"""Loops: while, fori_loop, scan and map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness

S = Arg("s")
BS = Arg("b, s")
BS4 = Arg("b, s, 4")
W44 = Arg((4, 4))


def _halve_until_small(x: jax.Array) -> jax.Array:
    return lax.while_loop(lambda y: jnp.abs(y).sum() > 1, lambda y: y / 2, x)


def _count_steps(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return lax.while_loop(
        lambda state: state[0].max() > 0.1,
        lambda state: (state[0] * 0.7, state[1] + 1),
        (x, jnp.int32(0)),
    )


def _collatz(n: jax.Array) -> jax.Array:
    """Steps until 3n + 1 reaches 1."""

    def step(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        k, count = state
        return jnp.where(k % 2 == 0, k // 2, 3 * k + 1), count + 1

    return lax.while_loop(lambda state: state[0] > 1, step, (n, jnp.int32(0)))[1]


WHILE_LOOPS = [
    Harness("while_padded_carry", _halve_until_small, (BS,)),
    Harness("while_by_maximum", _count_steps, (S,)),
    Harness("while_vmapped", jax.vmap(_count_steps), (BS,)),
    Harness("while_vmapped_twice", jax.vmap(jax.vmap(_count_steps)), (Arg("b, t, s"),)),
    Harness("while_vmapped_scalars", jax.vmap(_collatz), (Arg("s", np.int32),)),
    Harness(
        "while_vmapped_with_constants",
        lambda x, limit: jax.vmap(
            lambda row: lax.while_loop(
                lambda y: y.sum() < limit.sum(), lambda y: y + limit.max(), row
            )
        )(x),
        (BS, Arg("t", np.float32, lambda rng, shape: rng.random(shape) + 0.1)),
    ),
    Harness(
        "while_merged_rows",
        lambda x: jax.vmap(_collatz)(x.reshape(-1)).reshape(x.shape),
        (Arg("b, s", np.int32),),
    ),
    Harness(
        "while_merged_carry",
        lambda x: lax.while_loop(lambda y: y.sum() < 9, lambda y: jnp.abs(y) + 1, x.reshape(-1)),
        (BS,),
    ),
    Harness(
        "while_closing_over_padding",
        lambda x, y: lax.while_loop(lambda c: c < y.sum(), lambda c: c + jnp.abs(x).sum() + 1, 0.0),
        (BS, S),
    ),
    Harness(
        "while_to_the_size",
        lambda x: lax.fori_loop(0, x.shape[0], lambda i, c: c + i * x.sum(), 0.0),
        (S,),
    ),
    Harness(
        "while_carry_to_the_size",
        lambda x: lax.fori_loop(1, x.shape[0], lambda i, c: c * 0.5 + i, x),
        (S,),
    ),
    Harness(
        "while_nested",
        lambda x: lax.fori_loop(0, x.shape[0], lambda i, c: _halve_until_small(c) + i, x),
        (S,),
    ),
    Harness(
        "while_vmapped_fori",
        lambda x, n: jax.vmap(lambda r, k: lax.fori_loop(0, k, lambda i, c: c + r.mean(), r))(x, n),
        (BS, Arg("b", np.int32)),
    ),
]


def _running(c: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    c = 0.5 * c + x
    return c, jnp.tanh(c)


def _recurrent(x: jax.Array, w: jax.Array, **how: bool) -> tuple[jax.Array, jax.Array]:
    """x: (b, s, 4), w: (4, 4)."""

    def step(h: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = jnp.tanh(h @ w + row)
        return h, h

    return lax.scan(step, jnp.zeros((x.shape[0], 4)), x.swapaxes(0, 1), **how)


def _pairwise(x: jax.Array) -> jax.Array:
    """x: (s,); a loop in a loop over one axis."""

    def total(c: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        return c + lax.scan(lambda d, j: (d + jnp.tanh(i - j), None), 0.0, x)[0], None

    return lax.scan(total, 0.0, x)[0]


def random_parameters(model: nn.Module, example: np.ndarray) -> Any:
    """The same numbers at every call; nothing is compiled, as ``model.init`` would."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), example)
    return jax.tree.map(lambda p: rng.normal(scale=0.5, size=p.shape).astype(p.dtype), shapes)


def _flax_rnn(cell: nn.RNNCellBase, **options: bool) -> Callable[[jax.Array], jax.Array]:
    model = nn.RNN(cell, **options)
    return lambda x: model.apply(random_parameters(model, np.zeros((1, 1, 4), np.float32)), x)


SCANS = [
    Harness("scan_forward", lambda x: lax.scan(_running, jnp.zeros(x.shape[1]), x), (BS,)),
    Harness(
        "scan_reverse", lambda x: lax.scan(_running, jnp.zeros(x.shape[1]), x, reverse=True), (BS,)
    ),
    Harness("scan_scalar_carry", lambda x: lax.scan(lambda c, y: (c + y, c), 0.0, x), (S,)),
    Harness(
        "scan_static", lambda x: lax.scan(lambda c, y: (c + y.sum(), y - c), 0.0, x), (Arg("5, s"),)
    ),
    Harness(
        "scan_static_unrolled",
        lambda x: lax.scan(lambda c, y: (c + y, y.max()), jnp.zeros(x.shape[1]), x, unroll=2),
        (Arg("5, s"),),
    ),
    Harness(
        "scan_static_merged_outputs",
        lambda x: lax.scan(lambda c, y: (c, (y + c).reshape(-1)), 1.0, x)[1].sum(1),
        (Arg("3, b, s"),),
    ),
    Harness(
        "scan_static_reverse",
        lambda x: lax.scan(_running, jnp.zeros(x.shape[1]), x, reverse=True),
        (Arg("3, s"),),
    ),
    Harness(
        "scan_without_xs", lambda x: lax.scan(lambda c, _: (c / 2, c.sum()), x, length=3), (S,)
    ),
    Harness("scan_ignoring_xs", lambda x: lax.scan(lambda c, _: (c + 1, c), 0.0, x)[1] + x, (S,)),
    Harness(
        "scan_outputs_summed",
        lambda x: lax.scan(_running, jnp.zeros(x.shape[1]), x)[1].sum(0),
        (BS,),
    ),
    Harness(
        "scan_outputs_maximum",
        lambda x: lax.scan(_running, jnp.zeros(x.shape[1]), x - 9)[1].max(),
        (BS,),
    ),
    Harness(
        "scan_merged_axis", lambda x: lax.scan(_running, jnp.zeros(4), x.reshape(-1, 4)), (BS4,)
    ),
    Harness(
        "scan_merged_outputs",
        lambda x: lax.scan(lambda c, y: (c, y.reshape(-1)), 0.0, x)[1].sum(1),
        (Arg("t, b, s"),),
    ),
    Harness("scan_recurrent", _recurrent, (BS4, W44)),
    Harness("scan_recurrent_reverse", lambda x, w: _recurrent(x, w, reverse=True), (BS4, W44)),
    Harness("scan_vmapped", lambda x: jax.vmap(lambda r: lax.scan(_running, 0.0, r))(x), (BS,)),
    Harness(
        "scan_with_constants",
        lambda x, y: lax.scan(lambda c, r: (c + r @ y, r * y.sum()), jnp.zeros(3), x),
        (BS, Arg("s, 3")),
    ),
    Harness(
        "scan_integers_and_flags",
        lambda x: lax.scan(lambda c, y: (c ^ y, c > y), jnp.int32(0), x),
        (Arg("s", np.int32),),
    ),
    Harness("scan_nested", _pairwise, (S,), delicate=True),
    Harness("scan_many_steps_then_none", lambda x: lax.map(jnp.sin, x[: x.shape[0] // 2]), (S,)),
    Harness("scan_map", lambda x: lax.map(lambda r: r / r.sum(), x), (BS,)),
    Harness("scan_map_static", lambda x: lax.map(lambda r: r / r.sum(), x), (Arg("3, s"),)),
    Harness("scan_map_pairs", lambda x, y: lax.map(lambda p: p[0] @ p[1], (x, y)), (BS, BS)),
    Harness("scan_flax_lstm", _flax_rnn(nn.OptimizedLSTMCell(4)), (BS4,)),
    Harness("scan_flax_gru", _flax_rnn(nn.GRUCell(4)), (BS4,)),
    Harness(
        "scan_flax_simple_reverse",
        _flax_rnn(nn.SimpleCell(4), reverse=True, keep_order=True),
        (BS4,),
    ),
]

HARNESSES = [*WHILE_LOOPS, *SCANS]
