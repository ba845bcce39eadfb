"""Symbolic program to symbolic program: what pays at every size, before anything is padded.

Each pass takes a program with what Rank and Dimension Propagation knows of it, and gives a program
that computes the same; any of them can be left out.
"""

from __future__ import annotations

from collections.abc import Callable

from sod2jax import rdp
from sod2jax.passes.change import Change as Change
from sod2jax.passes.gates import compact_gates
from sod2jax.program import Program

__all__ = ["PASSES", "Change", "transform"]

Pass = Callable[[Program, rdp.Facts], tuple[Program, tuple[Change, ...]]]

PASSES: tuple[Pass, ...] = (compact_gates,)
"""In the order in which they run."""


def transform(program: Program, facts: rdp.Facts) -> tuple[Program, rdp.Facts, tuple[Change, ...]]:
    """Runs every pass; the facts are found anew after a pass that changed something.

    Returns:
      The program, its facts, and what was done to it or considered, with reasons.
    """
    changes: list[Change] = []
    for run in PASSES:
        transformed, done = run(program, facts)
        changes += done
        if transformed is not program:
            program, facts = transformed, rdp.analyse(transformed.jaxpr, transformed.region)
    return program, facts, tuple(changes)
