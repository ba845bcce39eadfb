"""Programs that cut arrays apart and put them together."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness

S = Arg("s")
BS = Arg("b, s")
BSI = Arg("b, s", np.int32)
BS4 = Arg("b, s, 4")
ZERO = np.float32(0)


def _rotary(x: jax.Array) -> jax.Array:
    half = x.shape[-1] // 2
    return jnp.concatenate([-x[..., half:], x[..., :half]], axis=-1)


def _nan_softmax(x: jax.Array) -> jax.Array:
    """A softmax whose rows are NaN where they are all -inf."""
    return jax.nn.softmax(jnp.where(x > -9, -jnp.inf, x), axis=1)


def _sum_masked_slice(x: jax.Array) -> jax.Array:
    weights = jax.nn.softmax(x, axis=1)
    return weights[:, 1:].sum(1)


HARNESSES = [
    # slice
    Harness("slice_exact_axis", lambda x: x[..., 1:3], (BS4,)),
    Harness("slice_start", lambda x: x[:, 1:], (BS,), constraints=("s >= 2",)),
    Harness("slice_start_sum", lambda x: x[:, 1:].sum(1), (BS,), constraints=("s >= 2",)),
    Harness("slice_end", lambda x: x[:, :-1].sum(1), (BS,), constraints=("s >= 2",)),
    Harness("slice_last", lambda x: x[:, -1], (BS,)),
    Harness("slice_last_three", lambda x: x[-3:], (S,), constraints=("s >= 3",)),
    Harness("slice_first_static", lambda x: x[:, :3], (BS,), constraints=("s >= 3",)),
    Harness("slice_middle", lambda x: x[1:-2], (S,), constraints=("s >= 4",)),
    Harness("slice_half", lambda x: x[x.shape[0] // 2 :], (S,)),
    Harness("slice_first_half", lambda x: x[: x.shape[0] // 2].sum(), (S,)),
    Harness("slice_strided", lambda x: (x[::2], x[1::3]), (S,), constraints=("s >= 2",)),
    Harness("slice_strided_sum", lambda x: x[:, ::2].sum(1), (BSI,)),
    Harness("slice_strided_reverse", lambda x: x[::-2], (S,)),
    Harness("slice_symbolic_start", lambda x, y: x[y.shape[0] :], (Arg("s + t"), Arg("t"))),
    Harness("slice_symbolic_limit", lambda x, y: x[: y.shape[0]] + y, (Arg("s + t"), Arg("t"))),
    Harness(
        "slice_symbolic_stride",
        lambda x, y: lax.slice(x, (0,), x.shape, (y.shape[0],)),
        (Arg("s*t"), Arg("t")),
    ),
    Harness("slice_merged", lambda x: x.reshape(-1)[1:], (BS,), constraints=("s >= 2",)),
    Harness("slice_merged_other_axis", lambda x: x.reshape(-1, 4)[:, 1:], (BS4,)),
    Harness("slice_of_softmax", _sum_masked_slice, (BS,), constraints=("s >= 2",)),
    Harness("slice_bool", lambda x: x[:, 1:].any(1), (Arg("b, s", bool),), constraints=("s >= 2",)),
    Harness("slice_in_scan", lambda x: lax.map(lambda r: r[1:].sum(), x), (BS4,)),
    Harness(
        "slice_grad", jax.grad(lambda x: (x[:, 1:-1] ** 2).sum()), (BS,), constraints=("s >= 3",)
    ),
    Harness("slice_strided_grad", jax.grad(lambda x: (x[::2] ** 3).sum()), (S,), bucket={"s": 7}),
    # split
    Harness("split_exact_axis", lambda x: jnp.split(x, 2, axis=-1), (BS4,)),
    Harness("split_other_axes_merged", lambda x: jnp.split(x.reshape(-1, 4), (1,), axis=1), (BS4,)),
    Harness("split_halves", lambda x: jnp.split(x, 2), (Arg("2*s"),)),
    Harness("split_at", lambda x: jnp.split(x, (1, 3)), (S,), constraints=("s >= 4",)),
    Harness(
        "split_sizes",
        lambda x, y: lax.split(x, (y.shape[0], 2, x.shape[0] - y.shape[0] - 2)),
        (Arg("s + t + 2"), Arg("t")),
    ),
    Harness("split_glu", lambda x: jax.nn.glu(x, axis=1), (Arg("b, 2*s"),)),
    Harness("split_array_split", lambda x: jnp.array_split(x, 2, axis=-1), (BS4,)),
    # concatenate
    Harness("concatenate_exact_axis", lambda x, y: jnp.concatenate([x, y], -1), (BS4, BS4)),
    Harness("concatenate_rotary", _rotary, (BS4,)),
    Harness("concatenate_padded", lambda x, y: jnp.concatenate([x, y], 1), (BS, Arg("b, t"))),
    Harness("concatenate_sum", lambda x, y: jnp.concatenate([x, y], 1).sum(1), (BS, Arg("b, t"))),
    Harness("concatenate_class_token", lambda x, y: jnp.concatenate([y, x], 1), (BS, Arg("b, 1"))),
    Harness(
        "concatenate_separator",
        lambda x, y: jnp.concatenate([x, y, x, y[:, :1]], 1),
        (BS, Arg("b, 2")),
    ),
    Harness("concatenate_four", lambda x, y: jnp.concatenate([y, x, y, x]), (S, Arg("t"))),
    Harness("concatenate_merged", lambda x, y: jnp.concatenate([x.reshape(-1), y]), (BS, S)),
    Harness(
        "concatenate_layouts",
        lambda x, y: jnp.concatenate([x.reshape(-1, 4), y], 1),
        (BS4, Arg("b*s, 2")),
    ),
    Harness(
        "concatenate_merged_both", lambda x: jnp.concatenate([x.reshape(-1, 4)] * 2, 1), (BS4,)
    ),
    Harness(
        "concatenate_zeros",
        lambda x: jnp.concatenate([x, jnp.zeros_like(x[:, :1])], 1).sum(1),
        (BS,),
    ),
    Harness(
        "concatenate_int8",
        lambda x, y: jnp.concatenate([x, y]),
        (Arg("s", np.int8), Arg("t", np.int8)),
    ),
    Harness(
        "concatenate_masked_sum",
        lambda x, y: jnp.concatenate([jax.nn.softmax(x), jax.nn.softmax(y)], 1).sum(1),
        (BS, Arg("b, t")),
    ),
    Harness(
        "concatenate_beside_rows_of_nan",
        lambda x, y: jnp.concatenate([_nan_softmax(x), y], 1)[:, x.shape[1] :].sum(1),
        (BS, Arg("b, t")),
    ),
    Harness(
        "concatenate_rows_of_nan_first",
        lambda x, y: jnp.concatenate([y, _nan_softmax(x)], 1)[:, : y.shape[1]].sum(1),
        (BS, Arg("b, 2")),
    ),
    Harness("slice_rows_of_nan_to_nothing", lambda x: _nan_softmax(x)[:, 1:].sum(1), (BS,)),
    Harness(
        "pad_before_rows_of_nan",
        lambda x: jnp.pad(_nan_softmax(x), ((0, 0), (2, 0)))[:, :2].sum(1),
        (BS,),
    ),
    Harness("concatenate_append", lambda x: jnp.append(x, 1.0), (S,)),
    Harness("concatenate_diff", lambda x: jnp.diff(x, axis=1), (BS,), constraints=("s >= 2",)),
    Harness("concatenate_diff_prepend", lambda x: jnp.diff(x, axis=1, prepend=x[:, :1]), (BS,)),
    Harness(
        "concatenate_roll",
        lambda x: (jnp.roll(x, 1, 1), jnp.roll(x, -1, 1)),
        (BS,),
        constraints=("s >= 2",),
    ),
    Harness("concatenate_roll_exact", lambda x: jnp.roll(x, 2, -1), (BS4,)),
    Harness("concatenate_roll_symbolic", lambda x: jnp.roll(x, x.shape[1] // 2, 1), (BS,)),
    Harness("concatenate_fftshift", lambda x: jnp.fft.fftshift(x), (S,)),
    Harness("concatenate_hstack", lambda x, y: jnp.hstack([x, y]), (BS, Arg("b, t"))),
    Harness(
        "concatenate_grad",
        jax.grad(lambda x, y: (jnp.concatenate([x, y]) ** 2).sum(), (0, 1)),
        (S, Arg("t")),
    ),
    Harness(
        "concatenate_keys",
        lambda x: jax.random.key_data(jnp.concatenate([jax.random.wrap_key_data(x)] * 2)),
        (Arg("s, 2", np.uint32),),
    ),
    # pad
    Harness("pad_exact_axis", lambda x: jnp.pad(x, ((0, 0), (0, 0), (1, 2))), (BS4,)),
    Harness("pad_both_sides", lambda x: jnp.pad(x, ((0, 0), (1, 2))).sum(1), (BS,)),
    Harness("pad_all_axes", lambda x: jnp.pad(x, 1), (BS4,)),
    Harness("pad_before", lambda x: jnp.pad(x, ((0, 0), (2, 0))), (BS,)),
    Harness("pad_ones", lambda x: jnp.pad(x, ((1, 1), (1, 1)), constant_values=1), (BSI,)),
    Harness("pad_traced_value", lambda x, v: lax.pad(x, v, ((1, 2, 0), (1, 0, 1))), (BS, Arg(()))),
    Harness(
        "pad_negative",
        lambda x: lax.pad(x, ZERO, ((0, 0, 0), (-1, -1, 0))),
        (BS,),
        constraints=("s >= 2",),
    ),
    Harness(
        "pad_negative_interior",
        lambda x: lax.pad(x, ZERO, ((-1, -1, 2),)),
        (S,),
        constraints=("s >= 2",),
    ),
    Harness("pad_interior", lambda x: lax.pad(x, ZERO, ((0, 0, 1), (1, 0, 2))), (BS,)),
    Harness("pad_symbolic_after", lambda x, y: jnp.pad(x, (0, y.shape[0])), (S, Arg("t"))),
    Harness("pad_symbolic_before", lambda x, y: jnp.pad(x, (y.shape[0], 1)), (S, Arg("t"))),
    Harness(
        "pad_symbolic_exact_axis",
        lambda x, y: jnp.pad(x, (y.shape[0], y.shape[0])),
        (Arg((3,)), Arg("t")),
    ),
    Harness("pad_to_multiple", lambda x: jnp.pad(x, (0, -x.shape[0] % 4)), (S,)),
    Harness(
        "pad_symbolic_negative",
        lambda x, y: lax.pad(x, ZERO, ((1 - y.shape[0], 3 - y.shape[0], 0),)),
        (Arg("s + 2*t"), Arg("t")),
    ),
    Harness(
        "pad_symbolic_interior",
        lambda x, y: lax.pad(x, np.float32(2), ((1, y.shape[0], y.shape[0]),)),
        (S, Arg("t")),
        bucket={"t": 3},
    ),
    Harness("pad_merged", lambda x: jnp.pad(x.reshape(-1), (1, 1)), (BS,)),
    Harness("pad_shift_right", lambda x: jnp.pad(x, ((0, 0), (1, 0)))[:, :-1], (BSI,)),
    Harness("pad_edge", lambda x: jnp.pad(x, (1, 2), mode="edge"), (S,)),
    Harness("pad_softmax", lambda x: jnp.pad(jax.nn.softmax(x), ((0, 0), (1, 1))).sum(1), (BS,)),
    Harness(
        "pad_softmax_of_infinities",
        lambda x: jnp.pad(jax.nn.softmax(jnp.where(x > 0, jnp.inf, x)), ((0, 0), (0, 2))),
        (BS,),
    ),
    Harness("pad_bool", lambda x: jnp.pad(x, (1, 1), constant_values=True), (Arg("s", bool),)),
    Harness("pad_grad", jax.grad(lambda x: (jnp.pad(x, (1, 2)) ** 2).sum()), (S,)),
    Harness("pad_complex", lambda x: jnp.pad(x, (1, 2)).sum(), (Arg("s", np.complex64),)),
    # reverse
    Harness("rev", lambda x: x[:, ::-1], (BS,)),
    Harness("rev_exact_axis", lambda x: jnp.flip(x, -1), (BS4,)),
    Harness("rev_several", lambda x: lax.rev(x, (0, 1, 2)), (BS4,)),
    Harness("rev_merged", lambda x: jnp.flip(x.reshape(-1)), (BSI,)),
    Harness("rev_sum", lambda x: jnp.flip(x, 1).sum(1), (BS,)),
    Harness("rev_constant", lambda x: jnp.flip(jnp.ones_like(x)).sum(1) + x[:, 0], (BS,)),
    Harness("rev_rot90", lambda x: jnp.rot90(x), (BS,)),
    # tile and repeat
    Harness("tile_int", lambda x: jnp.tile(x, (1, 3)), (BS,)),
    Harness("tile_sum", lambda x: jnp.tile(x, (2, 3)).sum(1), (BS,)),
    Harness("tile_symbolic", lambda x, y: lax.tile(x, (y.shape[0],)), (Arg((3,)), Arg("t"))),
    Harness("tile_symbolic_both", lambda x, y: lax.tile(x, (y.shape[0],)).sum(), (S, Arg("t"))),
    Harness(
        "tile_symbolic_masked",
        lambda x, y: lax.tile(jax.nn.softmax(x), (y.shape[0],)).sum(),
        (S, Arg("t")),
    ),
    Harness("tile_then_split", lambda x: jnp.tile(x, 2).reshape(2, -1), (S,)),
    Harness("tile_repeat", lambda x: jnp.repeat(x, 3, axis=1), (BS,)),
    Harness("tile_repeat_exact_axis", lambda x: jnp.repeat(x, 2, axis=2), (BS4,)),
    # stack
    Harness("stack_first", lambda x, y: jnp.stack([x, y]), (BS, BS)),
    Harness("stack_last", lambda x, y: jnp.stack([x, y], -1).sum(1), (BS, BS)),
    Harness("stack_layouts", lambda x, y: jnp.stack([x.reshape(-1), y], 1), (BS, Arg("b*s"))),
    Harness("stack_columns", lambda x, y: jnp.column_stack([x, y]), (S, S)),
    Harness("stack_meshgrid", lambda x, y: jnp.stack(jnp.meshgrid(x, y), -1), (S, Arg("t"))),
    Harness("unstack", lambda x: jnp.unstack(x, axis=-1), (BS4,)),
    Harness("unstack_sum", lambda x: [part.sum(1) for part in jnp.unstack(x, axis=2)], (BS4,)),
    Harness("unstack_merged", lambda x: jnp.unstack(x.reshape(-1, 4), axis=1), (BS4,)),
]
