"""Calls and conditionals."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import io_callback

from tests.harnesses.base import Arg, Harness

S = Arg("s")
BS = Arg("b, s")


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


@jax.custom_vjp
def _other_forward(x: jax.Array) -> jax.Array:
    return jnp.sin(x) * x.sum()


# A rule whose first result is not the function's shows which of the two runs.
_other_forward.defvjp(lambda x: (jnp.cos(x), x), lambda x, g: (g * x.sum(),), optimize_remat=True)

CALLS = [
    Harness("custom_vjp_call_optimize_remat", lambda x: _other_forward(x), (S,)),
    Harness(
        "custom_vjp_call_optimize_remat_gradient",
        jax.value_and_grad(lambda x: _other_forward(x).sum()),
        (S,),
    ),
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
    Harness(
        "optimization_barrier", lambda x: lax.optimization_barrier((x, x * 2))[1].sum(1), (BS,)
    ),
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
        lambda x, y: jax.custom_derivatives.linear_call(
            lambda r, z: z * r.sum(), lambda r, z: z, x, y
        ),
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
    Harness(
        "cond_by_data",
        lambda x: lax.cond(x.sum() > 0, lambda y: y * 2, lambda y: y.sum() - y, x),
        (BS,),
    ),
    Harness(
        "cond_by_size",
        lambda x: lax.cond(
            jnp.asarray(x.shape[0]) > 3, lambda y: y / y.sum(), lambda y: y.max() - y, x
        ),
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
        lambda x: (
            x.sum(),
            lax.cond(x.max() > 2, lambda y: y.sum(1), lambda y: -y.sum(1), x),
            x.sum(0),
        ),
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
    Harness(
        "cond_integers",
        lambda x: lax.cond(x.sum() % 2 == 0, lambda: x.max(0), lambda: x.min(0)),
        (Arg("b, s", np.int32),),
    ),
    Harness(
        "cond_platform",
        lambda x: lax.platform_dependent(x, cpu=lambda y: y.sum(0), default=lambda y: y.max(0)),
        (BS,),
    ),
    Harness(
        "cond_in_scan",
        lambda x: lax.scan(
            lambda c, r: (lax.cond(c > 0, lambda: c - r.max(), lambda: c + r.sum()), c), 0.0, x
        ),
        (BS,),
    ),
]


def _dear(x: jax.Array) -> jax.Array:
    """More work than a branch costs, at any size."""
    return x * (2 + jnp.cos(jnp.linspace(0, 1, 4096) + lax.logistic(x.mean()))).mean()


def _two_of_one_predicate(x: jax.Array) -> jax.Array:
    p = x.sum() > 0
    y, z = lax.cond(p, lambda v: (_dear(v), v.max()), lambda v: (v, v.sum()), x)
    w = jnp.tanh(y) / z
    return lax.cond(~p, _dear, lambda v: v - v.mean(), w) + w.min()


def _by_size_and_by_data(x: jax.Array) -> jax.Array:
    work = jnp.exp(x).sum(1, keepdims=True)
    y = lax.cond(jnp.asarray(x.shape[1]) > 4, lambda v: _dear(v) / work, jnp.sort, x)
    return lax.cond(x.max() > 1, _dear, lambda v: v * 2, y)


def _residuals(x: jax.Array) -> jax.Array:
    p = x.sum() > 0
    y = lax.cond(p, lambda v: _dear(jnp.sin(v)), lambda v: v * v.max(), x)
    return (lax.cond(p, jnp.tanh, _dear, y) * y).sum()


COLLAPSED = [
    Harness("cond_merged", _two_of_one_predicate, (BS,)),
    Harness("cond_merged_in_scan", lambda x: lax.map(_two_of_one_predicate, x), (BS,)),
    Harness("cond_merged_gradient", jax.grad(_residuals), (BS,), rtol=3e-5),
    Harness("cond_merged_vmapped", lambda x: jax.vmap(_two_of_one_predicate)(x), (BS,)),
    Harness("cond_work_moved", _by_size_and_by_data, (BS,)),
    Harness(
        "cond_work_moved_gradient",
        jax.grad(lambda x: (_by_size_and_by_data(x) ** 2).sum()),
        (BS,),
        rtol=3e-5,
    ),
    Harness(
        "cond_switch_on_size",
        lambda x: lax.switch(jnp.asarray(x.shape[0]) - 2, [_dear, jnp.sort, lambda y: -y], x),
        (S,),
    ),
]


def _like(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _by_row(method: str) -> Callable[[jax.Array], jax.Array]:
    def call(row: jax.Array) -> jax.Array:
        return jax.pure_callback(np.sin, _like(row), row, vmap_method=method)

    return jax.vmap(call)


def _tiled(x: jax.Array) -> jax.Array:
    n = x.shape[1]
    shape = jax.ShapeDtypeStruct((2 * n, x.shape[0]), np.float32)
    return jax.pure_callback(lambda a: np.tile(np.asarray(a) * n, 2).T, shape, x)


def _shown(x: jax.Array) -> jax.Array:
    jax.debug.callback(lambda *_: None, x, x.T.reshape(-1))
    return x.reshape(-1)


CALLBACKS = [
    Harness(
        "pure_callback_sorted",
        lambda x: jax.pure_callback(np.sort, _like(x), x * 2).max(0),
        (BS,),
    ),
    Harness("pure_callback_by_row", _by_row("sequential"), (BS,)),
    Harness("pure_callback_of_all_rows", _by_row("broadcast_all"), (BS,)),
    Harness("pure_callback_size_closed_over", _tiled, (BS,)),
    Harness("debug_callback_of_moved", _shown, (BS,)),
    Harness(
        "io_callback_ordered",
        lambda x: io_callback(np.cumsum, _like(x), x.reshape(-1)[: x.shape[0]], ordered=True),
        (S,),
    ),
]

HARNESSES = [*CALLS, *BRANCHES, *COLLAPSED, *CALLBACKS]
