"""What a value has to do with the bases that a decomposition chose: the domain of the analysis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

UNIFORM = "uniform"
"""State of an axis: all lanes are equal."""
COUNTING = "counting"
"""State of an axis: lane i is the number i."""


@dataclasses.dataclass(frozen=True)
class Spectral:
    """State of an axis: lane i is one function of the i-th value, whichever i it is.

    Attributes:
      source: the decomposition.
    """

    source: Any


@dataclasses.dataclass(frozen=True)
class Basis:
    """State of an axis: it counts the vectors of a basis that the solver chose.

    Vectors of one value may be any basis of their space: R turns them, unitary, and commutes with
    all functions of the values.

    Attributes:
      source: the decomposition.
      side: 0 for left vectors, or the only ones; 1 for right vectors. Both turn by one R, but for
        those of the value 0, which turn apart.
      conjugate: whether R comes conjugated; False for real ones.
      complete: whether vectors of the value 0 span all of its space, on their side.
      quenched: whether vectors of the value 0 have been multiplied by 0.
      unbounded: whether they have been multiplied by what may be infinite there.
    """

    source: Any
    side: int
    conjugate: bool = False
    complete: bool = False
    quenched: bool = False
    unbounded: bool = False

    def meets(self, other: Any) -> bool:
        """Whether the sum over both, in a contraction, is the same for every choice."""
        if not isinstance(other, Basis) or self.source is not other.source:
            return False
        if self.complete and self.side == other.side:
            return True
        return (self.quenched or other.quenched) and not (self.unbounded or other.unbounded)


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """What is known of one value of the program.

    Attributes:
      axes: the state of each axis of which something is known; others vary in any way.
      at_zero: what stands in the lanes where the spectral value is 0; None if unknown.
      positive: whether it is known to be 0 or more, but for NaN.
      diagonal: two axes, where all lanes but those of equal index are 0 or False.
    """

    axes: Mapping[int, Any] = dataclasses.field(default_factory=dict)
    at_zero: Any = None
    positive: bool = False
    diagonal: tuple[int, ...] = ()

    @property
    def bases(self) -> dict[int, Basis]:
        """The axes that count vectors."""
        return {axis: state for axis, state in self.axes.items() if isinstance(state, Basis)}

    @property
    def spectral(self) -> list[int]:
        """The axes along which it is a function of the values of a decomposition."""
        return [axis for axis, state in self.axes.items() if isinstance(state, Spectral)]

    def moved(self, places: Mapping[int, int], uniform: tuple[int, ...] = ()) -> Value:
        """The value with axes in other places; those without a place are gone.

        Args:
          places: the new place of each old axis.
          uniform: new axes along which all lanes are equal.
        """
        axes = {places[axis]: state for axis, state in self.axes.items() if axis in places}
        axes |= dict.fromkeys(uniform, UNIFORM)
        at_zero = self.at_zero if all(axis in places for axis in self.spectral) else None
        diagonal = tuple(places[axis] for axis in self.diagonal if axis in places)
        return Value(axes, at_zero, self.positive, diagonal if len(diagonal) == 2 else ())


PLAIN = Value()
