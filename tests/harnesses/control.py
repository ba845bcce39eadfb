"""Calls, conditionals and loops."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from harnesses.base import Arg, Harness

S = Arg("s")
BS = Arg("b, s")
BS4 = Arg("b, s, 4")
W44 = Arg((4, 4))
FLAG = Arg((), np.int32)


@jax.custom_vjp
def _scaled_sine(x: jax.Array) -> jax.Array:
    return jnp.sin(x) * x.sum()


_scaled_sine.defvjp(lambda x: (_scaled_sine(x), x), lambda x, g: (g * x,))


@jax.custom_jvp
def _normalised(x: jax.Array) -> jax.Array:
    return x / jnp.abs(x).sum()


_normalised.defjvp(lambda primals, tangents: (_normalised(*primals), tangents[0]))


@jax.custom_batching.custom_vmap
def _row_total(x: jax.Array) -> jax.Array:
    return x.sum()


@_row_total.def_vmap
def _row_total_vmap(size: int, batched: list[bool], x: jax.Array) -> tuple[jax.Array, bool]:
    return x.sum(1), True


CALLS = [
    Harness("jit_nested", lambda x: jax.jit(lambda y: jax.jit(jnp.sum)(y) * y)(x), (BS,)),
    Harness("custom_jvp_call_relu", lambda x: jax.nn.relu(x).sum(1), (BS,)),
    Harness("custom_jvp_call_silu", lambda x: jax.nn.silu(x).sum(0), (BS,)),
    Harness("custom_jvp_call_relu6_and_selu", lambda x: (jax.nn.relu6(x), jax.nn.selu(x)), (BS,)),
    Harness("custom_jvp_call_softmax", lambda x: jax.nn.softmax(x, axis=(0, 1)), (BS,)),
    Harness("custom_jvp_call_logsumexp", lambda x: jax.nn.logsumexp(x, where=x > 0, axis=0), (BS,)),
    Harness("custom_jvp_call_user", _normalised, (BS,)),
    Harness("custom_vjp_call_user", lambda x: _scaled_sine(x) + 1, (BS,)),
    Harness("custom_vmap_call", _row_total, (S,)),
    Harness("custom_vmap_call_batched", jax.vmap(_row_total), (BS,)),
    Harness("remat2", lambda x: jax.checkpoint(lambda y: jnp.sin(y) / y.sum())(x), (BS,)),
    Harness(
        "remat2_with_policy",
        lambda x: jax.grad(
            lambda y: jax.checkpoint(
                lambda z: jnp.sin(checkpoint_name(jnp.sin(z), "inner")).sum(),
                policy=jax.checkpoint_policies.save_only_these_names("inner"),
            )(y)
        )(x),
        (BS,),
    ),
    Harness("optimization_barrier", lambda x: lax.optimization_barrier((x, x * 2))[1].sum(1), (BS,)),
    Harness("name_and_sum", lambda x: checkpoint_name(x, "x").sum(), (BS,)),
    Harness("device_put", lambda x: jax.device_put((x, x + 1))[1].max(0), (BS,)),
    Harness("composite", lambda x: lax.composite(lambda y: y / y.sum(), "test.scale")(x), (BS,)),
    Harness(
        "custom_linear_solve",
        lambda a, x: lax.custom_linear_solve(lambda v: v * a, x, lambda matvec, y: y / a),
        (Arg("s", make=lambda rng, shape: 1 + rng.random(shape)), S),
    ),
    Harness(
        "custom_linear_solve_gradient",
        jax.grad(
            lambda a, x: lax.custom_linear_solve(
                lambda v: v * a, x, lambda matvec, y: y / a, lambda vecmat, y: y / a
            ).sum()
        ),
        (Arg("s", make=lambda rng, shape: 1 + rng.random(shape)), S),
    ),
    Harness(
        "custom_linear_solve_conjugate_gradient",
        lambda x: jax.scipy.sparse.linalg.cg(lambda v: v * 2 + v.sum(), x, maxiter=20)[0],
        (S,),
        rtol=1e-4,
    ),
    Harness(
        "linear_call",
        lambda x, y: jax.custom_derivatives.linear_call(lambda r, z: z * r.sum(), lambda r, z: z, x, y),
        (S, BS),
    ),
]


def _three_ways(index: jax.Array, x: jax.Array) -> jax.Array:
    return lax.switch(index, [jnp.sin, lambda y: y - y.max(), lambda y: jnp.zeros_like(y)], x)


def _nested(x: jax.Array) -> jax.Array:
    def inner(y: jax.Array) -> jax.Array:
        return lax.cond(y.mean() > 1, lambda z: z - z.mean(), lambda z: z * z.sum(), y)

    return lax.cond(x.sum() > 0, inner, lambda y: inner(y + 2), x)


BRANCHES = [
    Harness("cond_by_data", lambda x: lax.cond(x.sum() > 0, lambda y: y * 2, lambda y: y.sum() - y, x), (BS,)),
    Harness(
        "cond_by_size",
        lambda x: lax.cond(jnp.asarray(x.shape[0]) > 3, lambda y: y / y.sum(), lambda y: y.max() - y, x),
        (S,),
    ),
    Harness(
        "cond_changes_shape",
        lambda x: lax.cond(x.sum() > 0, lambda y: y.sum(1), lambda y: y.max(1), x).sum(),
        (BS,),
    ),
    Harness(
        "cond_of_merged_axes",
        lambda x, y: lax.cond(x.sum() > 0, lambda: x.reshape(-1), lambda: y) * 2,
        (BS, Arg("b*s")),
    ),
    Harness(
        "cond_masked_before",
        lambda x: (x.sum(), lax.cond(x.max() > 2, lambda y: y.sum(1), lambda y: -y.sum(1), x), x.sum(0)),
        (BS,),
    ),
    Harness(
        "cond_zeros_or_ones",
        lambda x: lax.cond(x.sum() > 0, jnp.zeros_like, jnp.ones_like, x).sum(),
        (S,),
    ),
    Harness("cond_nested", _nested, (BS,)),
    Harness("cond_vmapped", lambda x: jax.vmap(_nested)(x), (BS,)),
    *(
        Harness(f"cond_switch_{name}", _three_ways, (Arg((), np.int32, make), BS))
        for name, make in (
            ("any", lambda rng, shape: rng.integers(0, 3, shape)),
            ("clamped", lambda rng, shape: rng.choice([-5, 7], shape)),
        )
    ),
    Harness("cond_integers", lambda x: lax.cond(x.sum() % 2 == 0, lambda: x.max(0), lambda: x.min(0)), (Arg("b, s", np.int32),)),
    Harness(
        "cond_platform",
        lambda x: lax.platform_dependent(x, cpu=lambda y: y.sum(0), default=lambda y: y.max(0)),
        (BS,),
    ),
    Harness(
        "cond_in_scan",
        lambda x: lax.scan(lambda c, r: (lax.cond(c > 0, lambda: c - r.max(), lambda: c + r.sum()), c), 0.0, x),
        (BS,),
    ),
]


def _halve_until_small(x: jax.Array) -> jax.Array:
    return lax.while_loop(lambda y: jnp.abs(y).sum() > 1, lambda y: y / 2, x)


def _count_steps(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return lax.while_loop(
        lambda state: state[0].max() > 0.1, lambda state: (state[0] * 0.7, state[1] + 1), (x, jnp.int32(0))
    )


def _collatz(n: jax.Array) -> jax.Array:
    step = lambda state: (jnp.where(state[0] % 2 == 0, state[0] // 2, 3 * state[0] + 1), state[1] + 1)
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
            lambda row: lax.while_loop(lambda y: y.sum() < limit.sum(), lambda y: y + limit.max(), row)
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
    Harness("while_to_the_size", lambda x: lax.fori_loop(0, x.shape[0], lambda i, c: c + i * x.sum(), 0.0), (S,)),
    Harness("while_carry_to_the_size", lambda x: lax.fori_loop(1, x.shape[0], lambda i, c: c * 0.5 + i, x), (S,)),
    Harness("while_nested", lambda x: lax.fori_loop(0, x.shape[0], lambda i, c: _halve_until_small(c) + i, x), (S,)),
    Harness("while_vmapped_fori", lambda x, n: jax.vmap(lambda r, k: lax.fori_loop(0, k, lambda i, c: c + r.mean(), r))(x, n), (BS, Arg("b", np.int32))),
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
    total = lambda c, i: (c + lax.scan(lambda d, j: (d + jnp.tanh(i - j), None), 0.0, x)[0], None)
    return lax.scan(total, 0.0, x)[0]


def _flax_rnn(cell: nn.RNNCellBase, **options: bool):
    model = nn.RNN(cell, **options)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 2, 4)))
    return lambda x: model.apply(variables, x)


SCANS = [
    Harness("scan_forward", lambda x: lax.scan(_running, jnp.zeros(x.shape[1]), x), (BS,)),
    Harness("scan_reverse", lambda x: lax.scan(_running, jnp.zeros(x.shape[1]), x, reverse=True), (BS,)),
    Harness("scan_scalar_carry", lambda x: lax.scan(lambda c, y: (c + y, c), 0.0, x), (S,)),
    Harness("scan_static", lambda x: lax.scan(lambda c, y: (c + y.sum(), y - c), 0.0, x), (Arg("5, s"),)),
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
    Harness("scan_static_reverse", lambda x: lax.scan(_running, jnp.zeros(x.shape[1]), x, reverse=True), (Arg("3, s"),)),
    Harness("scan_without_xs", lambda x: lax.scan(lambda c, _: (c / 2, c.sum()), x, length=3), (S,)),
    Harness("scan_ignoring_xs", lambda x: lax.scan(lambda c, _: (c + 1, c), 0.0, x)[1] + x, (S,)),
    Harness("scan_outputs_summed", lambda x: lax.scan(_running, jnp.zeros(x.shape[1]), x)[1].sum(0), (BS,)),
    Harness("scan_outputs_maximum", lambda x: lax.scan(_running, jnp.zeros(x.shape[1]), x - 9)[1].max(), (BS,)),
    Harness("scan_merged_axis", lambda x: lax.scan(_running, jnp.zeros(4), x.reshape(-1, 4)), (BS4,)),
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
    Harness("scan_integers_and_flags", lambda x: lax.scan(lambda c, y: (c ^ y, c > y), jnp.int32(0), x), (Arg("s", np.int32),)),
    Harness("scan_nested", _pairwise, (S,)),
    Harness("scan_many_steps_then_none", lambda x: lax.map(jnp.sin, x[: x.shape[0] // 2]), (S,)),
    Harness("scan_map", lambda x: lax.map(lambda r: r / r.sum(), x), (BS,)),
    Harness("scan_map_static", lambda x: lax.map(lambda r: r / r.sum(), x), (Arg("3, s"),)),
    Harness("scan_map_pairs", lambda x, y: lax.map(lambda p: p[0] @ p[1], (x, y)), (BS, BS)),
    Harness("scan_flax_lstm", _flax_rnn(nn.OptimizedLSTMCell(4)), (BS4,)),
    Harness("scan_flax_gru", _flax_rnn(nn.GRUCell(4)), (BS4,)),
    Harness("scan_flax_simple_reverse", _flax_rnn(nn.SimpleCell(4), reverse=True, keep_order=True), (BS4,)),
]

HARNESSES = [*CALLS, *BRANCHES, *WHILE_LOOPS, *SCANS]
