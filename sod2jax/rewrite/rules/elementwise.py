"""Primitives whose every output lane depends on the same lane of their operands."""

from __future__ import annotations

from sod2jax._compat import JaxprEqn
from sod2jax.ir.vocabulary import CASTS, COPIES, ELEMENTWISE
from sod2jax.rewrite import fills
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import Extent, Padded


@register_pad_rule(*(ELEMENTWISE | CASTS | COPIES))
def _elementwise(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Binds the primitive as it is: garbage in pad lanes stays in pad lanes."""
    operands = align(ctx, operands)
    extents = broadcast_extents(operands)
    (out,) = ctx.bind(*(p.array for p in operands))
    known = fills.elementwise(eqn.primitive.name, operands, extents, out.dtype)
    return [Padded(out, extents, **known)]


@register_pad_rule("bitcast_convert_type")
def _bitcast_convert_type(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Binds the primitive; a change of width adds or drops a last axis without pad lanes."""
    (out,) = ctx.bind(operand.array)
    kept = min(operand.rank, out.ndim)
    added = [(size,) for size in out.shape[kept:]]
    return [Padded(out, (*operand.extents[:kept], *added))]


def align(ctx: Context, operands: tuple[Padded, ...]) -> tuple[Padded, ...]:
    """Gives operands one layout on every axis; scalars and axes of size 1 broadcast."""
    rank = max(p.rank for p in operands)
    aligned = list(operands)
    for axis in range(rank):
        wide = [k for k, p in enumerate(aligned) if p.rank == rank and p.extents[axis] != (1,)]
        if not wide:
            continue
        for k, p in zip(wide, ctx.unify([(aligned[k], axis) for k in wide]), strict=True):
            aligned[k] = p
    return tuple(aligned)


def broadcast_extents(operands: tuple[Padded, ...]) -> tuple[Extent, ...]:
    """Layout of the result of aligned operands."""
    rank = max(p.rank for p in operands)
    columns = zip(*(p.extents for p in operands if p.rank == rank), strict=True)
    return tuple(next((e for e in column if e != (1,)), (1,)) for column in columns)
