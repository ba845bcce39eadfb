"""What each version of a program takes beside ``jax.jit``: ``python -m sod2jax.bench.plans``.

Every program is compiled for one bucket in its versions: with masks alone, with what the model
chooses, and with what measuring chooses. All run at the bucket's own shape and at a smaller true
size, in turns with ``jax.jit`` at the exact shape; times are medians.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from sod2jax.bench import markdown, plan_rss
from sod2jax.bench.plan_models import NoSuchSizeError, matching
from sod2jax.bench.plan_programs import Planned, Sizes
from sod2jax.bench.plan_runs import JIT, VERSIONS, arguments_of, built
from sod2jax.bench.rows import CLOCKS, add_options, write
from sod2jax.runtime.versions import Figures

_LEAST = 0.02  # seconds that are measured at once
_FEW = 10_000  # bytes of temporaries: no less is drawn
_HEAD = ("program", "version", "time", "smaller", "temporaries", "RSS", "compiling", "chosen")


@dataclasses.dataclass(frozen=True)
class Row:
    """What one version of one program takes.

    Attributes:
      program: its name.
      version: how it was compiled.
      bucket: the sizes that it was compiled for.
      smaller: the true sizes below.
      seconds: of a call at the bucket's own shape and at the smaller true size, by clock.
      temporaries: bytes that XLA assigned; None if it does not say.
      rss: bytes that calls add to a process; None if that was not measured.
      compiling: seconds until it was compiled, at the bucket's own shape.
      chosen: the version that runs, in the words of ``explain()``.
      figures: of all versions that were compared when it was chosen.
    """

    program: str
    version: str
    bucket: Sizes
    smaller: Sizes
    seconds: Mapping[str, tuple[float, ...]]
    temporaries: int | None
    rss: int | None
    compiling: float
    chosen: str = ""
    figures: tuple[Figures, ...] = ()


def measure(
    planned: Planned,
    versions: Sequence[str],
    rounds: int,
    rss: Callable[[str], int | None] = lambda version: None,
) -> list[Row]:
    """Rows of one program: that of ``jax.jit`` first; ``rss`` gives that of a version."""
    names = (JIT, *versions)
    arguments = arguments_of(planned)
    all_built = {name: built(planned, name, arguments) for name in names}
    seconds = _medians({name: b.calls for name, b in all_built.items()}, rounds)
    return [
        Row(
            planned.name,
            name,
            planned.bucket,
            planned.smaller,
            seconds[name],
            b.temporaries,
            rss(name),
            b.compiling,
            b.chosen,
            b.figures,
        )
        for name, b in all_built.items()
    ]


def _medians(
    calls: Mapping[str, Sequence[Callable[[], Any]]], rounds: int
) -> dict[str, dict[str, tuple[float, ...]]]:
    """By version and clock, for each of its calls."""
    times: dict[str, list[list[list[float]]]] = {name: [[] for _ in calls[name]] for name in calls}
    repeats = {name: [_repeats(run) for run in runs] for name, runs in calls.items()}
    order = list(calls)
    for turn in range(rounds + 1):  # the first one is not counted
        # Each begins in turn: the first one finds the memory that the last one gave back.
        order = order[1:] + order[:1]
        for name in order:
            for k, run in enumerate(calls[name]):
                start = _now()
                for _ in range(repeats[name][k]):
                    jax.block_until_ready(run())
                if turn:
                    took = zip(_now(), start, strict=True)
                    times[name][k].append([(end - s) / repeats[name][k] for end, s in took])
    return {
        name: {
            clock: tuple(statistics.median(found[c] for found in rows) for rows in of_calls)
            for c, clock in enumerate(CLOCKS)
        }
        for name, of_calls in times.items()
    }


def _now() -> list[float]:
    return [clock() for clock in CLOCKS.values()]


def _repeats(run: Callable[[], Any]) -> int:
    """Calls to be measured together: a clock of the CPU counts other threads' time by ticks."""
    jax.block_until_ready(run())
    start = time.perf_counter()
    jax.block_until_ready(run())
    return max(1, round(_LEAST / (time.perf_counter() - start)))


