"""Symbolic program to symbolic program: what pays at every size, before anything is padded.

Each pass takes a program with what Rank and Dimension Propagation knows of it, and gives a program
that computes the same; any of them can be left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from sod2jax import rdp
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.passes.branches.collapse import collapse, collapse_in_bucket
from sod2jax.passes.branches.conds import has_cond
from sod2jax.passes.branches.decide import decide
from sod2jax.passes.branches.deciding_sizes import DecidingSizes
from sod2jax.passes.gates.compact import compact_gates
from sod2jax.passes.remark import Remark as Remark
from sod2jax.target import Target

__all__ = ["PASSES", "Remark", "deciding_sizes", "in_region", "transform"]

Pass = Callable[[Program, rdp.Facts, Target], tuple[Program, tuple[Remark, ...]]]

PASSES: tuple[Pass, ...] = (decide, collapse, compact_gates)
"""In the order in which they run."""


def transform(
    program: Program, facts: rdp.Facts, target: Target
) -> tuple[Program, rdp.Facts, tuple[Remark, ...]]:
    """Runs every pass; the facts are found anew after a pass that changed something.

    Returns:
      The program, its facts, and what was done to it or considered, with reasons.
    """
    return _run(PASSES, program, facts, target)


def _run(
    passes: tuple[Pass, ...], program: Program, facts: rdp.Facts, target: Target
) -> tuple[Program, rdp.Facts, tuple[Remark, ...]]:
    remarks: list[Remark] = []
    for run in passes:
        transformed, said = run(program, facts, target)
        remarks += said
        if transformed is not program:
            program, facts = transformed, rdp.analyse_program(transformed)
    return program, facts, tuple(remarks)


def deciding_sizes(program: Program, facts: rdp.Facts) -> Mapping[str, tuple[int, ...]]:
    """The bounded symbols that decide conds, with the last size before each change of branch.

    Buckets that end there, and know where they begin, hold one branch only.
    """
    return DecidingSizes(program, facts).edges if has_cond(program.jaxpr) else {}


def in_region(
    program: Program, facts: rdp.Facts, region: Region, target: Target
) -> tuple[Program, rdp.Facts, tuple[Remark, ...]]:
    """The program for the sizes that one executable serves: conds that they decide are gone."""
    if not has_cond(program.jaxpr) or not DecidingSizes(program, facts).indices:
        return program, facts, ()
    part = dataclasses.replace(program, region=region)
    return _run((decide, collapse_in_bucket), part, rdp.analyse_program(part), target)
