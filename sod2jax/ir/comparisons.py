"""Comparisons of sizes that decided the course of a trace, and what may be taken for granted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Constraint


@dataclasses.dataclass(frozen=True)
class Decision:
    """``left == right`` or ``left >= right``, asked while tracing.

    Attributes:
      left, right: the dimensions compared.
      op: "==" or ">=".
      source: the line that asked, ``file:line (function)``.
    """

    left: Dim
    op: str
    right: Dim
    source: str

    def answer(self, sizes: Mapping[str, int]) -> bool:
        """The answer at true sizes."""
        left, right = dims.evaluate(self.left, sizes), dims.evaluate(self.right, sizes)
        return left == right if self.op == "==" else left >= right

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols that it is about."""
        return dims.symbols_of(self.left) | dims.symbols_of(self.right)

    @property
    def negated(self) -> Decision:
        """The comparison that is true where this one, a ``>=``, is false."""
        return Decision(dims.normalise(self.right - 1), ">=", self.left, self.source)

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right} at {self.source}"


@dataclasses.dataclass(frozen=True)
class Known:
    """What a trace may rely on of sizes that depend on values.

    Attributes:
      fixed: what some of them are, by their symbols.
      limits: relations between them.
    """

    fixed: tuple[tuple[str, Dim], ...] = ()
    limits: tuple[Constraint, ...] = ()


NOTHING_KNOWN = Known()


@dataclasses.dataclass(frozen=True, eq=False)
class Undecided:
    """A trace that stopped where sizes of its region differ.

    Attributes:
      decision: what to decide before the next try.
      error: what stopped the trace; final for sizes that the decision does not set apart.
      data_dependent: the symbols of sizes that depend on values, in the order of their making.
    """

    decision: Decision
    error: Exception
    data_dependent: tuple[str, ...] = ()

    @property
    def is_data_dependent(self) -> bool:
        """Whether the decision is about sizes that depend on values."""
        return not self.decision.symbols.isdisjoint(self.data_dependent)

    def is_final(self, sizes: Mapping[str, int]) -> bool:
        """Whether the decision leaves the trace as it was at these sizes."""
        return self.decision.op == "==" and not self.decision.answer(sizes)
