"""Draws what versions take beside ``jit``: time, and temporaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_COLORS = ("#777777", "#d95f02", "#7570b3", "#1b9e77")
_HEIGHT = 0.8  # of the bars of one program, of the space that it has

Ratios = Mapping[str, Mapping[str, float | None]]


def save(panels: Mapping[str, Ratios], versions: Sequence[str], path: Path) -> None:
    """Writes a PNG with a panel for each quantity.

    Args:
      panels: title -> program -> version -> ratio to ``jit``, on a logarithmic axis; None is not
        drawn.
      versions: the order of the bars.
      path: where to write it.
    """
    programs = list(next(iter(panels.values())))
    bars = len(programs) * len(versions)
    size = 6 * len(panels), 1.5 + 0.16 * bars + 0.1 * len(programs)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    for axes, (title, ratios) in zip(rows[0], panels.items(), strict=True):
        _draw(axes, title, ratios, versions)
    first = rows[0][0]
    first.set_yticks(range(len(programs)), programs)
    first.invert_yaxis()
    first.legend(frameon=False)
    figure.savefig(path, dpi=130, format="png")


def _draw(axes: Axes, title: str, ratios: Ratios, versions: Sequence[str]) -> None:
    width = _HEIGHT / len(versions)
    for k, version in enumerate(versions):
        at = [
            (place + (k + 0.5) * width - _HEIGHT / 2, found[version])
            for place, found in enumerate(ratios.values())
            if found.get(version)
        ]
        color = _COLORS[k % len(_COLORS)]
        # From 1: what is left of the line is less than `jit` takes.
        lengths = [ratio - 1 for _, ratio in at]  # type: ignore[operator]
        axes.barh([y for y, _ in at], lengths, width, left=1, color=color, label=version)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(title=title, xscale="log", xlabel="of jit")
    axes.grid(axis="x", alpha=0.3)
