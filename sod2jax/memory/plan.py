"""The memory plan of one bucket: offsets of its temporaries, beside what XLA itself reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sod2jax._compat import Jaxpr
from sod2jax.errors import InvariantError
from sod2jax.memory.arena import Allocation, lower_bound, overlaps, plan_offsets
from sod2jax.memory.drawing import drawn
from sod2jax.memory.liveness import Buffer, live_bytes, live_ranges
from sod2jax.target import Target

__all__ = ["MemoryPlan", "XlaMemory", "plan_memory"]

_SHOWN = 12  # allocations in the printed table


@dataclass(frozen=True, slots=True)
class XlaMemory:
    """Bytes that XLA assigned to a compiled executable; None where it does not say."""

    temp_bytes: int | None
    argument_bytes: int | None
    output_bytes: int | None
    alias_bytes: int | None
    peak_bytes: int | None

    @classmethod
    def from_analysis(cls, analysis: Any) -> XlaMemory:
        """From the result of ``jax.stages.Compiled.memory_analysis()``, which may be None."""
        return cls(
            temp_bytes=getattr(analysis, "temp_size_in_bytes", None),
            argument_bytes=getattr(analysis, "argument_size_in_bytes", None),
            output_bytes=getattr(analysis, "output_size_in_bytes", None),
            alias_bytes=getattr(analysis, "alias_size_in_bytes", None),
            peak_bytes=getattr(analysis, "peak_memory_in_bytes", None),
        )

    @classmethod
    def of(cls, compiled: Any) -> XlaMemory:
        """Of a ``jax.stages.Compiled``."""
        return cls.from_analysis(compiled.memory_analysis())

    @property
    def total_bytes(self) -> int | None:
        """Arguments, outputs and temporaries, less what is aliased; None where XLA does not say."""
        parts = (self.argument_bytes, self.output_bytes, self.temp_bytes)
        given = [part for part in parts if part is not None]
        return sum(given) - (self.alias_bytes or 0) if len(given) == len(parts) else None


@dataclass(frozen=True, slots=True)
class Hosted:
    """A temporary that lives at the start of an output's buffer before the output is written."""

    buffer: Buffer
    output: str


