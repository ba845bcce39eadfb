"""Draws the results: latency against length, and cumulative time over the cold stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sod2jax.bench.methods import METHODS

_COLORS = dict(zip(METHODS, ("#777777", "#d95f02", "#7570b3", "#1b9e77"), strict=True))


def save(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes a PNG with two panels for every batch size in `rows` (at least one row)."""
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    figure = Figure(figsize=(11, 4 * len(batches)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{rows[0]['model']} {rows[0]['size']}")
    panels = figure.subplots(len(batches), 2, squeeze=False)
    for (left, right), batch in zip(panels, batches, strict=True):
        chosen = [row for row in rows if row["batch"] == batch]
        _draw_latency(left, chosen, batch)
        _draw_cumulative(right, chosen, batch)
    figure.savefig(path, dpi=130, format="png")


def _draw_latency(axes: Axes, rows: Sequence[dict[str, Any]], batch: int) -> None:
    for row in rows:
        lengths = [math.prod(request["dims"].values()) for request in row["requests"]]
        times = [request["warm_ms"] for request in row["requests"]]
        axes.scatter(lengths, times, s=14, color=_COLORS[row["method"]], label=row["method"])
    axes.set(
        title=f"batch {batch}: warm latency",
        xlabel=" × ".join(rows[0]["requests"][0]["dims"]) + " (true size)",
        ylabel="ms per request",
    )
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _draw_cumulative(axes: Axes, rows: Sequence[dict[str, Any]], batch: int) -> None:
    for row in rows:
        seconds = accumulate(request["cold_ms"] / 1e3 for request in row["requests"])
        numbers = range(1, len(row["requests"]) + 1)
        axes.plot(numbers, list(seconds), color=_COLORS[row["method"]], label=row["method"])
    axes.set(
        title=f"batch {batch}: first pass, compiling included",
        xlabel="requests served",
        ylabel="seconds since the first",
        yscale="log",
    )
    axes.legend(frameon=False)
