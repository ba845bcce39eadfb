"""Prints the results: a table for each batch size, a line of comparison, and failures."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sod2jax.bench.methods import REFERENCE
from sod2jax.bench.runner import Results
from sod2jax.bench.settings import Case, Settings

_COLUMNS = (
    "execu-\ntables",
    "compile\ns",
    "cold\ns",
    "warm\ns",
    "median\nms",
    "p90\nms",
    "waste",
    "RSS\nMB",
    "XLA peak MB\nmin / median / max",
    "max\nerror",
)
_WIDE = 1000


def show(results: Results, settings: Settings, console: Console | None = None) -> None:
    """Prints everything to stdout, or to `console`: a table for each batch size of one model.

    Several models are one table, whose rows name them.
    """
    console = console or Console()
    where = results.environment
    console.print(
        f"\n{_heading(settings)}\n"
        f"jax {where['jax']}, Python {where['python']}, {where['cpu_count']} CPUs, "
        f"device {where.get('device_kind', 'unknown')}, seed {settings.seed}\n"
    )
    if len(settings.cases) > 1:
        _print_table(console, make_joint_table(results, settings))
    else:
        _show_batches(console, results, settings)
    for failure in results.failures:
        what = f"{failure.model}: {failure.method} at batch {failure.batch}"
        console.print(f"[red]{what} failed[/]", end=": ")
        console.print(failure.log, markup=False, highlight=False)


def _heading(settings: Settings) -> str:
    first, *others = settings.cases
    if others:
        return (
            f"[bold]{len(settings.cases)} models[/]: {settings.requests} requests each, "
            f"median of {settings.passes} warm passes"
        )
    return f"[bold]{first.model} {first.size}[/]: {first.about}"


def _show_batches(console: Console, results: Results, settings: Settings) -> None:
    for batch in settings.batches:
        rows = [row for row in results.rows if row["batch"] == batch]
        _print_table(console, make_table(rows, batch, settings))
        for line in compare(rows):
            console.print(line)
        console.print()


def _print_table(console: Console, table: Table) -> None:
    # A narrow terminal wraps lines; fitting the table would cut numbers.
    options = console.options.update(max_width=_WIDE)
    console.width = max(console.width, console.measure(table, options=options).maximum)
    console.print(table)


def make_table(rows: Sequence[dict[str, Any]], batch: int, settings: Settings) -> Table:
    """The table of one model at one batch size; a failed method keeps its line."""
    (case,) = settings.cases
    table = _table(["method"], _title(rows, batch, settings))
    _add_rows(table, case, rows, [])
    return table


def make_joint_table(results: Results, settings: Settings) -> Table:
    """The table of several models; a failed method keeps its line."""
    table = _table(["model", "batch", "method"])
    for case, batch in itertools.product(settings.cases, settings.batches):
        label = (case.model, batch)
        rows = [row for row in results.rows if (row["model"], row["batch"]) == label]
        _add_rows(table, case, rows, [f"{case.model} {case.size}", str(batch)])
        table.add_section()
    return table


def _table(labels: Sequence[str], title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in labels:
        table.add_column(name, no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _add_rows(
    table: Table, case: Case, rows: Sequence[dict[str, Any]], labels: Sequence[str]
) -> None:
    cells = {row["method"]: _cells(row) for row in rows}
    for method in case.methods:
        shown = cells.get(method, ["[red]failed[/]"])
        table.add_row(*labels, method, *shown, style="bold" if method == "sod2jax" else "")


def _title(rows: Sequence[dict[str, Any]], batch: int, settings: Settings) -> str:
    title = f"batch {batch}: {settings.requests} requests"
    if not rows:
        return title
    shapes = {tuple(request["dims"].items()) for request in rows[0]["requests"]}
    return f"{title}, {len(shapes)} distinct lengths, median of {settings.passes} warm passes"


def _cells(row: dict[str, Any]) -> list[str]:
    peak = row["peak_bytes"]
    peaks = (_megabytes(peak[name]) for name in ("min", "median", "max"))
    return [
        str(row["executables"]),
        f"{row['compile_s']:.2f}",
        f"{row['cold_s']:.2f}",
        f"{row['warm_s']:.3f}",
        f"{row['median_ms']:.2f}",
        f"{row['p90_ms']:.2f}",
        f"{row['waste']:+.0%}",
        f"{row['rss_mb']:.0f}",
        " / ".join(peaks),
        _error(row["max_error"]),
    ]


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.3g}"


def _error(error: float | None) -> str:
    if error is None:
        return "-"
    return f"{error:.1e}" if error else "0"


def compare(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What sod2jax's row says beside `jit-exact`'s and `jit-pow2`'s, where both are there."""
    by_method = {row["method"]: row for row in rows}
    own = by_method.get("sod2jax")
    if own is None:
        return []
    return [
        f"sod2jax against {name}: cold {_ratio(other['cold_s'], own['cold_s'])}, "
        f"warm {_ratio(other['warm_s'], own['warm_s'])}"
        for name in (REFERENCE, "jit-pow2")
        if (other := by_method.get(name))
    ]


def _ratio(other: float, own: float) -> str:
    if own <= other:
        return f"{other / own:.2f}x faster"
    return f"{own / other:.2f}x slower"
