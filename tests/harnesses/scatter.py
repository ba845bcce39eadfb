"""Indexed writes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness

S3 = Arg("s, 3")
BS = Arg("b, s")
TABLE = Arg((10, 4))
IDS = Arg("b, s", np.int32)


def wild(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Indices on both sides of every range."""
    return rng.integers(-12, 13, shape)


def distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Different indices from 0 to 9, some of them out of range."""
    return rng.permutation(10)[: shape[0]]


def eighths(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers whose sums and small products are exact."""
    return rng.integers(-16, 17, shape) / 8


WILD = Arg("t", np.int32, wild)
START = Arg((), np.int32, wild)
MODES = ("clip", "drop", "promise_in_bounds")
OPERATIONS = {
    "add": lax.scatter_add,
    "sub": lax.scatter_sub,
    "mul": lax.scatter_mul,
    "min": lax.scatter_min,
    "max": lax.scatter_max,
    "set": lax.scatter,
}
# In numbers: (update window axes, inserted axes, start axes).
ROWS = lax.ScatterDimensionNumbers((1,), (0,), (0,))
WINDOWS = lax.ScatterDimensionNumbers((1, 2), (), (0,))
WINDOWS_FIRST = lax.ScatterDimensionNumbers((0, 2), (), (0,))
CORNERS = lax.ScatterDimensionNumbers((1, 2), (), (0, 1))
ONE_WINDOW = lax.ScatterDimensionNumbers((0, 1), (), (0,))


def _at_rows(operation, numbers, mode, x, i, u):
    return OPERATIONS[operation](x, i[:, None], u, numbers, mode=mode)


