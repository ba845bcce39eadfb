"""What first calls take, beside ``jax.jit``: ``python -m sod2jax.bench.first_call``.

A function is called for the first time, then at a size that it has not seen: ``jit`` compiles at
both, sod2jax only at the first where one bucket holds both sizes. All runs are in this process;
JAX's caches are emptied before each.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import sod2jax
from sod2jax.bench import markdown
from sod2jax.bench.programs import MOST, PROGRAMS, Program
from sod2jax.bench.rows import CLOCKS, add_options, write

SIZES = (37, 61)  # of the first call, and of the call at a new size


@dataclasses.dataclass(frozen=True)
class Row:
    """The medians of one program, in seconds.

    Attributes:
      program: its name.
      jit: of the first call, and of the call at a new size, under ``jax.jit``.
      sod2jax: the same, under ``sod2jax.optimize`` with one bucket.
      analysis: of tracing and analysis, before anything is compiled: a part of the first call.
      exact: calls that sod2jax ran with exact shapes.
    """

    program: str
    jit: tuple[float, float]
    sod2jax: tuple[float, float]
    analysis: float
    exact: int

    @property
    def ratio(self) -> float:
        """The first call over that of ``jit``."""
        return self.sod2jax[0] / self.jit[0]


def measure(program: Program, repeats: int, clock: Callable[[], float]) -> Row:
    """Times a program both ways, in turns."""
    calls = [program.arguments(np.random.default_rng(n), n) for n in SIZES]
    jitted: list[list[float]] = []
    ours: list[list[float]] = []
    exact = 0
    for _ in range(repeats):
        jax.clear_caches()
        jitted.append(_calls(jax.jit(lambda *args: program.fun(*args)), calls, clock))
        jax.clear_caches()
        fun = optimized(program)
        (traced,) = _calls(fun.bucket_for, calls[:1], clock)
        first, other = _calls(fun, calls, clock)
        ours.append([traced + first, other, traced])
        exact += fun.stats().exact_fallbacks
    a, b = (statistics.median(column) for column in zip(*jitted, strict=True))
    first, other, traced = (statistics.median(column) for column in zip(*ours, strict=True))
    return Row(program.name, (a, b), (first, other), traced, exact)


def optimized(program: Program) -> Any:
    """A new function with one bucket, which holds both sizes."""
    return sod2jax.optimize(
        lambda *args: program.fun(*args),
        shapes=program.shapes,
        constraints=[f"n <= {MOST}"],
        buckets={"n": (MOST,)},
    )


def _calls(
    fun: Callable[..., Any], calls: Sequence[Sequence[Any]], clock: Callable[[], float]
) -> list[float]:
    """Seconds that each call takes, in turn."""
    times = []
    for args in calls:
        start = clock()
        jax.block_until_ready(fun(*args))
        times.append(clock() - start)
    return times


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    head = ["program", "jit first", "jit new size", "first", "of it analysis", "new size", "ratio"]
    lines = [
        [
            row.program + (f" ({row.exact} exact)" if row.exact else ""),
            *(f"{s:.2f}" for s in (*row.jit, row.sod2jax[0], row.analysis)),
            f"{row.sod2jax[1]:.3f}",
            f"{row.ratio:.2f}",
        ]
        for row in rows
    ]
    return markdown.table(head, lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sod2jax.bench.first_call", description=__doc__)
    parser.add_argument("--program", default="*", help="pattern of their names")
    parser.add_argument("--repeats", type=int, default=3)
    add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the bench."""
    options = _parser().parse_args(argv)
    chosen = [p for p in PROGRAMS if fnmatch.fnmatch(p.name, options.program)]
    for program in PROGRAMS[1:3]:  # so that what is loaded at first use is loaded
        measure(program, 1, CLOCKS[options.clock])
    rows = [measure(program, options.repeats, CLOCKS[options.clock]) for program in chosen]
    print(table(rows))
    write(rows, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