@dataclass(frozen=True, repr=False)
class MemoryPlan:
    """Where the temporaries of one executable go, and what it needs in all.

    Attributes:
      bucket: padded size by symbol.
      target: what the program is compiled for; it gives the arena its alignment.
      allocations: temporaries in the arena, by first step and offset.
      hosted: temporaries that need no room of their own.
      arena_bytes: size of the arena.
      lower_bound: bytes that any arena for these allocations needs.
      argument_bytes: of arguments and constants that the program reads.
      output_bytes: of the results.
      peak_bytes: arguments, outputs and arena together.
      xla: what XLA reports of the compiled program.
    """

    bucket: Mapping[str, int]
    target: Target
    allocations: tuple[Allocation, ...]
    hosted: tuple[Hosted, ...]
    arena_bytes: int
    lower_bound: int
    argument_bytes: int
    output_bytes: int
    peak_bytes: int
    xla: XlaMemory | None = None

    def __str__(self) -> str:
        """Totals beside XLA's, then the largest allocations."""
        slack = self.arena_bytes / self.lower_bound if self.lower_bound else 1.0
        lines = [
            f"memory plan for ({self._sizes}) on {self.target.platform}, "
            f"{self.target.alignment}-byte alignment",
            *self._totals(),
            f"  the arena is {slack:.3f} times the lower bound of {self.lower_bound:,} B",
            *_table(self.allocations),
        ]
        if self.hosted:
            names = ", ".join(f"{h.buffer.name} in {h.output}" for h in self.hosted)
            lines.append(f"  in output buffers before they are written: {names}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"MemoryPlan([{self._sizes}] on {self.target.platform}: arena {self.arena_bytes:,} B, "
            f"peak {self.peak_bytes:,} B)"
        )

    def plot(self, axes: Any = None) -> Any:
        """Draws the arena: steps to the right, addresses upwards, a rectangle for each temporary.

        Args:
          axes: matplotlib's, to draw into; those of a new figure if None.

        Returns:
          The axes; ``plan.plot().figure.savefig(path)`` writes a file.

        Raises:
          ImportError: matplotlib (the extra ``bench`` has it) is not installed.
        """
        title = f"temporaries of ({self._sizes}) on {self.target.platform}"
        return drawn(self.allocations, self.arena_bytes, title, axes)

    @property
    def _sizes(self) -> str:
        return ", ".join(f"{symbol}={size}" for symbol, size in self.bucket.items())

    def _totals(self) -> list[str]:
        xla = self.xla or XlaMemory.from_analysis(None)
        rows = (
            ("arena", self.arena_bytes, xla.temp_bytes),
            ("arguments", self.argument_bytes, xla.argument_bytes),
            ("outputs", self.output_bytes, xla.output_bytes),
            # XLA's own peak leaves the temporaries out on CPU.
            ("peak", self.peak_bytes, xla.total_bytes),
        )
        header = f"  {'bytes':<10} {'plan':>16} {'XLA':>16} {'plan / XLA':>11}"
        return [header, *(_total(*row) for row in rows)]


def plan_memory(
    closed_jaxpr: Jaxpr,
    *,
    bucket: Mapping[str, int],
    target: Target,
    compiled_stats: Any = None,
) -> MemoryPlan:
    """Plans the memory of one bucket's program.

    Args:
      closed_jaxpr: the program with concrete shapes.
      bucket: padded size by symbol, for the plan's title.
      target: what the program is compiled for, which decides the alignment.
      compiled_stats: result of ``compiled.memory_analysis()``, shown beside the plan.

    Raises:
      InvariantError: two allocations overlap, a bug of the planner.
    """
    buffers = live_ranges(closed_jaxpr)
    outputs = [b for b in buffers if b.kind == "output"]
    temps, hosted = _host([b for b in buffers if b.kind == "temp"], outputs)
    allocations, arena_bytes = plan_offsets(temps, target.alignment)
    if conflicts := overlaps(allocations):
        raise InvariantError(f"allocations of a memory plan overlap: {conflicts[0]}")
    argument_bytes = sum(b.size for b in buffers if b.kind == "argument")
    output_bytes = sum(b.size for b in outputs)
    return MemoryPlan(
        bucket=dict(bucket),
        target=target,
        allocations=allocations,
        hosted=hosted,
        arena_bytes=arena_bytes,
        lower_bound=lower_bound(temps, target.alignment),
        argument_bytes=argument_bytes,
        output_bytes=output_bytes,
        peak_bytes=argument_bytes + output_bytes + arena_bytes,
        xla=None if compiled_stats is None else XlaMemory.from_analysis(compiled_stats),
    )


def _host(
    temps: Sequence[Buffer], outputs: Sequence[Buffer]
) -> tuple[list[Buffer], tuple[Hosted, ...]]:
    """Moves temporaries into output buffers while that lowers the peak.

    An output's memory is there from the start, and XLA uses it before the output is written.

    Returns:
      The temporaries that remain, and those that were moved.
    """
    remaining, hosted = list(temps), []
    guests = {output.name: [output] for output in outputs}
    while True:
        move = _next_move(remaining, outputs, guests)
        if move is None:
            return remaining, tuple(hosted)
        hosted.append(move)
        remaining.remove(move.buffer)
        guests[move.output].append(move.buffer)


def _next_move(
    temps: Sequence[Buffer], outputs: Sequence[Buffer], guests: dict[str, list[Buffer]]
) -> Hosted | None:
    """The largest temporary at the peak that fits an output, in the smallest such output."""
    live = live_bytes(temps)
    peak = live.index(max(live)) if live else 0
    at_peak = [b for b in temps if b.first <= peak <= b.last]
    for buffer in sorted(at_peak, key=lambda b: (-b.size, b.last - b.first)):
        for output in sorted(outputs, key=lambda o: o.size):
            free = all(b.last < buffer.first or buffer.last < b.first for b in guests[output.name])
            if free and buffer.size <= output.size:
                return Hosted(buffer, output.name)
    return None


def _total(name: str, planned: int, by_xla: int | None) -> str:
    beside = f"{'-':>16} {'-':>11}"
    if by_xla is not None:
        ratio = f"{planned / by_xla:.2f}" if by_xla else "-"
        beside = f"{by_xla:>16,} {ratio:>11}"
    return f"  {name:<10} {planned:>16,} {beside}"


def _table(allocations: Sequence[Allocation]) -> list[str]:
    """The largest allocations, one a line."""
    largest = sorted(allocations, key=lambda a: -a.size)[:_SHOWN]
    if not largest:
        return ["  no temporaries"]
    width = max(len("allocation"), *(len(a.name) for a in largest))
    header = f"  {'allocation':<{width}} {'offset':>14} {'size':>14}  live steps"
    rows = [
        f"  {a.name:<{width}} {a.offset:>14,} {a.size:>14,}  {a.first}-{a.last}" for a in largest
    ]
    omitted = len(allocations) - len(largest)
    return [header, *rows, *([f"  and {omitted} smaller ones"] if omitted else [])]
