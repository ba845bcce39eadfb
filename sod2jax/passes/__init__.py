"""Symbolic program to symbolic program: what pays at every size, before anything is padded.

Each pass takes a program with what Rank and Dimension Propagation knows of it, and gives a program
that computes the same; any of them can be left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from sod2jax import rdp
from sod2jax.passes.change import Change as Change
from sod2jax.passes.collapse import collapse, collapse_in_bucket
from sod2jax.passes.decide import decide
from sod2jax.passes.gates import compact_gates
from sod2jax.passes.sizes import Sizes
from sod2jax.passes.surgery import has_cond
from sod2jax.program import Program
from sod2jax.region import Region

__all__ = ["PASSES", "Change", "deciding_sizes", "in_area", "transform"]

Pass = Callable[[Program, rdp.Facts], tuple[Program, tuple[Change, ...]]]

PASSES: tuple[Pass, ...] = (decide, collapse, compact_gates)
"""In the order in which they run."""


def transform(program: Program, facts: rdp.Facts) -> tuple[Program, rdp.Facts, tuple[Change, ...]]:
    """Runs every pass; the facts are found anew after a pass that changed something.

    Returns:
      The program, its facts, and what was done to it or considered, with reasons.
    """
    return _run(PASSES, program, facts)


def _run(
    passes: tuple[Pass, ...], program: Program, facts: rdp.Facts
) -> tuple[Program, rdp.Facts, tuple[Change, ...]]:
    changes: list[Change] = []
    for run in passes:
        transformed, done = run(program, facts)
        changes += done
        if transformed is not program:
            program, facts = transformed, _facts(transformed)
    return program, facts, tuple(changes)


def _facts(program: Program) -> rdp.Facts:
    return rdp.analyse(program.jaxpr, program.region, program.value_symbols)


def deciding_sizes(program: Program, facts: rdp.Facts) -> Mapping[str, tuple[int, ...]]:
    """The bounded symbols that decide conds, with the last size before each change of branch.

    Buckets that end there, and know where they begin, hold one branch only.
    """
    return Sizes(program, facts).edges if has_cond(program.jaxpr) else {}


def in_area(
    program: Program, facts: rdp.Facts, area: Region
) -> tuple[Program, rdp.Facts, tuple[Change, ...]]:
    """The program for the sizes that one executable serves: conds that they decide are gone."""
    if not has_cond(program.jaxpr) or not Sizes(program, facts).indices:
        return program, facts, ()
    part = dataclasses.replace(program, region=area)
    return _run((decide, collapse_in_bucket), part, _facts(part))
