"""What each version of a program takes beside ``jax.jit``: ``python -m sod2jax.bench.plans``.

Every program is compiled for one bucket in its versions: with masks alone, with the forms that the
model chooses, and with what measuring chooses. All run at the bucket's own shape and at a smaller
true size, in turns with ``jax.jit`` at the exact shape; times are medians.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import sod2jax
from sod2jax.bench import markdown
from sod2jax.bench.plan_programs import PLANNED, Planned
from sod2jax.bench.rows import CLOCKS, add_options, write
from sod2jax.memory import XlaMemory
from sod2jax.runtime.compile import Executable
from sod2jax.transfer import pad

VERSIONS = {"masks alone": "none", "forms": "off", "fast": "fast", "full": "full"}
_LEAST = 0.02  # seconds that are measured at once


@dataclasses.dataclass(frozen=True)
class Row:
    """What one version of one program takes.

    Attributes:
      program: its name, with the bucket.
      version: how it was compiled.
      seconds: of a call at the bucket's own shape.
      smaller: of a call at a smaller true size.
      temporaries: bytes that XLA assigned; None if it does not say.
      compiling: seconds until it was compiled.
      chosen: the version that was chosen, in the words of ``explain()``.
    """

    program: str
    version: str
    seconds: float
    smaller: float
    temporaries: int | None
    compiling: float
    chosen: str = ""


def measure(
    planned: Planned, versions: Sequence[str], rounds: int, clock: Callable[[], float]
) -> list[Row]:
    """Rows of one program: that of ``jax.jit`` first."""
    program, calls, rows = planned.program, {}, []
    sizes = (planned.bucket, planned.smaller)
    arguments = [jax.device_put(program.arguments(np.random.default_rng(n), n)) for n in sizes]
    start = clock()
    exact = [jax.jit(program.fun).lower(*args).compile() for args in arguments]
    took = (clock() - start) / len(exact)
    jitted = zip(exact, arguments, strict=True)
    calls["jit"] = [lambda call=call, args=args: call(*args) for call, args in jitted]
    rows.append(("jit", XlaMemory.of(exact[0]).temp_bytes, took, ""))
    for name in versions:
        executable, true = compiled(planned, VERSIONS[name], arguments[0])
        calls[name] = [
            _runs(executable, true, args, n) for args, n in zip(arguments, sizes, strict=True)
        ]
        what = next((f.name for f in executable.figures if f.verdict == "chosen"), "")
        rows.append((name, XlaMemory.of(executable.call).temp_bytes, executable.seconds, what))
    times = _medians(calls, rounds, clock)
    return [
        Row(planned.name, name, times[name][0], times[name][1], size, seconds, what)
        for name, size, seconds, what in rows
    ]


def compiled(planned: Planned, tune: str, arguments: Sequence[Any]) -> tuple[Executable, Any]:
    """The executable of the one bucket, and its program."""
    fun = sod2jax.optimize(
        planned.program.fun,
        shapes=planned.program.shapes,
        buckets={"n": (planned.bucket,)},
        tune=tune,
        audit=False,
        on_unsupported="error",
    )
    fun.compile(*arguments)
    (specialisation,) = fun.planner.specialisations
    (executable,) = specialisation.ready
    return executable, specialisation.analysis.program


def _runs(executable: Executable, program: Any, args: Sequence[Any], n: int) -> Callable[[], Any]:
    """A call of an executable on padded arguments, without the dispatcher."""
    # What needs no padding is the array that `jax.jit` reads: caches hold it for all or none.
    inputs = [
        leaf if leaf.shape == shape else jax.device_put(pad(leaf, shape, False))
        for leaf, shape in zip(jax.tree.leaves(args), executable.in_shapes, strict=True)
    ]
    sizes = jax.device_put(np.full(len(program.symbols), n, np.int32))
    constants = list(program.constants)
    return lambda: executable.run(sizes, constants, inputs)


def _medians(
    calls: dict[str, list[Callable[[], Any]]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    times: dict[str, list[list[float]]] = {name: [[] for _ in runs] for name, runs in calls.items()}
    repeats = {name: [_repeats(run) for run in runs] for name, runs in calls.items()}
    order = list(calls)
    for turn in range(rounds + 1):  # the first one is not counted
        # Each begins in turn: the first one finds the memory that the last one gave back.
        order = order[1:] + order[:1]
        for name in order:
            for k, run in enumerate(calls[name]):
                start = clock()
                for _ in range(repeats[name][k]):
                    jax.block_until_ready(run())
                if turn:
                    times[name][k].append((clock() - start) / repeats[name][k])
    return {name: [statistics.median(t) for t in columns] for name, columns in times.items()}


def _repeats(run: Callable[[], Any]) -> int:
    """Calls to be measured together: a clock of the CPU counts other threads' time by ticks."""
    jax.block_until_ready(run())
    start = time.perf_counter()
    jax.block_until_ready(run())
    return max(1, round(_LEAST / (time.perf_counter() - start)))


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table, times of versions as ratios to ``jit``."""
    head = ["program", "version", "time", "smaller", "temporaries", "compiling", "chosen"]
    lines, base = [], rows[0]
    for row in rows:
        size = f"{(row.temporaries or 0) / 1e6:.2f} MB"
        if row.version == "jit":
            base = row
            took = [f"{1e3 * s:.2f} ms" for s in (row.seconds, row.smaller)]
            lines.append([row.program, "jit", *took, size, f"{row.compiling:.2f} s", ""])
            continue
        pairs = (row.seconds, base.seconds), (row.smaller, base.smaller)
        took = [f"{ours / theirs:.2f}" for ours, theirs in pairs]
        built = f"{row.compiling:.2f} s"
        lines.append([row.program, row.version, *took, size, built, row.chosen])
    return markdown.table(head, lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sod2jax.bench.plans", description=__doc__)
    parser.add_argument("--program", default="*", help="pattern of their names")
    parser.add_argument("--versions", default=",".join(VERSIONS), help="which, by comma")
    parser.add_argument("--rounds", type=int, default=7)
    add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the bench."""
    parser = _parser()
    options = parser.parse_args(argv)
    versions = [name.strip() for name in options.versions.split(",")]
    if unknown := [name for name in versions if name not in VERSIONS]:
        parser.error(f"no such versions: {unknown}; there are {list(VERSIONS)}")
    rows: list[Row] = []
    for planned in PLANNED:
        if fnmatch.fnmatch(planned.name, options.program):
            rows += measure(planned, versions, options.rounds, CLOCKS[options.clock])
    print(table(rows) if rows else f"no program is called {options.program!r}")
    write(rows, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
