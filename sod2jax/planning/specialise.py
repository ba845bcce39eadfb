"""A program with its executables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from sod2jax import pipeline
from sod2jax.buckets.bucket import Bucket
from sod2jax.buckets.ladders import Ladders
from sod2jax.ir.region import Region
from sod2jax.passes.cut import Part
from sod2jax.pipeline import Analysis
from sod2jax.planning.trust import Trust
from sod2jax.runtime.compile import Executable
from sod2jax.runtime.executables import Executables
from sod2jax.tracing.regimes import Regime


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Specialisation:
    """One program with its executables.

    Attributes:
      key: the tree, static arguments and regime that it serves.
      regime: the shapes it was traced for.
      analysis: the program and what is known of it.
      parts: the compiled buckets of each of its parts; there is one unless it is cut.
      trust: what confirms it.
    """

    key: Any
    regime: Regime
    analysis: Analysis
    parts: tuple[Executables, ...]
    trust: Trust

    @property
    def executables(self) -> Executables:
        """The compiled buckets of the program, or of its first part."""
        return self.parts[0]

    @property
    def ready(self) -> list[Executable]:
        """All that is compiled."""
        return [executable for part in self.parts for executable in part.ready]

    def buckets(self, first: Bucket) -> list[tuple[Executables, Bucket]]:
        """All buckets of all parts; where there is no end of them, ``first`` for the first part."""
        program = self.analysis.program
        region = program.region.where(program.guards)
        return [
            (executables, bucket)
            for k, executables in enumerate(self.parts)
            for bucket in executables.part.ladders.buckets or ((first,) if k == 0 else ())
            if _is_reachable(bucket, executables.part.ladders, region)
        ]

    def __repr__(self) -> str:
        return f"Specialisation({self.analysis.program!r}, {len(self.ready)} executables)"


def specialise(
    key: Any,
    regime: Regime,
    analysis: Analysis,
    trust: Trust,
    max_executables: int,
    built: Callable[[Executable], None],
    donated: tuple[bool, ...] = (),
) -> Specialisation:
    """A program with executables to be compiled on demand.

    Args:
      key: the tree, static arguments and regime that it serves.
      regime: the shapes it was traced for.
      analysis: the program and what is known of it.
      trust: what confirms it.
      max_executables: how many to keep of each part.
      built: is told of each executable.
      donated: for each array of a call, whether it is consumed. Where sizes are computed, another
        program may have to read it again.
    """
    consumed = () if analysis.program.computed_dims else donated

    def executables(part: Part, foreign: bool) -> Executables:
        def build(bucket: Bucket) -> Executable:
            executable = trust.compiled(
                lambda beside: pipeline.compile_part(
                    part, bucket, analysis, beside, foreign, consumed
                ),
                part.program.constants,
            )
            built(executable)
            return executable

        other = None if foreign or not analysis.relies_on_zeros else executables(part, True)
        return Executables(part, build, max(max_executables, len(part.ladders.buckets)), other)

    parts = tuple(executables(part, foreign=False) for part in analysis.parts)
    return Specialisation(key, regime, analysis, parts, trust)


def _is_reachable(bucket: Bucket, ladders: Ladders, region: Region) -> bool:
    """Whether a call can need a bucket: other sizes, and decisions, may bound a size in it."""
    lowest = {}
    for name, ladder in ladders.sizes:
        smaller = [size for size in ladder or () if size < bucket[name]]
        lowest |= {name: smaller[-1] + 1} if smaller else {}
    return not region.below(bucket, lowest).is_empty
