"""The whole compiler, stage by stage."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from sod2jax import _compat, classify, passes, rdp
from sod2jax.buckets.bucket import Bucket
from sod2jax.buckets.choose import choose
from sod2jax.buckets.ladders import Ladders
from sod2jax.classify import Summary
from sod2jax.errors import MemoryLimitError, UnsupportedPrimitiveError
from sod2jax.ir import silence
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.program import Program
from sod2jax.ir.vocabulary import CALLBACKS
from sod2jax.memory import MemoryPlan, plan_memory
from sod2jax.options import Options
from sod2jax.passes import bases, collectives, cut
from sod2jax.passes.cut import Part
from sod2jax.passes.growth import first_sizes
from sod2jax.passes.remark import Remark
from sod2jax.places import ANYWHERE, Places
from sod2jax.runtime.compile import Executable, compile_bucket
from sod2jax.runtime.static import Static, static_program
from sod2jax.target import Target

_HALVINGS = 5  # of the sizes of a bucket that needs too much memory


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
      tune: how much is spent on finding the best version of each bucket.
      deep_poison: whether its values get poison in the pad lanes that nothing is known of.
      relies_on_zeros: whether executables rely on the zeros that the dispatcher pads inputs with.
      compiler_options: the user's, for XLA.
      memory_limit: bytes that each executable may need; None for any number.
      places: where its arrays lie.
    """

    program: Program
    classes: Summary
    facts: rdp.Facts
    remarks: tuple[Remark, ...]
    ladders: Ladders
    parts: tuple[Part, ...]
    target: Target
    tune: str
    deep_poison: bool = False
    relies_on_zeros: bool = True
    compiler_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    memory_limit: int | None = None
    places: Places = ANYWHERE

    def __str__(self) -> str:
        return f"{self.program}\n{self.classes}"

    def __repr__(self) -> str:
        return f"Analysis({self.program!r}, {len(self.parts)} parts)"


def analyse(
    program: Program, options: Options, target: Target, places: Places = ANYWHERE
) -> Analysis:
    """From a traced program to its parts: classifies, propagates, transforms, chooses, cuts.

    The buckets are chosen for the region, and where sizes decide conds also for those.

    Raises:
      UnsupportedPrimitiveError: a primitive has no operator class, or it calls Python in a run that
        may not count.
      SpecError: the buckets asked for do not fit the specs.
    """
    _check_calls(program)
    program = bases.freed(collectives.reduced(program))
    region, most = program.region.restricted(program.bucket_symbols), options.max_executables
    classes = classify.summarise(program.jaxpr, program.data_dependent)
    program, facts, remarks = passes.transform(program, rdp.analyse_program(program), target)
    edges = {n: e for n, e in passes.deciding_sizes(program, facts).items() if n in region.names}
    starts = first_sizes(program, facts, region, target)
    ladders = choose(region, options.buckets, most, edges, starts)
    names, reasons = cut.places(program, ladders, options.cut, most, target)
    parts = cut.cut(program, facts, ladders, names, most)
    made = (*remarks, *reasons)
    return Analysis(
        program,
        classes,
        facts,
        made,
        ladders,
        parts,
        target,
        options.tune,
        deep_poison=options.poison in ("deep", "inside"),
        relies_on_zeros=not options.poisons_inputs,
        compiler_options=options.jit.compiler_options or {},
        memory_limit=options.memory_limit,
        places=places if len(parts) == 1 else places.of_parts,
    )


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
    part: Part,
    chosen: Bucket,
    analysis: Analysis,
    beside: Callable[[], None] | None = None,
    foreign: bool = False,
    donated: tuple[bool, ...] = (),
) -> Executable:
    """Decides what the bucket's sizes decide, rewrites, lowers and compiles.

    ``beside`` is what this thread does while XLA compiles; ``foreign`` says that inputs may be
    padded with anything; ``donated``, of the first inputs, whether they are consumed.

    Raises:
      MemoryLimitError: it would need more memory than it may.
      UnsupportedPrimitiveError: a primitive has no exact padded form.
    """
    start = time.perf_counter()
    beside = beside and _compat.under_present_mesh(beside)
    zeroed = () if foreign or not analysis.relies_on_zeros else part.own
    with _compat.untyped_context(), _compat.under(analysis.places.mesh):
        static, remarks = _static(part, chosen, analysis, zeroed, donated)
        rewriting = time.perf_counter() - start
        try:
            built = compile_bucket(
                static,
                analysis.tune,
                beside,
                zeroed,
                analysis.compiler_options,
                analysis.memory_limit,
            )
        except MemoryLimitError as error:
            largest = _largest(part, chosen, analysis, error)
            where = f" in the bucket of {chosen}; {largest}"
            raise MemoryLimitError(error.needed, error.limit, where) from None
    return dataclasses.replace(
        built, remarks=(*remarks, *built.remarks), seconds=rewriting + built.seconds
    )


def _largest(part: Part, chosen: Bucket, analysis: Analysis, error: MemoryLimitError) -> str:
    """What to say of sizes that would keep to the limit: by plans of smaller and smaller buckets.

    All sizes shrink alike; a plan counts as much more as XLA needs than it says of the bucket.
    """

    def expected(bucket: Bucket) -> int:
        static, _ = _static(part, bucket, analysis, (), ())
        version = [static.plain, *static.leaner()][-1]
        return plan_memory(version.jaxpr, bucket=bucket, target=analysis.target).peak_bytes

    rate = error.needed / expected(chosen)
    low, high, best = 0.0, 1.0, None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        sizes = {name: max(1, int(size * middle)) for name, size in chosen.items()}
        region = part.program.region
        is_served = all(size >= region.range(name)[0] for name, size in sizes.items())
        if is_served and rate * expected(Bucket.of(sizes)) > error.limit:
            high = middle
            continue
        low, best = middle, Bucket.of(sizes) if is_served else best
    return "no smaller one fits either" if best is None else f"sizes up to about {best} fit"


def plan_part(part: Part, chosen: Bucket, analysis: Analysis) -> MemoryPlan:
    """The memory that a bucket is expected to need, before anything is compiled.

    Raises:
      UnsupportedPrimitiveError: a primitive has no exact padded form.
    """
    with _compat.untyped_context(), _compat.under(analysis.places.mesh):
        zeroed = part.own if analysis.relies_on_zeros else ()
        static, _ = _static(part, chosen, analysis, zeroed, ())
        version = next(static.versions(analysis.tune))
    return plan_memory(version.jaxpr, bucket=chosen, target=analysis.target)


def _static(
    part: Part,
    chosen: Bucket,
    analysis: Analysis,
    zeroed: tuple[bool, ...],
    donated: tuple[bool, ...],
) -> tuple[Static, tuple[Remark, ...]]:
    """What a bucket runs, before it is compiled; and what its sizes decided."""
    region, target = chosen.part_of(part.program.region), analysis.target
    program, facts, remarks = passes.in_region(part.program, part.facts, region, target)
    static = static_program(
        program,
        chosen,
        facts.value_range,
        part.program.constants,
        target,
        analysis.deep_poison,
        zeroed,
        donated,
        analysis.places.automatic,
    )
    return static, remarks


def compile_silent(
    program: Program,
    bucket: Bucket,
    options: Options,
    target: Target,
    places: Places = ANYWHERE,
) -> Executable:
    """A bucket of a program without its pure callbacks, as it is."""
    silent = dataclasses.replace(program, jaxpr=silence.silent(program.jaxpr))
    analysis = analyse(silent, dataclasses.replace(options, tune="none"), target, places)
    return compile_part(analysis.parts[0], bucket, analysis)
