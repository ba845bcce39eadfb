"""Masks for what is multiplied and summed up."""

from __future__ import annotations

from collections.abc import Sequence

from sod2jax.rewrite.context import Context
from sod2jax.rewrite.padded import Padded

_REASON = "the contraction would add them up"


def mask_contracted(
    ctx: Context, lhs: Padded, rhs: Padded, lhs_axes: Sequence[int], rhs_axes: Sequence[int]
) -> tuple[Padded, Padded]:
    """Makes every product in a pad lane zero: 0 * NaN is NaN, so one zero side is not enough.

    A side whose pad lanes are zero suffices where the other side's are finite.
    """
    on_lhs, on_rhs = [], []
    for i, j in zip(lhs_axes, rhs_axes, strict=True):
        zero_rhs = not (rhs.fill(j).finite and lhs.fill(i).is_known(0))
        if zero_rhs:
            on_rhs.append(j)
        if not lhs.fill(i).finite or not (zero_rhs or rhs.fill(j).is_known(0)):
            on_lhs.append(i)
    return ctx.mask(lhs, on_lhs, 0, _REASON), ctx.mask(rhs, on_rhs, 0, _REASON)
