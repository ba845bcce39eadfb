"""Rank and Dimension Propagation (after SoD², arXiv 2403.00176) over symbolic jaxprs."""

from __future__ import annotations

from collections.abc import Sequence

from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.rdp import rules as rules
from sod2jax.rdp.engine import propagate
from sod2jax.rdp.facts import Facts as Facts
from sod2jax.rdp.facts import ValueRange as ValueRange
from sod2jax.rdp.rule import LocalRule, Places, rule_of

__all__ = ["Facts", "ValueRange", "analyse", "analyse_program", "lanes_of"]


def analyse(jaxpr: Jaxpr, region: Region, data_dependent: frozenset[str] = frozenset()) -> Facts:
    """Facts about every value of a symbolic program: shape, integer values, flow and demand.

    Args:
      jaxpr: ``jax.jit(f).trace(*specs).jaxpr`` of specs with ``jax.export`` dimensions.
      region: the sizes that facts must hold for; a symbol without an upper bound is taken to stay
        below 2**31.
      data_dependent: symbols whose size is known only after part of the program ran; dimensions
        with one of them are NAC.

    Raises:
      InvariantError: a rule contradicts JAX's own shape inference (a bug in sod2jax).
    """
    return propagate(jaxpr, region, data_dependent, rule_of)


def analyse_program(program: Program) -> Facts:
    """The facts of a program, over its own region."""
    return analyse(program.jaxpr, program.region, program.data_dependent)


def lanes_of(eqn: JaxprEqn) -> Sequence[Places]:
    """For each operand of an equation, the axis of the results that each of its axes becomes.

    Lane for lane; None where lanes mix, or where nothing is known.
    """
    rule = rule_of(eqn)
    if isinstance(rule, LocalRule):
        return rule.lanes(eqn)
    return [(None,) * len(getattr(atom.aval, "shape", ())) for atom in eqn.invars]
