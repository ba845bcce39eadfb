"""Calls outside of the range that a function was optimized for: what to say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sod2jax.arguments.signature import Leaf
from sod2jax.errors import ShapeError
from sod2jax.ir import dims
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.tracing.regimes import Regime


def check(name: str, leaves: Sequence[Leaf], region: Region, sizes: Mapping[str, int]) -> None:
    """Raises where a call's sizes break a bound or a constraint.

    Raises:
      ShapeError: they do; the message names the argument and its axis.
    """
    for symbol, low, high in region.ranges:
        if sizes[symbol] < low or (high is not None and sizes[symbol] > high):
            raise ShapeError(_out_of_range(leaves, symbol, sizes[symbol], low, high))
    for constraint in region.constraints:
        if not constraint.holds(sizes):
            used = ", ".join(f"{n} = {sizes[n]}" for n in sorted(constraint.symbols))
            raise ShapeError(f"the call of {name} violates the constraint '{constraint}': {used}")


def empty(name: str, leaf: Leaf) -> str:
    """Says that an array of a call has no elements along an axis that varies."""
    return (
        f"'{leaf.name}' of {name} has the shape {leaf.aval.shape}: programs begin at size 1, so "
        "arrays without elements run with exact shapes; leave such calls out"
    )


def over_maximum(program: Program, sizes: Mapping[str, int]) -> str:
    """Says that a program computed a size above the maximum that was given with it."""
    shown = ", ".join(f"{n} = {size}" for n, size in sizes.items())
    remedy = "raise the maximum that was given with them, or leave it out"
    if any(size < 0 for size in sizes.values()):
        remedy = "the counts that make them must not be negative"
    return f"{program.name} computed the sizes {shown}, outside of {program.region}: {remedy}"


def _out_of_range(leaves: Sequence[Leaf], name: str, size: int, low: int, high: int | None) -> str:
    axes = [
        f"axis {axis} of '{leaf.name}'"
        for leaf in leaves
        for axis, dim in enumerate(leaf.shape)
        if name in dims.symbols_of(dim)
    ]
    if size < low:
        return (
            f"{axes[0]} makes '{name}' {size}, under its minimum of {low}: lower the bound in "
            f"constraints=('{name} >= {size}', ...)"
        )
    return (
        f"{axes[0]} makes '{name}' {size}, over its maximum of {high}: to allow it, raise the "
        f"bound in constraints=('{name} <= {size}', ...) or the largest of "
        f"buckets={{'{name}': ...}}, whichever sets it"
    )


def unsettled(name: str, regime: Regime, computed: Mapping[str, int]) -> str:
    """What is wrong where no program was made for the sizes that a run computed."""
    sizes = ", ".join(f"{symbol} = {size}" for symbol, size in computed.items())
    relied = "; ".join(map(str, regime.reasons)) or "nothing"
    return (
        f"no program was found for the sizes that {name} computed, {sizes}; the last one relied "
        f"on: {relied}"
    )