def lines(rows: Sequence[Row], clock: str) -> list[list[str]]:
    """Rows of one program as cells, times of versions as ratios to ``jit``."""
    return [_cells(row, rows[0], clock) for row in rows]


def _cells(row: Row, base: Row, clock: str) -> list[str]:
    if row is base:
        took = [f"{1e3 * s:.2f} ms" for s in row.seconds[clock]]
    else:
        pairs = zip(row.seconds[clock], base.seconds[clock], strict=True)
        took = [f"{ours / theirs:.2f}" for ours, theirs in pairs]
    sizes = ["-" if b is None else f"{b / 1e6:.2f} MB" for b in (row.temporaries, row.rss)]
    return [row.program, row.version, *took, *sizes, f"{row.compiling:.2f} s", row.chosen]


def ratios(rows: Sequence[Row], clock: str) -> dict[str, dict[str, dict[str, float | None]]]:
    """For a plot: of each program and version, time at both sizes and temporaries, against ``jit``.

    Of temporaries it is None where ``jit`` takes hardly any.
    """
    base = {row.program: row for row in rows if row.version == JIT}
    panels: dict[str, Any] = {f"{clock} time": {}, "at a smaller size": {}, "temporaries": {}}
    for row in rows:
        if row.version == JIT:
            continue
        jit = base[row.program]
        pairs = zip(row.seconds[clock], jit.seconds[clock], strict=True)
        found = [*(ours / theirs for ours, theirs in pairs), _ratio_of_bytes(row, jit)]
        for panel, ratio in zip(panels.values(), found, strict=True):
            panel.setdefault(row.program, {})[row.version] = ratio
    return panels


def _ratio_of_bytes(row: Row, jit: Row) -> float | None:
    if row.temporaries is None or (jit.temporaries or 0) < _FEW:
        return None
    return max(row.temporaries, _FEW) / jit.temporaries  # type: ignore[operator]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sod2jax.bench.plans", description=__doc__)
    add = parser.add_argument
    add(
        "--program", default="*", help='pattern of their names; "model *" are those of bench/suites'
    )
    add("--size", help="configuration of models, as their suites define them")
    add("--long", action="store_true", help="also programs of which one run takes seconds")
    add("--versions", default=",".join(VERSIONS), help="which, by comma")
    add("--rounds", type=int, default=7)
    add("--rss", action="store_true", help="what calls add to a process, one for each version")
    add("--plot", type=Path, metavar="FILE.png", help="draw ratios to jit")
    add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the bench: rows are printed, and written, as they are ready."""
    parser = _parser()
    options = parser.parse_args(argv)
    versions = [name.strip() for name in options.versions.split(",")]
    if unknown := [name for name in versions if name not in VERSIONS]:
        parser.error(f"no such versions: {unknown}; there are {list(VERSIONS)}")
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'sod2jax[bench]'")
    rows: list[Row] = []
    try:
        for planned in matching(options.program, options.size, options.long):
            _measured(planned, versions, options, rows)
    except NoSuchSizeError as error:
        parser.error(f"--size: {error}")
    if not rows:
        parser.error(f"no program is called {options.program!r}; some need --long")
    return 0


def _measured(
    planned: Planned, versions: Sequence[str], options: argparse.Namespace, rows: list[Row]
) -> None:
    """Adds the rows of one program, prints them, and writes all so far."""

    def rss(version: str) -> int | None:
        return plan_rss.growth(planned.name, version, options.size) if options.rss else None

    new = measure(planned, versions, options.rounds, rss)
    if not rows:
        print(markdown.table(_HEAD, []))
    rows += new
    print(*map(markdown.line, lines(new, options.clock)), sep="\n", flush=True)
    write(rows, options.json)
    if options.plot:
        from sod2jax.bench import plan_plot  # needs the extra `bench`

        plan_plot.save(ratios(rows, options.clock), versions, options.plot)


if __name__ == "__main__":
    raise SystemExit(main())
