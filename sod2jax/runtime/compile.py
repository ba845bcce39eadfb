"""Bucket to executable, ahead of time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

from sod2jax import memory
from sod2jax._compat import Jaxpr
from sod2jax.buckets.bucket import Bucket
from sod2jax.passes.remark import Remark
from sod2jax.rewrite import MaskRecord
from sod2jax.runtime import versions
from sod2jax.runtime.static import Static, parted
from sod2jax.runtime.versions import Build, Figures
from sod2jax.schedule.versions import PLAIN
from sod2jax.target import Target


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Executable:
    """A compiled bucket.

    Attributes:
      bucket: the padded sizes.
      call: takes (int32[k] true sizes, constants, padded inputs), and apart from these the inputs
        that it consumes, with None for the others in both lists; gives padded outputs.
      in_shapes: padded shape of each input.
      jaxpr: the static program that was compiled.
      version: the name of the version that it is.
      figures: what the versions of it take that were compared.
      zeroed: the inputs whose pad lanes must hold zeros, one flag for each: `transfer.pad` puts
        them there, and whoever calls with arrays that something else padded needs an executable
        that relies on none.
      masks: every mask it holds, and those that were not needed.
      seconds: time spent on tracing, lowering and compiling.
      target: what it was compiled for.
      remarks: what its sizes decided before it was compiled, and how it is written for XLA.
      donated: the inputs whose memory results take, one flag for each; none if it is empty.
      lowered: gives the ``jax.stages.Lowered`` of what was compiled, made once more.
    """

    bucket: Bucket
    call: Any
    in_shapes: tuple[tuple[int, ...], ...]
    jaxpr: Jaxpr
    masks: tuple[MaskRecord, ...]
    seconds: float
    target: Target
    remarks: tuple[Remark, ...] = ()
    version: str = PLAIN
    figures: tuple[Figures, ...] = ()
    zeroed: tuple[bool, ...] = ()
    donated: tuple[bool, ...] = ()
    lowered: Callable[[], Any] = lambda: None

    def run(self, sizes: Any, constants: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """Runs on int32[k] true sizes, constants and padded inputs; gives padded outputs.

        A device array among the inputs that are donated is deleted.
        """
        return self.call(sizes, list(constants), *parted(inputs, self.donated))

    def wants_zeros(self, k: int) -> bool:
        """Whether the pad lanes of an input must hold zeros."""
        return bool(self.zeroed) and self.zeroed[k]

    def __repr__(self) -> str:
        return f"Executable([{self.bucket}], {len(self.jaxpr.eqns)} equations)"

    def memory_plan(self) -> memory.MemoryPlan:
        """The memory plan of the bucket, beside XLA's own figures."""
        return memory.plan_memory(
            self.jaxpr,
            bucket=self.bucket,
            target=self.target,
            compiled_stats=self.call.memory_analysis(),
        )


def compile_bucket(
    static: Static,
    tune: str = "off",
    beside: Callable[[], None] | None = None,
    zeroed: tuple[bool, ...] = (),
    compiler_options: Mapping[str, Any] = MappingProxyType({}),
    memory_limit: int | None = None,
) -> Executable:
    """Lowers and compiles a program for one bucket.

    Args:
      static: the program.
      tune: how the version to run is chosen: see ``versions.chosen``; "none" offers the program as
        it is.
      beside: what this thread does while XLA compiles.
      zeroed: for each input, whether it will be padded with zeros; none by default.
      compiler_options: for XLA, besides those of the version.
      memory_limit: bytes of arguments, results and temporaries together that it may need.

    Raises:
      MemoryLimitError: no version keeps to the limit.
    """
    start = time.perf_counter()
    waited: list[float] = []

    def compiled(lowered: Any, options: Mapping[str, Any]) -> Any:
        call, late = _compiled_meanwhile(lowered, options, beside)
        waited.append(late)
        return call

    build = Build(static.lower, compiled, static.target, compiler_options, memory_limit)
    best = versions.chosen(static.versions(tune), tune, build, static.synthetic)
    best = versions.within(best, static.leaner(), build)
    return Executable(
        static.bucket,
        best.call,
        static.in_shapes,
        best.version.jaxpr,
        static.masks,
        time.perf_counter() - start - sum(waited),
        static.target,
        best.version.remarks,
        best.version.name,
        best.figures,
        zeroed,
        static.taken,
        lambda: static.lower(best.version),
    )


def _compiled_meanwhile(
    lowered: Any, options: Mapping[str, Any], beside: Callable[[], None] | None
) -> tuple[Any, float]:
    """The executable, and how many seconds ``beside`` took longer."""

    def build() -> tuple[Any, float]:
        return versions.compile_lowered(lowered, options), time.perf_counter()

    if beside is None:
        return build()[0], 0.0
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(build)
        beside()
        call, ready = future.result()
    return call, time.perf_counter() - ready
