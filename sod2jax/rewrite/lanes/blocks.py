"""Matrices with pad lanes: the true block in the corner, zeros or a diagonal block beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from sod2jax import _compat
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.lanes.layouts import align_axes
from sod2jax.rewrite.padded import Extent, Padded, is_padded


class Withheld:
    """Stands for an array that cannot be computed exactly: whatever reads it raises ``error``.

    A decomposition has outputs that are exact and outputs that are not; a program that only reads
    the former can run.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, error: Exception):
        self.shape = shape
        self.dtype = dtype
        self.error = error

    def __jax_array__(self) -> Any:
        """What JAX asks for when the value becomes an operand."""
        raise self.error

    @property
    def weak_type(self) -> bool:
        """What the end of a program asks of its outputs."""
        raise self.error


_compat.register_host_array(Withheld)


def align_batch(ctx: Context, operands: Sequence[Padded], ranks: Sequence[int]) -> list[Padded]:
    """Operands with core axes (the last ``ranks``) in prefix layout and equal batch layouts."""
    values = [
        ctx.compact(p, range(p.rank - rank, p.rank))
        for p, rank in zip(operands, ranks, strict=True)
    ]
    return list(align_axes(ctx, values, range(values[0].rank - ranks[0])))


def core_is_padded(value: Padded, rank: int) -> bool:
    """Whether any of the last ``rank`` axes has pad lanes."""
    return any(map(is_padded, value.extents[value.rank - rank :]))


def zeroed(ctx: Context, value: Padded) -> Any:
    """Zeros in all pad lanes, those of batch axes too: a solver must not meet what they hold."""
    return _zeroed(ctx, value).array


def _zeroed(ctx: Context, value: Padded) -> Padded:
    return ctx.mask(value, value.padded_axes, 0, "the solver would read them", strict=True)


def with_identity(ctx: Context, value: Padded) -> Any:
    """``with_diagonal`` of ones: diag(A, I)."""
    return with_diagonal(ctx, value, 1)


def with_diagonal(ctx: Context, value: Padded, diagonal: Any) -> Any:
    """``zeroed`` but for the diagonal of the pad block, and of matrices in pad lanes of the batch.

    Args:
      ctx: services.
      value: [..., n, n].
      diagonal: a number, or an array that broadcasts to [..., 1, N].
    """
    value = _zeroed(ctx, value)
    shape = value.array.shape
    rows, columns = (lax.broadcasted_iota(jnp.int32, shape, len(shape) - k) for k in (2, 1))
    pad = lax.bitwise_not(ctx.valid(value.extents, value.padded_axes))
    on_diagonal = lax.bitwise_and(lax.eq(rows, columns), pad)
    filler = jnp.broadcast_to(jnp.asarray(diagonal, value.array.dtype), shape)
    return lax.select(on_diagonal, filler, value.array)


# What a solver is given of an operand, with the operand's number of core axes.
Prepared = tuple[Padded, int, Callable[[Context, Padded], Any]]


def solved(ctx: Context, *operands: Prepared) -> list[Padded]:
    """Results of a solver of operands that are prepared each in its way, over a common batch."""
    values, ranks, prepare = zip(*operands, strict=True)
    values = align_batch(ctx, values, ranks)
    outs = ctx.bind(*(way(ctx, value) for way, value in zip(prepare, values, strict=True)))
    return results(ctx, outs, values[0].extents[: values[0].rank - ranks[0]])


def results(
    ctx: Context,
    outs: Sequence[Any],
    batch: Sequence[Extent],
    inexact: Mapping[int, Exception] = {},
) -> list[Padded]:
    """Outputs of a solver, cut down to N(d) on the axes behind the batch axes.

    Args:
      ctx: services.
      outs: the solver's outputs.
      batch: layouts of the batch axes.
      inexact: what to raise if something reads an output, by number.
    """
    cut = []
    for index, out in enumerate(outs):
        core = ctx.out_shape(index)[len(batch) :]
        sizes = (*out.shape[: len(batch)], *ctx.sizes(core))
        if index in inexact:
            out = Withheld(sizes, out.dtype, inexact[index])
        elif out.shape != sizes:
            out = lax.slice(out, (0,) * len(sizes), sizes)
        cut.append(Padded(out, (*batch, *((d,) for d in core))))
    return cut
