"""What a pass did to a program, or left alone, and why."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Remark:
    """One decision of a pass.

    Attributes:
      what: in the field's words, such as "merged 2 conds of one predicate".
      source: the user's line, ``file:line (function)``.
      reason: why, with the numbers that decided.
    """

    what: str
    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what} at {self.source}: {self.reason}"


def counted(number: int) -> str:
    """So many equations, in words."""
    return f"{number} equation{'' if number == 1 else 's'}"
