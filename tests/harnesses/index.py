"""Indexed reads, and windows at run-time starts."""

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
SCALAR = Arg((), np.int32)


def wild(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Indices on both sides of every range."""
    return rng.integers(-12, 13, shape)


WILD = Arg("t", np.int32, wild)
START = Arg((), np.int32, wild)
# In numbers: (offset axes, collapsed axes, start axes).
ROWS = lax.GatherDimensionNumbers((1,), (0,), (0,))
WINDOWS = lax.GatherDimensionNumbers((1, 2), (), (0,))


MODES = ("clip", "fill", "promise_in_bounds")


def _rows(mode, x, i):
    return lax.gather(x, i[:, None], ROWS, (1, 3), mode=mode)


def _pairs_of_rows(mode, x, i):
    return lax.gather(x, i[:, None], WINDOWS, (2, 3), mode=mode)


def _long_windows(mode, x, y, i):
    return lax.gather(x, i[:, None], WINDOWS, (y.shape[0], 3), mode=mode)


def _columns(mode, x, i):
    """A window that spans a symbolic axis and names it in its start."""
    numbers = lax.GatherDimensionNumbers((1,), (1,), (0, 1))
    start = jnp.stack([i - i // 2, i], axis=1)
    return lax.gather(x, start, numbers, (x.shape[0], 1), mode=mode)


def _cache(cache, new, at):
    return lax.dynamic_update_slice(cache, new, (0, at, 0))


HARNESSES = [
    # Embeddings: a table of fixed size.
    Harness("gather_embedding", lambda table, ids: table[ids], (TABLE, IDS)),
    Harness("gather_embedding_take", lambda table, ids: jnp.take(table, ids, axis=0), (TABLE, IDS)),
    Harness(
        "gather_embedding_clip",
        lambda table, ids: jnp.take(table, ids, axis=0, mode="clip"),
        (TABLE, Arg("b, s", np.int32, wild)),
    ),
    Harness(
        "gather_embedding_fill",
        lambda table, ids: jnp.take(table, ids, axis=0, mode="fill", fill_value=7),
        (TABLE, Arg("b, s", np.int32, wild)),
    ),
    Harness(
        "gather_embedding_sum",
        lambda table, ids, x: (table[ids] * x[..., None]).sum(1),
        (TABLE, IDS, BS),
    ),
    Harness("gather_embedding_uint8", lambda t, i: t[i], (TABLE, Arg("b, s", np.uint8))),
    Harness(
        "gather_embedding_merged_ids",
        lambda table, ids: table[ids.reshape(-1)].reshape(*ids.shape, 4),
        (TABLE, IDS),
    ),
    # Tables of symbolic size.
    *(Harness(f"gather_rows_{mode}", functools.partial(_rows, mode), (S3, WILD)) for mode in MODES),
    *(
        Harness(
            f"gather_windows_{mode}",
            functools.partial(_pairs_of_rows, mode),
            (Arg("s + 1, 3"), WILD),
        )
        for mode in MODES
    ),
    *(
        Harness(
            f"gather_long_windows_{mode}",
            functools.partial(_long_windows, mode),
            (Arg("s + t, 3"), Arg("s"), WILD),
        )
        for mode in MODES
    ),
    Harness(
        "gather_long_windows_of_fixed",
        functools.partial(_long_windows, "fill"),
        (Arg((12, 3)), Arg("s"), WILD),
    ),
    *(
        Harness(f"gather_columns_{mode}", functools.partial(_columns, mode), (BS, WILD))
        for mode in MODES
    ),
    *(
        Harness(
            f"gather_one_window_{mode}",
            functools.partial(_pairs_of_rows, mode),
            (Arg("s + 1, 3"), Arg((1,), np.int32, wild)),
        )
        for mode in MODES
    ),
    *(
        Harness(
            f"gather_indices_{np.dtype(dtype)}",
            lambda x, i: x.at[i].get(mode="fill", fill_value=-1),
            (
                Arg("s", np.int32),
                Arg("t", dtype, lambda rng, shape: rng.integers(0, 12, shape) * 17),
            ),
            {"s": 100 if dtype is np.int8 else 300},
        )
        for dtype in (np.uint8, np.int8, np.uint32)
    ),
    Harness("gather_negative", lambda x, i: x[-1 - i], (S3, Arg("t", np.int32))),
    Harness("gather_two_axes", lambda x, i: x[i, -i], (BS, WILD)),
    Harness("gather_grid", lambda x, i: x[i[:, None], i[None, :]], (BS, WILD)),
    Harness("gather_of_int", lambda x, i: x.at[i].get(mode="fill"), (Arg("s", np.int32), WILD)),
    Harness("gather_of_bool", lambda x, i: x.at[i].get(mode="fill"), (Arg("s", bool), WILD)),
    Harness("gather_of_merged", lambda x, i: x.reshape(-1)[i], (BS, WILD)),
    Harness(
        "gather_of_merged_rows",
        lambda x, i: x.reshape(-1, 3)[:, i],
        (Arg("b, s, 3"), Arg("t", np.int32, lambda rng, n: rng.integers(0, 3, n))),
    ),
    Harness(
        "gather_then_sum", lambda x, i: x.at[i].get(mode="fill", fill_value=0).sum(0), (S3, WILD)
    ),
    # jax.numpy's ways to index.
    Harness("gather_tail", lambda x: x[1:], (Arg("s + 1, 3"),)),
    Harness("gather_head", lambda x: x[:-1], (Arg("s + 1, 3"),)),
    Harness("gather_middle", lambda x: x[1:-2, 1:], (Arg("s + 3, 3"),)),
    Harness("gather_first_last", lambda x: (x[0], x[-1], x[:, 0], x[:, -1]), (BS,)),
    Harness("gather_strided", lambda x: (x[::2], x[1::3], x[::-1], x[::-2]), (Arg("s + 1, 3"),)),
    Harness("gather_shifted_pairs", lambda x: (x[1:] - x[:-1]).sum(0), (Arg("s + 1, 3"),)),
    Harness("gather_positions", lambda table, x: table[: x.shape[1]][None] + x, (Arg((20,)), BS)),
    Harness(
        "gather_positions_offset",
        lambda table, x: table[2 : x.shape[0] + 2],
        (Arg((12, 4)), Arg("s")),
    ),
    *(
        Harness(
            f"gather_along_axis_{mode}",
            lambda x, i, mode=mode: jnp.take_along_axis(x, i, axis=1, mode=mode),
            (BS, Arg("b, t", np.int32, wild)),
        )
        for mode in ("fill", "clip", "promise_in_bounds")
    ),
    Harness(
        "gather_along_middle_axis",
        lambda x, i: jnp.take_along_axis(x, i, axis=1),
        (Arg("b, s, 3"), Arg("b, t, 3", np.int32, wild)),
    ),
    Harness(
        "gather_along_axis_of_merged",
        lambda x, i: jnp.take_along_axis(x.reshape(-1, 5), i.reshape(-1, 2), axis=1),
        (Arg("b, s, 5"), Arg("b, s, 2", np.int32, wild)),
    ),
    Harness(
        "gather_log_likelihood",
        lambda x, y: -jnp.take_along_axis(jax.nn.log_softmax(x), y[..., None], axis=-1).mean(),
        (Arg("b, s, 10"), IDS),
    ),
    Harness("gather_of_flipped", lambda x, i: jnp.flip(x, 0)[i], (S3, WILD)),
    Harness(
        "gather_vmapped", jax.vmap(lambda x, i: x[i]), (Arg("b, s, 3"), Arg("b, t", np.int32, wild))
    ),
    Harness(
        "gather_vmapped_windows",
        jax.vmap(lambda x, i: lax.dynamic_slice_in_dim(x, i, 2)),
        (Arg("b, s + 1, 3"), Arg("b", np.int32, wild)),
    ),
    # Windows at run-time starts.
    Harness(
        "dynamic_slice_static_size",
        lambda x, i: lax.dynamic_slice_in_dim(x, i, 2),
        (Arg("s + 1, 3"), START),
    ),
    Harness(
        "dynamic_slice_symbolic_size",
        lambda x, y, i: lax.dynamic_slice_in_dim(x, i, y.shape[0]),
        (Arg("s + t, 3"), Arg("s"), START),
    ),
    Harness(
        "dynamic_slice_of_fixed",
        lambda x, y, i: lax.dynamic_slice_in_dim(x, i, y.shape[0], axis=1).sum(1),
        (Arg((2, 9)), Arg("s"), START),
    ),
    Harness(
        "dynamic_slice_at_the_end",
        lambda x, y: lax.dynamic_slice_in_dim(x, x.shape[0] - y.shape[0], y.shape[0]) + y,
        (Arg("s + t"), Arg("t")),
    ),
    Harness(
        "dynamic_slice_two_axes",
        lambda x, y, i: lax.dynamic_slice(x, (i, i // 2, 0), (y.shape[0], 2, 3)),
        (Arg("b + s, s + 1, 3"), Arg("b"), START),
    ),
    Harness(
        "dynamic_slice_full",
        lambda x, i: lax.dynamic_slice(x, (i, i), (x.shape[0], 1)),
        (BS, START),
    ),
    Harness(
        "dynamic_slice_one",
        lambda x, i: lax.dynamic_index_in_dim(x, i, 1, keepdims=False),
        (BS, START),
    ),
    Harness(
        "dynamic_slice_unsigned",
        lambda x, i: lax.dynamic_slice(x, (i,), (2,)),
        (Arg("s + 1"), Arg((), np.uint8, lambda rng, shape: rng.integers(0, 255, shape))),
        {"s": 400},
    ),
    Harness(
        "dynamic_update_slice_exact",
        lambda x, y, i: lax.dynamic_update_slice(x, y, (i, 0)),
        (Arg("s + 1, 3"), Arg((2, 3)), START),
    ),
    Harness(
        "dynamic_update_slice_symbolic",
        lambda x, y, i: lax.dynamic_update_slice(x, y, (i, 1)),
        (Arg("s + t, 3"), Arg("t, 2"), START),
    ),
    Harness(
        "dynamic_update_slice_full",
        lambda x, y, i: lax.dynamic_update_slice(x, y, (i, i)),
        (BS, Arg("b, 1"), START),
    ),
    Harness(
        "dynamic_update_slice_then_sum",
        lambda x, y, i: lax.dynamic_update_slice(jnp.zeros_like(x), y, (i,)).sum(),
        (Arg("s + t"), Arg("t"), START),
    ),
    Harness(
        "dynamic_update_slice_of_merged",
        lambda x, y, i: lax.dynamic_update_slice(x.reshape(-1), y.reshape(-1), (i,)),
        (Arg("b, 2*s"), Arg("b, s"), START),
    ),
    Harness("dynamic_update_slice_prefill", _cache, (Arg("b, 12, 2"), Arg("b, s, 2"), START)),
    Harness("dynamic_update_slice_decode", _cache, (Arg("b, 12, 2"), Arg("b, 1, 2"), START)),
    Harness(
        "dynamic_update_slice_growing_cache", _cache, (Arg("b, s + t, 2"), Arg("b, t, 2"), START)
    ),
    Harness(
        "dynamic_update_slice_attend",
        lambda cache, new, at: jax.nn.softmax(_cache(cache, new, at), axis=1).sum(1),
        (Arg("b, s + 1, 2"), Arg("b, 1, 2"), START),
    ),
    Harness(
        "dynamic_update_index",
        lambda x, y, i: lax.dynamic_update_index_in_dim(x, y, i, 0),
        (BS, Arg("s"), START),
    ),
]
