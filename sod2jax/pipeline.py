"""The whole compiler, stage by stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sod2jax import classify, passes, rdp
from sod2jax.arguments.signature import Leaf
from sod2jax.buckets import bucket
from sod2jax.buckets.bucket import Bucket, Ladders
from sod2jax.classify import Summary
from sod2jax.ir.comparisons import NOTHING_KNOWN, Known, Undecided
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.passes import Remark, cut
from sod2jax.passes.cut import Part
from sod2jax.runtime.compile import Executable, compile_bucket
from sod2jax.tracing.generalise import unify
from sod2jax.tracing.trace import trace


@dataclasses.dataclass(frozen=True, eq=False)
class AnalysedPart:
    """A part of a program, all of it if it was not cut, and what is known of it.

    Attributes:
      part: the piece of the program.
      facts: what Rank and Dimension Propagation found.
      ladders: the sizes that its buckets are made of.
    """

    part: Part
    facts: rdp.Facts
    ladders: Ladders

    def compile(self, chosen: Bucket) -> Executable:
        """Rewrites, lowers and compiles one bucket.

        Raises:
          UnsupportedPrimitiveError: a primitive has no exact padded form.
        """
        whole = self.part.program
        region = chosen.part_of(whole.region)
        program, facts, changes = passes.in_region(whole, self.facts, region)
        built = compile_bucket(program, chosen, facts.value_range, whole.constants)
        return dataclasses.replace(built, changes=changes)


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
    """A traced program with everything that is known before a bucket is compiled.

    Attributes:
      program: the symbolic program.
      classes: its operators by class, its dimensions by kind.
      facts: what Rank and Dimension Propagation found.
      changes: what the passes did to it.
      ladders: the sizes that buckets are made of.
      parts: the program cut where it measures sizes; itself in one part if it is not cut.
    """

    program: Program
    classes: Summary
    facts: rdp.Facts
    changes: tuple[Remark, ...]
    ladders: Ladders
    parts: tuple[AnalysedPart, ...]

    def __str__(self) -> str:
        return f"{self.program}\n{self.classes}"


def analyse(
    fun: Callable[..., Any],
    arguments: Sequence[Any],
    leaves: Sequence[Leaf],
    region: Region,
    *,
    name: str,
    buckets: Mapping[str, tuple[int, ...]],
    max_executables: int,
    cut_sizes: str = "auto",
    cause: Exception | None = None,
    known: Known = NOTHING_KNOWN,
) -> Analysis | Undecided:
    """Traces a function once, classifies its operators, propagates dimensions, transforms.

    The buckets are chosen for the region, and where sizes decide conds also for those.

    With a ``cause`` why there is no symbolic trace, it is unified from traces at concrete sizes.

    Returns:
      The analysis; or where the trace stopped, if some sizes of the region decide otherwise.

    Raises:
      TraceError: the function cannot be traced with symbolic dimensions.
      SpecError: the buckets asked for do not fit the specs.
    """
    ladders = bucket.choose(region, buckets, max_executables)
    if cause is None:
        program = trace(fun, arguments, leaves, region, name, known=known)
    else:
        program = unify(fun, arguments, leaves, region, name, cause)
    if isinstance(program, Undecided):
        return program
    classes = classify.summarize(program.jaxpr, program.data_dependent)
    facts = rdp.analyse(program.jaxpr, program.region, program.data_dependent)
    program, facts, changes = passes.transform(program, facts)
    edges = passes.deciding_sizes(program, facts)
    if edges:
        ladders = bucket.choose(region, buckets, max_executables, edges)
    cuts, reasons = cut.places(program, ladders, cut_sizes, max_executables)
    parts = _parts(program, facts, ladders, max_executables, cuts)
    return Analysis(program, classes, facts, (*changes, *reasons), ladders, parts)


def _parts(
    program: Program,
    facts: rdp.Facts,
    ladders: Ladders,
    max_executables: int,
    cuts: frozenset[str],
) -> tuple[AnalysedPart, ...]:
    if not cuts:
        return (AnalysedPart(cut.whole(program), facts, ladders),)
    found = []
    for part in cut.cut(program, cuts):
        piece = part.program
        known = piece.region.restricted(piece.symbols)
        ladders = bucket.extended(ladders, known, max_executables)
        found.append(
            AnalysedPart(
                part, rdp.analyse(piece.jaxpr, piece.region, piece.data_dependent), ladders
            )
        )
    return tuple(found)
