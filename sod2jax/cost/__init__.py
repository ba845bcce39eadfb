"""Counted work of a symbolic program: flops and bytes as polynomials in its dimensions.

A flop is one arithmetic operation on one element, a comparison, selection or conversion included; a
transcendental function is one, too (XLA's ``cost_analysis`` counts those apart: ``Cost.flops`` is
its "flops" plus its "transcendentals"). Moving elements costs none.

Bytes follow a simple picture of fusion. A value is in memory if it is an input or an output, is
made by a primitive that does not fuse, or is read by one that needs whole arrays; it is written
once, and read once by each kernel, which is a set of equations joined by values not in memory.

A ``cond`` counts its most expensive branch, a loop all its iterations. A ``while`` whose trip count
is not known counts as one iteration, and ``Cost.assumed`` says where.
"""

from __future__ import annotations

from sod2jax.cost.cost import Cost as Cost
from sod2jax.cost.count import Counter as Counter
from sod2jax.cost.formulas import size_of as size_of

__all__ = ["Cost", "Counter", "size_of"]
