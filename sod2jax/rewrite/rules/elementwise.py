"""Primitives whose every output lane depends on the same lane of their operands."""

from __future__ import annotations

from sod2jax._compat import JaxprEqn
from sod2jax.ir.vocabulary import CASTS, COPIES, ELEMENTWISE
from sod2jax.rewrite import fills
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.layouts import align_axes, broadcast_extents
from sod2jax.rewrite.padded import Padded


@register_pad_rule(*(ELEMENTWISE | CASTS | COPIES))
def _elementwise(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Binds the primitive as it is: garbage in pad lanes stays in pad lanes."""
    operands = align_axes(ctx, operands)
    extents = broadcast_extents(operands)
    (out,) = ctx.bind(*(p.array for p in operands))
    facts = fills.elementwise(eqn.primitive.name, operands, extents, out.dtype)
    return [Padded(out, extents, **facts)]


@register_pad_rule("bitcast_convert_type")
def _bitcast_convert_type(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Binds the primitive; a change of width adds or drops a last axis without pad lanes."""
    (out,) = ctx.bind(operand.array)
    kept = min(operand.rank, out.ndim)
    added = [(size,) for size in out.shape[kept:]]
    return [Padded(out, (*operand.extents[:kept], *added))]
