"""Where the ladders begin that grow on demand."""

from __future__ import annotations

from collections.abc import Mapping

from sod2jax import rdp
from sod2jax.buckets.ladders import SMALLEST
from sod2jax.cost.count import Counter
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.target import Target

_NEGLIGIBLE = 1e-4  # seconds, about what it takes to dispatch a call
_OTHERS = 64  # stands for the sizes of other symbols


def first_sizes(
    program: Program, facts: rdp.Facts, region: Region, target: Target
) -> Mapping[str, int]:
    """The smallest bucket of each symbol that grows: what all sizes below it may run in.

    That is 16 if a size of 1 can be padded to it and nobody notices, so that fewer executables
    are compiled; otherwise the largest power of two of which that is true.
    """
    ends = {name: high for name, _, high in region.ranges}
    grown = [name for name in ends if name in region.open or ends[name] is None]
    if not grown:
        return {}
    cost = Counter(facts.value_range).jaxpr(program.jaxpr)
    usual = {name: min(_OTHERS, high or _OTHERS) for name, _, high in program.region.ranges}

    def seconds(name: str, size: int) -> float:
        return cost.at(usual | {name: size}).seconds(target)

    powers = [1 << k for k in range(SMALLEST.bit_length())]
    return {
        name: max(p for p in powers if seconds(name, p) - seconds(name, 1) <= _NEGLIGIBLE)
        for name in grown
    }
