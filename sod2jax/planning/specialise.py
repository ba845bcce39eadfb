"""A program with its executables, and how it serves a call."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sod2jax.buckets.bucket import Bucket, Ladders
from sod2jax.errors import InvariantError
from sod2jax.ir.region import Region
from sod2jax.passes.cut import Part
from sod2jax.pipeline import Analysis
from sod2jax.planning.regimes import Regime
from sod2jax.runtime.compile import Executable
from sod2jax.runtime.executables import Executables
from sod2jax.runtime.parts import Lookup


@dataclasses.dataclass(frozen=True, eq=False)
class Specialisation:
    """One program with its executables.

    Attributes:
      key: the tree, static arguments and regime that it serves.
      regime: the shapes it was traced for.
      analysis: the program and what is known of it.
      parts: the compiled buckets of each of its parts; there is one unless it measures sizes.
    """

    key: Any
    regime: Regime
    analysis: Analysis
    parts: tuple[Executables, ...]

    @property
    def executables(self) -> Executables:
        """The compiled buckets of the program, or of its first part."""
        return self.parts[0]

    @property
    def ready(self) -> list[Executable]:
        """All that is compiled."""
        return [executable for part in self.parts for executable in part.ready]

    @property
    def lookups(self) -> list[tuple[Part, Lookup]]:
        """For each part, what finds its executable."""

        def lookup(ladders: Ladders, executables: Executables) -> Lookup:
            return lambda sizes: executables.get(bucket_of(ladders, sizes))

        return [
            (analysed.part, lookup(analysed.ladders, executables))
            for analysed, executables in zip(self.analysis.parts, self.parts, strict=True)
        ]

    def buckets(self, first: Bucket) -> list[tuple[Executables, Bucket]]:
        """All buckets of all parts; where there is no end of them, ``first`` for the first part."""
        return [
            (executables, bucket)
            for k, (analysed, executables) in enumerate(
                zip(self.analysis.parts, self.parts, strict=True)
            )
            for bucket in analysed.ladders.buckets or ((first,) if k == 0 else ())
            if _is_reachable(bucket, analysed.ladders, analysed.part.program.region)
        ]


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """How to serve a call.

    Attributes:
      call: what depends on its shapes alone, a ``CallPlan`` or a ``MeasuredPlan``.
      specialisation: the program that serves it.
      regime: what decisions led to that program, with the call's own shapes.
    """

    call: Any
    specialisation: Specialisation
    regime: Regime


def _is_reachable(bucket: Bucket, ladders: Ladders, region: Region) -> bool:
    """Whether a call can need a bucket: a size may be bounded by the others, as by ``u <= n``."""
    for name, ladder in ladders.sizes:
        others = {n: size for n, size in bucket.items() if n != name}
        most = region.below(others).range(name)[1]
        smaller = [size for size in ladder or () if size < bucket[name]]
        if most is not None and smaller and most <= smaller[-1]:
            return False
    return True


def bucket_of(ladders: Ladders, sizes: Mapping[str, int]) -> Bucket:
    """The smallest bucket for true sizes.

    Raises:
      InvariantError: none holds them.
    """
    bucket = ladders.bucket(sizes)
    if bucket is None:
        raise InvariantError(f"no bucket of {ladders} holds {sizes}")
    return bucket
