"""Bucket to executable, ahead of time."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from sod2jax import _compat, memory, rewrite, schedule
from sod2jax._compat import Jaxpr
from sod2jax.buckets.bucket import Bucket
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.program import Program, positions
from sod2jax.ir.region import Region
from sod2jax.passes.remark import Remark
from sod2jax.rdp import ValueRange
from sod2jax.rewrite import Birth, MaskRecord, Notes, Wish
from sod2jax.runtime import versions
from sod2jax.runtime.versions import Figures
from sod2jax.schedule.chunks import TrueSizes
from sod2jax.schedule.versions import PLAIN, Version
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
    program: Program,
    bucket: Bucket,
    value_range: ValueRange,
    constants: Sequence[Any],
    target: Target,
    tune: str = "off",
    beside: Callable[[], None] | None = None,
    deep_poison: bool = False,
    zeroed: tuple[bool, ...] = (),
    donated: tuple[bool, ...] = (),
    compiler_options: Mapping[str, Any] = MappingProxyType({}),
) -> Executable:
    """Rewrites, lowers and compiles a program for one bucket.

    Args:
      program: to compile.
      bucket: its padded sizes.
      value_range: what is known of its integers.
      constants: what the executable is called with: the program's, perhaps among others.
      target: what to compile for.
      tune: how the version to run is chosen: see ``versions.chosen``; "none" offers the program as
        it is.
      beside: what this thread does while XLA compiles.
      deep_poison: whether every value has poison in the pad lanes that nothing is known of.
      zeroed: for each input, whether it will be padded with zeros; none by default.
      donated: for each of the first inputs, whether a call consumes it.
      compiler_options: for XLA, besides those of the version.

    Raises:
      UnsupportedPrimitiveError: a primitive has no exact padded form.
    """
    start = time.perf_counter()
    region = bucket.part_of(program.region)
    shapes = rewrite.padded_shapes(program, region)
    kept = positions(program.constants, constants)
    specs = [
        target.placed(jax.ShapeDtypeStruct(shape, v.aval.dtype, weak_type=v.aval.weak_type))
        for shape, v in zip(shapes, program.jaxpr.invars, strict=True)
    ]
    sizes = target.placed(jax.ShapeDtypeStruct((len(program.symbols),), np.int32))
    taken = _taken(donated, specs, rewrite.padded_results(program, region))
    arguments = (sizes, list(map(target.placed, _specs(constants))), *parted(specs, taken))
    waited: list[float] = []

    def rewritten(wished: Sequence[Wish | Birth]) -> tuple[Any, Notes]:
        notes: list[Notes] = []
        padded = rewrite.padded_function(
            program, region, value_range, target, notes.append, deep_poison, wished, zeroed
        )

        def run(sizes: Any, given: Sequence[Any], *lists: Sequence[Any]) -> list[Any]:
            return padded(sizes, [given[k] for k in kept], joined(lists))

        return _jitted(run, program.name, taken).trace(*arguments), notes[-1]

    traced, notes = rewritten(())
    wishes, births = notes.wishes, notes.births
    if wishes or births:
        other, fewer = rewritten([*wishes, *births])
        if births and wishes and fewer.cost > notes.cost:
            other, fewer = rewritten(wishes)
        better = fewer.cost < notes.cost or (births and fewer.cost == notes.cost)
        traced, notes = (other, fewer) if better else (traced, notes)

    def lower(version: Version) -> Any:
        if version.jaxpr is traced.jaxpr:
            return traced.lower()
        flat = _compat.function_of(version.jaxpr)
        run = _jitted(lambda *args: flat(*jax.tree.leaves(args)), program.name, taken)
        return run.trace(*arguments).lower()

    def compiled(lowered: Any, options: Mapping[str, Any]) -> Any:
        call, late = _compiled_meanwhile(lowered, options, beside)
        waited.append(late)
        return call

    def synthetic() -> tuple[Any, ...]:
        true = np.array([region.range(name)[1] for name in program.symbols], np.int32)
        return true, list(constants), *parted(list(map(versions.synthetic, specs)), taken)

    placed, remarks = schedule.at_edges(traced.jaxpr, target)
    plain = Version(PLAIN, placed, remarks=remarks, true=_true_sizes(program, region))
    offered = [plain] if tune == "none" else schedule.versions(plain, target)
    best = versions.chosen(offered, tune, lower, compiled, synthetic, target, compiler_options)
    return Executable(
        bucket,
        best.call,
        shapes,
        best.version.jaxpr,
        tuple(notes.masks),
        time.perf_counter() - start - sum(waited),
        target,
        best.version.remarks,
        best.version.name,
        best.figures,
        zeroed,
        taken,
        lambda: lower(best.version),
    )


def _true_sizes(program: Program, region: Region) -> TrueSizes:
    """Which axes of the results are trimmed to a size that the executable is called with."""
    known = {name: k for k, name in enumerate(program.symbols)}
    return TrueSizes(
        tuple(region.range(name)[1] for name in known),
        tuple(tuple(known.get(str(d)) for d in dims_of(atom)) for atom in program.jaxpr.outvars),
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


def parted(inputs: Sequence[Any], taken: Sequence[bool]) -> list[list[Any]]:
    """Inputs, and apart from them those that are taken, with None for the others in both lists."""
    if not any(taken):
        return [list(inputs)]
    pairs = list(zip(inputs, taken, strict=True))
    return [[None if t else x for x, t in pairs], [x if t else None for x, t in pairs]]


def joined(lists: Sequence[Sequence[Any]]) -> list[Any]:
    """The inputs again."""
    return [next((x for x in each if x is not None), None) for each in zip(*lists, strict=True)]


def _taken(
    donated: Sequence[bool], inputs: Sequence[Any], results: Sequence[tuple[Any, Any]]
) -> tuple[bool, ...]:
    """The donated inputs whose memory a result can take: one of the same shape and dtype."""
    if not any(donated):
        return ()
    left = collections.Counter(results)
    flags = [*donated, *[False] * (len(inputs) - len(donated))]
    for k, (spec, flag) in enumerate(zip(inputs, flags, strict=True)):
        kind = (tuple(spec.shape), spec.dtype)
        flags[k] = flag and left[kind] > 0
        left[kind] -= flags[k]
    return tuple(flags)


def _jitted(run: Callable[..., Any], name: str, taken: Sequence[bool]) -> Any:
    run.__name__ = run.__qualname__ = name
    return jax.jit(run, donate_argnums=3 if any(taken) else ())


def _specs(arrays: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    avals = map(jax.typeof, arrays)
    return [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in avals]
