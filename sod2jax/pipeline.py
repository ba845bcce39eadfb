"""The whole compiler, stage by stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from sod2jax import _compat, classify, passes, rdp
from sod2jax.buckets.bucket import Bucket
from sod2jax.buckets.choose import choose
from sod2jax.buckets.ladders import Ladders
from sod2jax.classify import Summary
from sod2jax.errors import UnsupportedPrimitiveError
from sod2jax.ir import silence
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.program import Program
from sod2jax.ir.vocabulary import CALLBACKS
from sod2jax.options import Options
from sod2jax.passes import collectives, cut
from sod2jax.passes.cut import Part
from sod2jax.passes.remark import Remark
from sod2jax.runtime.compile import Executable, compile_bucket
from sod2jax.target import Target


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Analysis:
    """A traced program with everything that is known before a bucket is compiled.

    Attributes:
      program: the symbolic program.
      classes: its operators by class, its dimensions by kind.
      facts: what Rank and Dimension Propagation says of it.
      remarks: what the passes did to it.
      ladders: the sizes that buckets are made of.
      parts: the program cut where it computes sizes; itself in one part if it is not cut.
      target: what it was transformed for, and is compiled for.
    """

    program: Program
    classes: Summary
    facts: rdp.Facts
    remarks: tuple[Remark, ...]
    ladders: Ladders
    parts: tuple[Part, ...]
    target: Target

    def __str__(self) -> str:
        return f"{self.program}\n{self.classes}"

    def __repr__(self) -> str:
        return f"Analysis({self.program!r}, {len(self.parts)} parts)"


def analyse(program: Program, options: Options, target: Target) -> Analysis:
    """From a traced program to its parts: classifies, propagates, transforms, chooses, cuts.

    The buckets are chosen for the region, and where sizes decide conds also for those.

    Raises:
      UnsupportedPrimitiveError: a primitive has no operator class, or it calls Python in a run that
        may not count.
      SpecError: the buckets asked for do not fit the specs.
    """
    _check_calls(program)
    program = collectives.reduced(program)
    region, most = program.region.restricted(program.bucket_symbols), options.max_executables
    classes = classify.summarise(program.jaxpr, program.data_dependent)
    program, facts, remarks = passes.transform(program, rdp.analyse_program(program), target)
    edges = {n: e for n, e in passes.deciding_sizes(program, facts).items() if n in region.names}
    ladders = choose(region, options.buckets, most, edges)
    names, reasons = cut.places(program, ladders, options.cut, most, target)
    parts = cut.cut(program, facts, ladders, names, most)
    return Analysis(program, classes, facts, (*remarks, *reasons), ladders, parts, target)


def _check_calls(program: Program) -> None:
    """Refuses effects on the host where a run is discarded if it computes unexpected sizes."""
    if not any(guard.symbols & program.data_dependent for guard in program.guards):
        return
    for eqn in equations(program.jaxpr):
        if eqn.effects and eqn.primitive.name in CALLBACKS:
            raise UnsupportedPrimitiveError(
                eqn.primitive.name,
                _compat.source_line(eqn),
                "it would be called again where sizes that the program computes turn out other "
                "than assumed; call it outside the optimized function",
            )


def compile_part(
    part: Part, chosen: Bucket, target: Target, beside: Callable[[], None] | None = None
) -> Executable:
    """Decides what the bucket's sizes decide, rewrites, lowers and compiles.

    ``beside`` is what this thread does while XLA compiles.

    Raises:
      UnsupportedPrimitiveError: a primitive has no exact padded form.
    """
    region = chosen.part_of(part.program.region)
    program, facts, remarks = passes.in_region(part.program, part.facts, region, target)
    built = compile_bucket(
        program, chosen, facts.value_range, part.program.constants, target, beside
    )
    return dataclasses.replace(built, remarks=remarks)


def compile_silent(
    program: Program, bucket: Bucket, options: Options, target: Target
) -> Executable:
    """A bucket of a program without its pure callbacks."""
    silent = dataclasses.replace(program, jaxpr=silence.silent(program.jaxpr))
    return compile_part(analyse(silent, options, target).parts[0], bucket, target)
