"""Upper bounds of sizes while a trace runs: those of its region, or such as it is given."""

from __future__ import annotations

from typing import Any

from sod2jax.ir import dims
from sod2jax.ir.region import bounds
from sod2jax.tracing import hooks

# Where a size has no upper bound, a program serves sizes up to the first of these that holds it.
_CAPS = (1 << 12, 1 << 16)


def most(dim: Any) -> int | None:
    """Upper bound of a size in the region of the trace."""
    return bounds(dims.from_jax(dim), hooks.active().region).high


def capped(dim: Any) -> int | None:
    """An upper bound that the region has, or is given; None for huge sizes."""
    known = most(dim)
    return known if known is not None else next((cap for cap in _CAPS if dim <= cap), None)
