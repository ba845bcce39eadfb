"""Draws a memory plan: a rectangle for each buffer, in steps and addresses. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sod2jax.memory.arena import Allocation

_NAMED = 0.04  # of the arena: smaller buffers have no name in the picture


def drawn(allocations: Sequence[Allocation], arena_bytes: int, title: str, axes: Any = None) -> Any:
    """Draws allocations.

    Args:
      allocations: of one arena.
      arena_bytes: its size.
      title: of the picture.
      axes: matplotlib's, to draw into; those of a new figure if None.

    Returns:
      The axes.

    Raises:
      ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure  # of an extra
    from matplotlib.patches import Rectangle

    if axes is None:
        axes = Figure(figsize=(9, 5), layout="constrained").subplots()
    for k, one in enumerate(allocations):
        width = one.last - one.first + 1
        axes.add_patch(
            Rectangle(
                (one.first, one.offset), width, one.size, facecolor=f"C{k % 10}", edgecolor="white"
            )
        )
        if one.size >= _NAMED * arena_bytes:
            middle = (one.first + width / 2, one.offset + one.size / 2)
            axes.annotate(one.name, middle, ha="center", va="center", fontsize="x-small")
    end = max((one.last + 1 for one in allocations), default=1)
    axes.set(title=title, xlabel="step", ylabel="offset in the arena (bytes)")
    axes.set(xlim=(0, end), ylim=(0, max(arena_bytes, 1)))
    return axes
