"""Comparisons of sizes, and what a trace may assume of sizes that depend on values."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import sympy

from sod2jax.errors import SpecError
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim


@dataclasses.dataclass(frozen=True)
class Comparison:
    """``left op right`` over symbolic sizes: a constraint, a guard, or a question of a trace.

    Attributes:
      left, right: the dimensions compared.
      op: ">=", "==" or "!=".
      source: the line that asked, ``file:line (function)``; empty for a constraint.
      text: how a user wrote it; empty where it was made otherwise.
    """

    left: Dim
    op: str
    right: Dim
    source: str = dataclasses.field(default="", compare=False)
    text: str = dataclasses.field(default="", compare=False)

    @classmethod
    def parse(cls, text: str) -> Comparison:
        """Reads "s <= 512", "s < 513", "s % 8 == 0", ...

        Raises:
          SpecError: the text is not one comparison.
        """
        parsed = cls.parse_chain(text)
        if len(parsed) != 1:
            raise SpecError(f"'{text}' is {len(parsed)} comparisons, where one is wanted")
        return parsed[0]

    @classmethod
    def parse_chain(cls, text: str) -> tuple[Comparison, ...]:
        """Reads comparisons of a size with the next, such as "1 <= s < 512".

        Raises:
          SpecError: the text is no comparison by <=, <, >=, > or ==.
        """
        first, *rest = (part.strip() for part in re.split(r"(<=|>=|==|<|>)", text))
        if not rest or "" in (first, *rest) or any("=" in part for part in (first, *rest[1::2])):
            raise SpecError(
                f"constraint '{text}' must compare sizes by <=, <, >=, > or ==, such as 's <= 512' "
                "or '1 <= s < 513'"
            )
        dimensions = [dims.parse(part) for part in (first, *rest[1::2])]
        pairs = zip(dimensions, rest[::2], dimensions[1:], strict=False)
        return tuple(cls._read(left, op, right, text.strip()) for left, op, right in pairs)

    @classmethod
    def _read(cls, left: Dim, op: str, right: Dim, text: str) -> Comparison:
        if op in ("<=", "<"):
            left, op, right = right, op.replace("<", ">"), left
        if op == ">":
            op, right = ">=", right + 1
        return cls(left, op, right, text=text)

    @classmethod
    def of(cls, left: Dim, op: str, right: Dim, source: str = "") -> Comparison:
        """The comparison of two dimensions in canonical form."""
        return cls(dims.normalise(left), op, dims.normalise(right), source)

    @property
    def negated(self) -> Comparison:
        """The comparison that holds where this one does not."""
        if self.op == ">=":
            return Comparison.of(self.right - 1, ">=", self.left, self.source)
        return Comparison(self.left, "!=" if self.op == "==" else "==", self.right, self.source)

    @property
    def plain(self) -> str:
        """What it says, in the form that is read most easily: "b >= 3" for "2 - b <= -1"."""
        constant, rest = sympy.sympify(self.difference).as_coeff_Add()
        if not rest.is_Symbol and not (-rest).is_Symbol:
            return f"{self.left} {self.op} {self.right}"
        if rest.is_Symbol:
            return f"{rest} {self.op} {-constant}"
        return f"{-rest} {'<=' if self.op == '>=' else self.op} {constant}"

    @property
    def difference(self) -> Dim:
        """``left - right``."""
        return dims.normalise(sympy.sympify(self.left) - self.right)

    @property
    def is_trivial(self) -> bool:
        """Whether it holds at all sizes, being about numbers only."""
        return not self.symbols and bool(self.holds({}))

    @property
    def symbols(self) -> frozenset[str]:
        """Names of the symbols that it speaks of."""
        return dims.symbols_of(self.left) | dims.symbols_of(self.right)

    def holds(self, sizes: Mapping[str, Any]) -> Any:
        """Whether it holds at true sizes, elementwise where these are arrays.

        At a size where a side divides by 0 it does not, and neither does its negation.
        """
        try:
            left, right = dims.evaluate(self.left, sizes), dims.evaluate(self.right, sizes)
        except ZeroDivisionError:
            return False
        if self.op == ">=":
            return left >= right
        return left == right if self.op == "==" else left != right

    def zero_divisor(self, sizes: Mapping[str, int]) -> Dim | None:
        """The divisor in it that is 0 at some sizes; None where it has a value there."""
        both: Any = sympy.Tuple(self.left, self.right)
        for call in sorted(both.atoms(dims.floordiv, dims.mod), key=str):
            with contextlib.suppress(ZeroDivisionError):  # of another divisor
                divisor = dims.normalise(call.args[1])
                if dims.evaluate(divisor, sizes) == 0:
                    return divisor
        return None

    def __str__(self) -> str:
        text = self.text or f"{self.left} {self.op} {self.right}"
        return f"{text} at {self.source}" if self.source else text

    def __repr__(self) -> str:
        return f"Comparison({self})"


def violated(guards: tuple[Comparison, ...], sizes: Mapping[str, int]) -> tuple[Comparison, ...]:
    """The guards that do not hold, of those that speak of known sizes only."""
    known = [guard for guard in guards if guard.symbols <= sizes.keys()]
    return tuple(guard for guard in known if not guard.holds(sizes))


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """What a trace takes for granted of data-dependent sizes; each run checks it.

    Attributes:
      fixed: what some of them are, by their symbols.
      limits: relations between them.
    """

    fixed: tuple[tuple[str, Dim], ...] = ()
    limits: tuple[Comparison, ...] = ()

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols that they are about."""
        return frozenset(name for name, _ in self.fixed).union(*(c.symbols for c in self.limits))

    def __bool__(self) -> bool:
        return bool(self.fixed or self.limits)


NO_ASSUMPTIONS = Assumptions()
