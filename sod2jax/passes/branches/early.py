"""Predicates that are known before the work that they choose."""

from __future__ import annotations

from sod2jax import _compat
from sod2jax._compat import Jaxpr
from sod2jax.ir.jaxprs import dependents, variables
from sod2jax.passes.branches.conds import is_cond
from sod2jax.passes.remark import Remark


def early_predicates(jaxpr: Jaxpr) -> tuple[Remark, ...]:
    """Recognises a program that decides all its branches before any of them runs.

    As a policy network does that chooses a network's blocks.
    """
    conds = list(filter(is_cond, jaxpr.eqns))
    if len(conds) < 2:
        return ()
    results = dependents(jaxpr.eqns, [var for eqn in conds for var in eqn.outvars])
    indices = set(variables([eqn.invars[0] for eqn in conds]))
    if not indices.isdisjoint(results):
        return ()
    return (
        Remark(
            f"recognised {len(indices)} predicates that are known before the branches they choose",
            _compat.source_line(conds[0]),
            f"none depends on the result of one of their {len(conds)} conds",
        ),
    )
