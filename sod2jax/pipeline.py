"""The whole compiler, stage by stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sod2jax import bucket, classify, passes, rdp
from sod2jax.bucket import Bucket, Ladders
from sod2jax.classify import Summary
from sod2jax.compile import Executable, compile_bucket
from sod2jax.guards import Undecided
from sod2jax.passes import Change
from sod2jax.program import Program
from sod2jax.region import Region
from sod2jax.signature import Leaf
from sod2jax.trace import trace
from sod2jax.unify import unify


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
    """A traced program with everything that is known before a bucket is compiled.

    Attributes:
      program: the symbolic program.
      classes: its operators by class, its dimensions by kind.
      facts: what Rank and Dimension Propagation found.
      changes: what the passes did to it.
      ladders: the sizes that buckets are made of.
    """

    program: Program
    classes: Summary
    facts: rdp.Facts
    changes: tuple[Change, ...]
    ladders: Ladders

    def __str__(self) -> str:
        return f"{self.program}\n{self.classes}"

    def compile(self, chosen: Bucket) -> Executable:
        """Rewrites, lowers and compiles one bucket.

        Raises:
          UnsupportedPrimitiveError: a primitive has no exact padded form.
        """
        area = chosen.area(self.program.region)
        program, facts, changes = passes.in_area(self.program, self.facts, area)
        built = compile_bucket(program, chosen, facts.value_range, self.program.constants)
        return dataclasses.replace(built, changes=changes)


def analyse(
    fun: Callable[..., Any],
    arguments: Sequence[Any],
    leaves: Sequence[Leaf],
    region: Region,
    *,
    name: str,
    buckets: Mapping[str, tuple[int, ...]],
    max_executables: int,
    cause: Exception | None = None,
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
        program = trace(fun, arguments, leaves, region, name)
    else:
        program = unify(fun, arguments, leaves, region, name, cause)
    if isinstance(program, Undecided):
        return program
    classes = classify.summarize(program.jaxpr)
    facts = rdp.analyse(program.jaxpr, program.region)
    program, facts, changes = passes.transform(program, facts)
    edges = passes.deciding_sizes(program, facts)
    if edges:
        ladders = bucket.choose(region, buckets, max_executables, edges)
    return Analysis(program, classes, facts, changes, ladders)
