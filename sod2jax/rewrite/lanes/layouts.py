"""Layouts that several values share, and axes in another order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jax import lax

from sod2jax.rewrite.context import Context
from sod2jax.rewrite.padded import Extent, Padded


def align_axes(
    ctx: Context, values: Sequence[Padded], axes: Iterable[int] | None = None
) -> tuple[Padded, ...]:
    """Gives values one layout on each of ``axes`` (all by default).

    Scalars and axes of size 1 broadcast: they have no say, and stay as they are.
    """
    aligned = list(values)
    for axis in range(max(p.rank for p in values)) if axes is None else axes:
        wide = [k for k, p in enumerate(aligned) if axis < p.rank and p.extents[axis] != (1,)]
        if not wide:
            continue
        for k, p in zip(wide, ctx.align([(aligned[k], axis) for k in wide]), strict=True):
            aligned[k] = p
    return tuple(aligned)


def broadcast_extents(values: Sequence[Padded]) -> tuple[Extent, ...]:
    """Layout of the result of aligned values."""
    rank = max(p.rank for p in values)
    columns = zip(*(p.extents for p in values if p.rank == rank), strict=True)
    return tuple(next((e for e in column if e != (1,)), (1,)) for column in columns)


def transposed(value: Padded, permutation: Sequence[int]) -> Padded:
    """The value with its axes permuted and, with them, what is known of their pad lanes."""
    array = lax.transpose(value.array, permutation)
    extents = [value.extents[axis] for axis in permutation]
    return value.with_array(array, extents, value.fills_from(permutation))
