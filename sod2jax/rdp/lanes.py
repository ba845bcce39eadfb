"""Flow: which lanes of the inputs a lane depends on. Demand: which lanes the outputs need."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region
from sod2jax.rdp.values import greatest, least

Lane = tuple[int, int]  # (index of a program input, its axis)


@dataclasses.dataclass(frozen=True)
class Flow:
    """How a value depends on the program's inputs.

    Axis k of value v is *aligned* with axis a of input i iff both have the same dimension and, for
    every j, the elements of v at position j of axis k depend on no element of input i off position
    j of axis a. They may depend on anything of the other inputs. So: change lane j of the input,
    and only lane j of v may change.

    Attributes:
      inputs: the inputs that v may depend on at all.
      axes: for each axis of v, the lanes of ``inputs`` that it is aligned with.
    """

    inputs: frozenset[int]
    axes: tuple[frozenset[Lane], ...]

    @classmethod
    def source(cls, index: int, rank: int) -> Flow:
        """The flow of a program input itself."""
        return cls(frozenset({index}), tuple(frozenset({(index, axis)}) for axis in range(rank)))

    @classmethod
    def constant(cls, rank: int) -> Flow:
        """The flow of what depends on no input."""
        return cls(frozenset(), (frozenset(),) * rank)

    @classmethod
    def join(cls, rank: int, operands: Iterable[tuple[Flow, Sequence[int | None]]]) -> Flow:
        """The flow of a value computed from operands.

        An axis is aligned with a lane iff it is so through every operand that depends on the input.

        Args:
          rank: of the value.
          operands: for each, its flow and the value's axis that each of its axes becomes lane for
            lane, None where lanes mix.
        """
        operands = list(operands)
        inputs = frozenset().union(*(flow.inputs for flow, _ in operands))
        axes = []
        for axis in range(rank):
            lanes = [
                (flow.inputs, flow.axes[places.index(axis)] if axis in places else frozenset())
                for flow, places in operands
            ]
            aligned = frozenset().union(*(axis_lanes for _, axis_lanes in lanes))
            axes.append(
                frozenset(
                    lane for lane in aligned if all(lane in f for i, f in lanes if lane[0] in i)
                )
            )
        return cls(inputs, tuple(axes))

    def meet(self, other: Flow) -> Flow:
        """What holds on both of two paths."""
        every = range(len(self.axes))
        return Flow.join(len(self.axes), [(self, every), (other, every)])

    def __str__(self) -> str:
        shown = ["|".join(f"{i}.{a}" for i, a in sorted(lanes)) or "-" for lanes in self.axes]
        return "<" + ", ".join(shown) + ">"


@dataclasses.dataclass(frozen=True)
class Demand:
    """Which part of a value the program's outputs need.

    Attributes:
      axes: for each axis, the needed positions [start, limit), or None for all of them; the whole
        is None where nothing is needed.
    """

    axes: tuple[tuple[Dim, Dim] | None, ...] | None

    @classmethod
    def whole(cls, rank: int) -> Demand:
        """All of a value."""
        return cls((None,) * rank)

    @property
    def is_dead(self) -> bool:
        """Whether no output needs any of the value."""
        return self.axes is None

    def meet(self, other: Demand, region: Region) -> Demand:
        """What two uses need together: nothing that either needs is left out."""
        if self.axes is None or other.axes is None:
            return other if self.axes is None else self
        pairs = zip(self.axes, other.axes, strict=True)
        return Demand(
            tuple(None if a is None or b is None else _hull(a, b, region) for a, b in pairs)
        )

    def through(self, places: Sequence[int | None]) -> Demand:
        """The demand on an operand whose axes become the axes ``places`` of this value."""
        if self.axes is None:
            return self
        return Demand(tuple(None if at is None else self.axes[at] for at in places))

    def __str__(self) -> str:
        if self.axes is None:
            return "dead"
        return "[" + ", ".join(":" if s is None else f"{s[0]}:{s[1]}" for s in self.axes) + "]"


def _hull(a: tuple[Dim, Dim], b: tuple[Dim, Dim], region: Region) -> tuple[Dim, Dim]:
    return least((a[0], b[0]), region), greatest((a[1], b[1]), region)


DEAD = Demand(None)
