"""Cumulative reductions: a lane must not see the pad lanes before it."""

from __future__ import annotations

from sod2jax._compat import JaxprEqn
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.monoids import IDENTITY
from sod2jax.rewrite.padded import Padded, is_prefix

_MONOIDS = {
    "cumsum": "sum",
    "cumprod": "prod",
    "cummax": "max",
    "cummin": "min",
    "cumlogsumexp": "max",  # its identity is -inf, too
}


@register_pad_rule(*_MONOIDS)
def _cumulative(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Forward along a prefix axis, pad lanes come after every true lane and are never seen.

    In reverse, or with pad lanes in between, they hold the identity.
    """
    axis, monoid = eqn.params["axis"], _MONOIDS[eqn.primitive.name]
    if eqn.params["reverse"] or not is_prefix(operand.extents[axis]):
        fill = IDENTITY[monoid](operand.array.dtype)
        operand = ctx.mask(operand, (axis,), fill, "true lanes after them would count them")
    (out,) = ctx.bind(operand.array)
    return [Padded(out, operand.extents)]