def _at_corners(operation, numbers, mode, x, i, u):
    return OPERATIONS[operation](x, jnp.stack([i, i // 2], axis=1), u, numbers, mode=mode)


def _at_start(operation, numbers, mode, x, i, u):
    return OPERATIONS[operation](x, i[None], u, numbers, mode=mode)


def _each(name, fun, numbers, args, operations=OPERATIONS, modes=MODES):
    """Every operation in one mode, and replacement in every mode."""
    pairs = dict.fromkeys([*((o, "drop") for o in operations), *(("set", m) for m in modes)])
    return [
        Harness(f"scatter_{o}_{name}_{m}", functools.partial(fun, o, numbers, m), args)
        for o, m in pairs
    ]


def _embedding_gradient(table, ids, x):
    return jax.grad(lambda w: (w[ids] * x[..., None]).sum())(table)


def _slices_gradient(x, y):
    return jax.grad(lambda v: (v[1:] * y * v[:-1]).sum() + v[-1] * v[0])(x)


def _along_axis_gradient(x, i):
    return jax.grad(lambda v: (jnp.take_along_axis(v, i, axis=1) ** 2).sum())(x)


def _window_gradient(x, y, i):
    return jax.grad(lambda v: (lax.dynamic_slice_in_dim(v, i, y.shape[0]) * y).sum())(x)


def _segments(reduce, x, i, y):
    return reduce(x, i, num_segments=y.shape[0])


def _group_norms(x, i):
    """Per-segment mean and deviation, with as many segments as rows."""
    ones = jnp.ones_like(x[:, 0])
    count = jax.ops.segment_sum(ones, i, num_segments=x.shape[0])
    mean = jax.ops.segment_sum(x, i, num_segments=x.shape[0]) / jnp.maximum(count, 1)[:, None]
    return x - mean.at[i].get(mode="clip"), count


HARNESSES = [
    *_each("rows", _at_rows, ROWS, (S3, WILD, Arg("t, 3", make=eighths))),
    *_each(
        "rows_of_fixed", _at_rows, ROWS, (Arg((9, 3)), WILD, Arg("t, 3", make=eighths)), ("add",)
    ),
    *_each(
        "windows",
        _at_rows,
        WINDOWS,
        (Arg("s + 1, 3"), WILD, Arg("t, 2, 3", make=eighths)),
        ("add",),
    ),
    *_each(
        "long_windows",
        _at_rows,
        WINDOWS,
        (Arg("b + s, 3"), WILD, Arg("t, b, 3", make=eighths)),
        ("add", "max"),
    ),
    *_each(
        "long_windows_first",
        _at_rows,
        WINDOWS_FIRST,
        (Arg("b + s, 3"), WILD, Arg("b, t, 3")),
        (),
        ("drop",),
    ),
    *_each(
        "corners",
        _at_corners,
        CORNERS,
        (Arg("b + s, b + s"), WILD, Arg("t, b, s")),
        (),
        ("clip",),
    ),
    *_each(
        "one_window", _at_start, ONE_WINDOW, (Arg("b + s, 3"), START, Arg("b, 3")), ("sub", "mul")
    ),
    *_each(
        "one_window_of_fixed",
        _at_start,
        ONE_WINDOW,
        (Arg((12, 3)), START, Arg("s, 3")),
        (),
        ("drop",),
    ),
    # jax.numpy's ways to write.
    Harness("scatter_at_set", lambda x, i, u: x.at[i].set(u), (S3, WILD, Arg("t, 3"))),
    Harness("scatter_at_set_scalar", lambda x, i: x.at[i].set(7), (Arg("s", np.int32), WILD)),
    Harness("scatter_at_add_two_axes", lambda x, i: x.at[i, -i].add(1), (BS, WILD)),
    Harness("scatter_at_mul", lambda x, i: x.at[i].mul(2), (S3, WILD)),
    Harness("scatter_at_min_max", lambda x, i: (x.at[i].min(0), x.at[:, i].max(0)), (BS, WILD)),
    Harness(
        "scatter_at_apply",
        lambda x, i: x.at[i].apply(jnp.negative),
        (S3, Arg("t", np.int32, distinct)),
    ),
    Harness("scatter_at_bool", lambda x, i: x.at[i].set(True), (Arg("s", bool), WILD)),
    Harness(
        "scatter_at_unique",
        lambda x, i, u: x.at[i].add(u, unique_indices=True),
        (S3, Arg("t", np.int32, distinct), Arg("t, 3")),
    ),
    Harness(
        "scatter_at_sorted",
        lambda x, i, u: x.at[jnp.sort(i)].max(u, indices_are_sorted=True),
        (S3, Arg("t", np.int32), Arg("t, 3")),
    ),
    Harness("scatter_at_ends", lambda x: x.at[0].set(1).at[-1].add(2).at[:, -1].mul(3), (BS,)),
    Harness("scatter_at_slice", lambda x: x.at[1:].set(0), (Arg("s + 1, 3"),)),
    Harness("scatter_at_slice_add", lambda x, y: x.at[:-1].add(y), (Arg("s + 1, 3"), S3)),
    Harness("scatter_at_front", lambda x, y: x.at[: y.shape[0]].set(y), (Arg((12, 3)), S3)),
    Harness("scatter_at_strided", lambda x: x.at[::2].set(0), (S3,)),
    Harness("scatter_at_slice_then_max", lambda x: x.at[1:].set(-5).max(0), (Arg("s + 1, 3"),)),
    *(
        Harness(
            f"scatter_at_{np.dtype(dtype)}_index",
            lambda x, i: x.at[i].add(1),
            (Arg("s"), Arg("t", dtype, lambda rng, shape: rng.integers(0, 12, shape) * 17)),
            {"s": 100 if dtype is np.int8 else 300},
        )
        for dtype in (np.uint8, np.int8)
    ),
    Harness("scatter_at_merged", lambda x, i: x.reshape(-1).at[i].add(1), (BS, WILD)),
    Harness(
        "scatter_from_merged",
        lambda x, i: x.at[i.reshape(-1)].add(1),
        (S3, Arg("b, t", np.int32, wild)),
    ),
    # Counts and segments.
    Harness("scatter_bincount", lambda i: jnp.bincount(i, length=10), (Arg("s", np.int32),)),
    Harness(
        "scatter_bincount_weights",
        lambda i, w: jnp.bincount(i, w, length=10),
        (Arg("s", np.int32), Arg("s", make=eighths)),
    ),
    Harness(
        "scatter_one_hot",
        lambda i: jnp.zeros((i.shape[0], 10)).at[jnp.arange(i.shape[0]), i].set(1),
        (Arg("s", np.int32),),
    ),
    *(
        Harness(
            f"scatter_{reduce.__name__}",
            functools.partial(_segments, reduce),
            (S3, Arg("s", np.int32), Arg("t")),
        )
        for reduce in (
            jax.ops.segment_sum,
            jax.ops.segment_prod,
            jax.ops.segment_max,
            jax.ops.segment_min,
        )
    ),
    Harness(
        "scatter_segment_sum_fixed",
        lambda x, i: jax.ops.segment_sum(x, i, num_segments=4),
        (S3, Arg("s", np.int32)),
    ),
    Harness("scatter_segment_means", _group_norms, (S3, Arg("s", np.int32, wild))),
    Harness("scatter_then_sum", lambda x, i: jnp.zeros_like(x).at[i].add(1).sum(0), (S3, WILD)),
    # Gradients of reads.
    Harness("scatter_gradient_embedding", _embedding_gradient, (TABLE, IDS, BS)),
    Harness("scatter_gradient_slices", _slices_gradient, (Arg("s + 1"), Arg("s"))),
    Harness("scatter_gradient_along_axis", _along_axis_gradient, (BS, Arg("b, t", np.int32))),
    Harness("scatter_gradient_window", _window_gradient, (Arg("s + t, 3"), Arg("s, 3"), START)),
    Harness(
        "scatter_gradient_positions",
        lambda table, x: jax.grad(lambda w: (w[: x.shape[0]] * x).sum())(table),
        (Arg((12, 3)), S3),
    ),
    # Batches.
    Harness(
        "scatter_vmapped", jax.vmap(lambda x, i: x.at[i].add(1)), (BS, Arg("b, t", np.int32, wild))
    ),
    Harness(
        "scatter_vmapped_caches",
        jax.vmap(lambda x, y, i: lax.dynamic_update_slice(x, y, (i, 0))),
        (Arg("b, 12, 2"), Arg("b, s, 2"), Arg("b", np.int32, wild)),
    ),
    Harness(
        "scatter_vmapped_growing_caches",
        jax.vmap(lambda x, y, i: lax.dynamic_update_slice(x, y, (i, 0))),
        (Arg("b, s + t, 2"), Arg("b, t, 2"), Arg("b", np.int32, wild)),
    ),
    Harness(
        "scatter_vmapped_merged",
        lambda x, i: jax.vmap(lambda v, j: v.at[j].set(0))(x.reshape(-1, 5), i.reshape(-1, 2)),
        (Arg("b, s, 5"), Arg("b, s, 2", np.int32, wild)),
    ),
]
