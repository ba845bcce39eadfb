"""Predicates that are known before the work that they choose."""

from __future__ import annotations

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.cost import Cost, Counter
from sod2jax.ir.region import Region
from sod2jax.passes.branches.sink import typical_sizes
from sod2jax.passes.branches.surgery import dependents, is_cond, variables
from sod2jax.passes.remark import Remark


def early_predicates(jaxpr: Jaxpr, counter: Counter, region: Region) -> tuple[Remark, ...]:
    """Recognises a program that decides all its branches before any of them runs.

    As a policy network does that chooses a network's blocks.
    """
    conds = [eqn for eqn in jaxpr.eqns if is_cond(eqn)]
    if len(conds) < 2:
        return ()
    results = dependents(jaxpr.eqns, [var for eqn in conds for var in eqn.outvars])
    indices = set(variables([eqn.invars[0] for eqn in conds]))
    if indices & results:
        return ()
    sizes = typical_sizes(region)
    guarded = sum((_most(eqn, counter) for eqn in conds), Cost()).at(sizes)
    whole = counter.jaxpr(jaxpr).at(sizes)
    at = ", ".join(f"{name}={size}" for name, size in sizes.items())
    share = 100 * int(guarded.flops) / max(int(whole.flops), 1)
    return (
        Remark(
            f"recognised {len(indices)} predicates that are known before the branches they choose",
            _compat.source_line(conds[0]),
            f"none depends on the result of a branch; their {len(conds)} conds guard up to "
            f"{guarded.flops:,} of {whole.flops:,} flops ({share:.0f} %)"
            + (f" at {at}" if at else ""),
        ),
    )


def _most(eqn: JaxprEqn, counter: Counter) -> Cost:
    first, *rest = map(counter.jaxpr, eqn.params["branches"])
    for cost in rest:
        first = first.most(cost)
    return first
