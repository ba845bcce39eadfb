"""Collectives over an axis that ``vmap`` names: reductions over rows; and over a mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from tests.harnesses.base import Arg, Harness, table

B3 = Arg("b, 3")
BS = Arg("b, s")
BSI = Arg("b, s", np.int32)
BST = Arg("b, s, t")
EPSILON = 1e-2


def _named(fun: Callable[[Any], Any], **axes: Any) -> Callable[[Any], Any]:
    return jax.vmap(fun, axis_name="i", **axes)


def _on_mesh(body: Callable[[Any], Any], check_vma: bool = True) -> Callable[[Any], Any]:
    """The body on each device of a mesh that divides the last axis, of which there is one here."""

    def fun(x: jax.Array) -> Any:
        mesh = jax.sharding.Mesh(np.array(jax.local_devices()[:1]), ("i",))
        spec = jax.sharding.PartitionSpec(None, "i")
        mapped = jax.shard_map(body, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=check_vma)
        return mapped(x)

    return fun


def _device_sums(x: jax.Array) -> jax.Array:
    return lax.psum(jnp.tanh(x).sum(0, keepdims=True) * x, "i") + x


def _normalised(row: jax.Array) -> jax.Array:
    mean = lax.pmean(row, "i")
    return (row - mean) * lax.rsqrt(lax.pmean(row**2, "i") - mean**2 + EPSILON)


def _in_scan(row: jax.Array) -> jax.Array:
    return lax.scan(lambda c, x: (c + lax.psum(x, "i"), c * x), jnp.float32(0), row)[1]


def _grid(x: jax.Array) -> jax.Array:
    inner = jax.vmap(lambda v: v / lax.psum(1 + v**2, ("i", "j")), axis_name="j")
    return jax.vmap(inner, axis_name="i")(x)


def _outer(x: jax.Array) -> jax.Array:
    inner = jax.vmap(lambda v: v - lax.pmax(v, "i"), axis_name="j")
    return jax.vmap(inner, axis_name="i")(x)


def _linen(x: jax.Array) -> Any:
    norm = nn.BatchNorm(use_running_average=False, axis_name="i", epsilon=EPSILON)
    variables = {
        "params": {"scale": np.full(3, 2, np.float32), "bias": np.ones(3, np.float32)},
        "batch_stats": {"mean": np.ones(3, np.float32), "var": np.ones(3, np.float32)},
    }
    return _named(lambda row: norm.apply(variables, row, mutable=["batch_stats"]))(x)


def _nnx(x: jax.Array) -> jax.Array:
    def row(v: jax.Array) -> jax.Array:
        return nnx.BatchNorm(3, axis_name="i", epsilon=EPSILON, rngs=nnx.Rngs(0))(v)

    return _named(row)(x)


HARNESSES = [
    *table("psum_of_rows", BS, {
        "float": _named(lambda row: row - lax.psum(row, "i")),
        "bool": _named(lambda row: lax.psum(row > 0, "i")),
        "out_axes_none": _named(lambda row: lax.psum(row, "i"), out_axes=None),
        "columns": _named(lambda column: column - lax.psum(column, "i"), in_axes=1, out_axes=1),
        "constant": _named(lambda row: row * lax.psum(1, "i")),
        "unmapped": _named(lambda row: row + lax.psum(jnp.ones(()), "i")),
        "jit": _named(jax.jit(lambda row: row / lax.psum(row**2 + 1, "i"))),
        "in_scan": _named(_in_scan),
        "grad": jax.grad(lambda x: _named(lambda r: r / lax.psum(1 + r**2, "i"))(x).sum()),
        "grad_of_row": _named(jax.grad(lambda row: (row * lax.psum(row**2, "i")).sum())),
        "scatter": _named(
            lambda row: lax.psum_scatter(jnp.ones(lax.axis_size("i"))[:, None] * row[None], "i")
        ),
    }),
    *table("psum_of_both_axes", BST, {"grid": _grid, "outer": _outer}, bucket={"b": 3, "s": 4}),
    *table("pmean", B3, {
        "rows": _named(lambda row: row - lax.pmean(row, "i")),
        "tree": _named(lambda row: lax.pmean({"row": row, "total": row.sum()}, "i")),
        "normalised": _named(_normalised),
        "normalised_grad": jax.grad(lambda x: (_named(_normalised)(x) ** 3).sum()),
        "linen_batch_norm": _linen,
        "linen_batch_norm_grad": jax.grad(lambda x: (_linen(x)[0] ** 3).sum()),
        "nnx_batch_norm": _nnx,
    }, rtol=2e-5, atol=1e-6),
    *table("pmax_of_rows", BS, {"float": _named(lambda row: lax.pmax(row, "i") - row)}),
    *table("pmin_of_rows", BSI, {"integer": _named(lambda row: lax.pmin(row, "i") - row)}),
    *table("all_gather_of_rows", BS, {
        "sum": _named(lambda row: lax.all_gather(row, "i").sum(0) * row),
        "axis": _named(lambda row: lax.all_gather(row, "i", axis=1)),
        "tiled": _named(lambda row: lax.all_gather(row, "i", tiled=True)),
    }),
    *table("shard_map", B3, {
        "sums": _on_mesh(_device_sums),
        "softmax": _on_mesh(lambda x: jax.nn.softmax(x, 0) - x.mean(0, keepdims=True)),
        "reversed": _on_mesh(lambda x: jnp.cumsum(x[::-1], 0)),
        "extremes": _on_mesh(lambda x: x - lax.pmax(x, "i") + lax.pmin(x * 2, "i"), False),
        "permuted": _on_mesh(lambda x: lax.ppermute(x, "i", [(0, 0)]).sum(0, keepdims=True) + x),
        "gathered": _on_mesh(lambda x: lax.all_gather(x, "i", axis=1, tiled=True) * x.mean()),
        "scattered": _on_mesh(
            lambda x: lax.psum_scatter(x, "i", scatter_dimension=1, tiled=True) * 2 + x
        ),
        "transposed": _on_mesh(lambda x: lax.all_to_all(x, "i", 1, 1, tiled=True)[::-1]),
        "grad": jax.grad(lambda x: (_on_mesh(_device_sums)(x) ** 2).mean()),
    }, rtol=2e-5, atol=1e-6),
    Harness("axis_index_of_rows", _named(lambda row: row * lax.axis_index("i")), (BS,)),
]  # fmt: skip
