"""Contractions: pad lanes along contracted axes must add nothing."""

from __future__ import annotations

from sod2jax._compat import JaxprEqn
from sod2jax.rewrite import padded
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.contraction import mask_contracted
from sod2jax.rewrite.padded import Fill, Padded, constant_fill


@register_pad_rule("dot_general")
def _dot_general(ctx: Context, eqn: JaxprEqn, lhs: Padded, rhs: Padded) -> list[Padded]:
    """Zeroes the pad lanes of contracted axes on both sides, or on one if the other is finite.

    Output axes: batch, then free axes of ``lhs``, then free axes of ``rhs``.
    """
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = eqn.params["dimension_numbers"]
    for i, j in zip((*lhs_contract, *lhs_batch), (*rhs_contract, *rhs_batch), strict=True):
        lhs, rhs = ctx.align([(lhs, i), (rhs, j)])
    lhs, rhs = mask_contracted(ctx, lhs, rhs, lhs_contract, rhs_contract)
    (out,) = ctx.bind(lhs.array, rhs.array)
    lhs_free = [k for k in range(lhs.rank) if k not in (*lhs_contract, *lhs_batch)]
    rhs_free = [k for k in range(rhs.rank) if k not in (*rhs_contract, *rhs_batch)]
    extents = (
        *(lhs.extents[k] for k in lhs_batch),
        *(lhs.extents[k] for k in lhs_free),
        *(rhs.extents[k] for k in rhs_free),
    )
    pairs = zip(lhs_batch, rhs_batch, strict=True)
    fills = {
        k: constant_fill(0)
        for k, (i, j) in enumerate(pairs)
        if padded.is_padded(extents[k]) and _gives_zero(lhs.fill(i), rhs.fill(j))
    }
    return [Padded(out, extents, fills)]


def _gives_zero(one: Fill, other: Fill) -> bool:
    """Whether products of what two pad lanes of a batch axis hold are zero."""
    known = [fill.is_known(0) and not fill.or_nan_row for fill in (one, other)]
    return all(known) or (known[0] and other.finite) or (known[1] and one.finite)


@register_pad_rule("ragged_dot_general")
def _ragged_dot_general(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Zeroes every pad lane of the matrices, and the sizes of pad groups.

    Groups may be multiplied as one dense product with zeros between them, where 0 * NaN would show.
    """
    lhs, rhs, sizes = (ctx.compact(p) for p in operands)
    lhs, rhs = (
        ctx.mask(p, range(p.rank), 0, "groups are multiplied side by side") for p in (lhs, rhs)
    )
    sizes = ctx.mask(sizes, range(sizes.rank), 0, "pad groups would claim rows")
    (out,) = ctx.bind(lhs.array, rhs.array, sizes.array)
    return [Padded.prefix(out, ctx.out_shape())]
