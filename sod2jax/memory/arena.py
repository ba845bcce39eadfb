"""Offsets of buffers in one arena.

Finding the smallest arena is NP-hard (dynamic storage allocation). Two orders of placement are
tried, both with best fit: outwards from the step where most bytes are live, the heuristic of SoD²
(Niu, Agrawal and Ren, ASPLOS 2024), and by decreasing size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sod2jax.memory.liveness import Buffer, live_bytes

__all__ = ["Allocation", "aligned", "lower_bound", "overlaps", "plan_offsets"]


@dataclass(frozen=True, slots=True)
class Allocation:
    """A place in an arena: bytes ``[offset, offset + size)`` during steps ``[first, last]``."""

    name: str
    offset: int
    size: int
    first: int
    last: int


def aligned(size: int, alignment: int) -> int:
    """``size`` rounded up to a multiple of ``alignment``."""
    return -(-size // alignment) * alignment


def plan_offsets(buffers: Iterable[Buffer], alignment: int) -> tuple[tuple[Allocation, ...], int]:
    """Places buffers so that none that are live together overlap.

    Args:
      buffers: any kinds; empty ones need no room and are left out.
      alignment: bytes; every offset and size is a multiple of it.

    Returns:
      The allocations by first step and offset, and the size of the arena in bytes.
    """
    rounded = _rounded(buffers, alignment)
    arenas = (_place(order(rounded)) for order in (_peak_first, _largest_first))
    best = min(arenas, key=_extent)
    return tuple(sorted(best, key=lambda a: (a.first, a.offset))), _extent(best)


def lower_bound(buffers: Iterable[Buffer], alignment: int) -> int:
    """Largest number of aligned bytes live at any step: no arena can be smaller."""
    return max(live_bytes(_rounded(buffers, alignment)), default=0)


def overlaps(allocations: Iterable[Allocation]) -> list[tuple[Allocation, Allocation]]:
    """Every pair that is live together and shares a byte, found by comparing all pairs."""
    ordered = sorted(allocations, key=lambda a: a.first)
    conflicts = []
    for i, one in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if other.first > one.last:
                break
            if one.offset < other.offset + other.size and other.offset < one.offset + one.size:
                conflicts.append((one, other))
    return conflicts


def _rounded(buffers: Iterable[Buffer], alignment: int) -> list[Buffer]:
    return [replace(b, size=aligned(b.size, alignment)) for b in buffers if b.size]


def _peak_first(buffers: Sequence[Buffer]) -> list[Buffer]:
    """Those live at the peak, then the others by their distance from it; large ones first."""
    live = live_bytes(buffers)
    peak = live.index(max(live)) if live else 0

    def distance(buffer: Buffer) -> int:
        return max(buffer.first - peak, peak - buffer.last, 0)

    return sorted(buffers, key=lambda b: (distance(b), -b.size, b.first - b.last, b.first))


def _largest_first(buffers: Sequence[Buffer]) -> list[Buffer]:
    return sorted(buffers, key=lambda b: (-b.size, b.first - b.last, b.first))


def _place(buffers: Sequence[Buffer]) -> list[Allocation]:
    """Gives each buffer in turn the tightest gap between those already placed."""
    placed: list[Allocation] = []
    for buffer in buffers:
        together = [p for p in placed if p.first <= buffer.last and buffer.first <= p.last]
        offset = _best_fit(buffer.size, together)
        placed.append(Allocation(buffer.name, offset, buffer.size, buffer.first, buffer.last))
    return placed


def _best_fit(size: int, placed: Iterable[Allocation]) -> int:
    """Offset of the smallest gap that holds ``size`` bytes, or the end of the last allocation."""
    best, best_gap, top = None, 0, 0
    for allocation in sorted(placed, key=lambda a: a.offset):
        gap = allocation.offset - top
        if gap >= size and (best is None or gap < best_gap):
            best, best_gap = top, gap
        top = max(top, allocation.offset + allocation.size)
    return top if best is None else best


def _extent(allocations: Iterable[Allocation]) -> int:
    return max((a.offset + a.size for a in allocations), default=0)
