"""What is read of a value: one row at a time, the whole, or nothing."""

from __future__ import annotations

import dataclasses
import enum

from sod2jax.ir.dims import Dim


class Mixed(Exception):
    """A row of a result is not a function of the operands' rows; says why."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Where the rows of a value are.

    Attributes:
      axis: the axis; its size is the number of rows times ``inner``.
      inner: how many lanes of the axis, one after another, belong to each row.
    """

    axis: int
    inner: Dim = 1


class _Special(enum.Enum):
    UNUSED = "unused"


UNUSED = _Special.UNUSED
"""A value that nothing reads."""

Need = Row | None | _Special
"""What is read of a value: one row at a time, the whole (None), or nothing."""


def join(a: Need, b: Need) -> Need:
    """What is read by two readers together.

    Raises:
      Mixed: they read in different ways.
    """
    if a is UNUSED or a == b:
        return b
    if b is UNUSED:
        return a
    raise Mixed("a value is read by rows and as a whole, or by rows on two axes")
