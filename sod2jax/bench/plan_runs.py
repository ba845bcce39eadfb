"""Programs compiled in their versions, to be called without the dispatcher."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import sod2jax
from sod2jax.bench.plan_programs import Planned, Sizes
from sod2jax.ir.program import Program
from sod2jax.memory import XlaMemory
from sod2jax.runtime.compile import Executable
from sod2jax.runtime.versions import Figures
from sod2jax.transfer import pad

JIT = "jit"
VERSIONS = {"masks alone": "none", "forms": "off", "fast": "fast", "full": "full"}


@dataclasses.dataclass(frozen=True, eq=False)
class Built:
    """A program as `jax.jit` or a version has it.

    Attributes:
      calls: run it, at the bucket's own shape and at the smaller true size.
      temporaries: bytes that XLA assigned for the bucket's own shape; None if it does not say.
      compiling: seconds until it was compiled.
      chosen: the version that runs, in the words of ``explain()``.
      figures: of all versions that were compared.
    """

    calls: tuple[Callable[[], Any], ...]
    temporaries: int | None
    compiling: float
    chosen: str = ""
    figures: tuple[Figures, ...] = ()


def arguments_of(planned: Planned) -> list[tuple[Sizes, Any]]:
    """The bucket's sizes and the smaller ones, each with arguments on the device."""
    return [
        (sizes, jax.device_put(planned.arguments(np.random.default_rng(k), sizes)))
        for k, sizes in enumerate((planned.bucket, planned.smaller))
    ]


def built(planned: Planned, version: str, arguments: Sequence[tuple[Sizes, Any]]) -> Built:
    """A program compiled in a version, or by ``jit`` for each of the sizes."""
    if version == JIT:
        return _jitted(planned, arguments)
    executable, program = compiled(planned, VERSIONS[version], arguments[0][1])
    calls = tuple(runs(executable, program, args, sizes) for sizes, args in arguments)
    temporaries = XlaMemory.of(executable.call).temp_bytes
    name, figures = executable.version, executable.figures
    return Built(calls, temporaries, executable.seconds, name, figures)


def _jitted(planned: Planned, arguments: Sequence[tuple[Sizes, Any]]) -> Built:
    calls, took = [], []
    for _, args in arguments:
        start = time.perf_counter()
        calls.append(jax.jit(planned.fun).lower(*args).compile())
        took.append(time.perf_counter() - start)
    pairs = zip(calls, arguments, strict=True)
    bound = tuple(lambda call=call, args=args: call(*args) for call, (_, args) in pairs)
    return Built(bound, XlaMemory.of(calls[0]).temp_bytes, took[0])


def compiled(planned: Planned, tune: str, arguments: Sequence[Any]) -> tuple[Executable, Program]:
    """The executable of the one bucket, and its program."""
    fun = sod2jax.optimize(
        planned.fun,
        shapes=planned.shapes,
        constraints=planned.constraints,
        buckets={name: (size,) for name, size in planned.bucket.items()},
        tune=tune,
        audit=False,
        on_unsupported="error",
    )
    fun.compile(*arguments)
    (specialisation,) = fun.planner.specialisations
    (executable,) = specialisation.ready
    return executable, specialisation.analysis.program


def runs(
    executable: Executable, program: Program, args: Sequence[Any], sizes: Sizes
) -> Callable[[], Any]:
    """A call of an executable on padded arguments, without the dispatcher.

    Raises:
      ValueError: the program does not hold for these sizes.
    """
    if false := [guard for guard in program.guards if not guard.holds(sizes)]:
        raise ValueError(f"{program.name} is another program at {dict(sizes)}: {false[0]}")
    # What needs no padding is the array that `jax.jit` reads: caches hold it for all or none.
    leaves = [*jax.tree.leaves(args), *program.numbers_at(sizes)]
    inputs = [
        leaf if leaf.shape == shape else jax.device_put(pad(leaf, shape, False))
        for leaf, shape in zip(leaves, executable.in_shapes, strict=True)
    ]
    true = jax.device_put(np.array([sizes[name] for name in program.symbols], np.int32))
    constants = list(program.constants)
    return lambda: executable.run(true, constants, inputs)
