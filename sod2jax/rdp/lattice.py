"""The lattice of dimensions and shapes (the S-map of SoD², arXiv 2403.00176).

One lattice for every dimension, drawn with the least information on top::

    UNDEF                       not reached yet
    3   s   2*s + 1   b*s  ...  known, symbolic and op-inferred constants
    NAC                         not a constant: differs between paths, or known only after running

``meet`` merges two paths and goes down: UNDEF gives way to anything, equal canonical forms stay,
all else is NAC. ``refine`` adds what another source says of the same value: it fills UNDEF and
changes nothing else, and two sources that disagree are a bug. ``x <= y`` reads "x lies below y":
``x.meet(y) == x``.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable

import sympy

from sod2jax.errors import InvariantError
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim


class Element(enum.Enum):
    """The two ends of the lattice."""

    UNDEF = "undef"
    NAC = "nac"


@dataclasses.dataclass(frozen=True)
class DimFact:
    """What is known of one dimension; build it with ``DimFact.of``."""

    value: Dim | Element

    @classmethod
    def of(cls, dim: Dim | sympy.Expr) -> DimFact:
        """The constant ``dim`` in canonical form."""
        return cls(dims.normalise(dim))

    @property
    def dim(self) -> Dim | None:
        """The constant; None for UNDEF and NAC."""
        return None if isinstance(self.value, Element) else self.value

    def meet(self, other: DimFact) -> DimFact:
        """What holds on both of two paths."""
        if self == other or other == UNDEF:
            return self
        return other if self == UNDEF else NAC

    def refine(self, other: DimFact) -> DimFact:
        """This fact, filled from another source about the same value.

        Raises:
          InvariantError: both are constants, and differ.
        """
        if self == UNDEF:
            return other
        if self == NAC or other in (self, UNDEF, NAC):
            return self
        raise InvariantError(f"one dimension was inferred as '{self}' and as '{other}'")

    def __le__(self, other: DimFact) -> bool:
        return self.meet(other) == self

    def __str__(self) -> str:
        return self.value.value if isinstance(self.value, Element) else str(self.value)


UNDEF = DimFact(Element.UNDEF)
NAC = DimFact(Element.NAC)


def lift(function: Callable[..., Dim | sympy.Expr], *facts: DimFact) -> DimFact:
    """Applies dimension arithmetic to facts: NAC if any is NAC, else UNDEF if any is UNDEF."""
    if NAC in facts:
        return NAC
    return UNDEF if UNDEF in facts else DimFact.of(function(*(fact.value for fact in facts)))


@dataclasses.dataclass(frozen=True)
class ShapeFact:
    """Rank and dimensions of a value; UNDEF or NAC where even the rank is."""

    dims: tuple[DimFact, ...] | Element

    @classmethod
    def of(cls, shape: Iterable[Dim]) -> ShapeFact:
        """The shape whose every dimension is a constant."""
        return cls(tuple(map(DimFact.of, shape)))

    @property
    def rank(self) -> DimFact:
        """The number of axes."""
        if isinstance(self.dims, Element):
            return DimFact(self.dims)
        return DimFact(len(self.dims))

    @property
    def constants(self) -> tuple[Dim, ...] | None:
        """The dimensions; None where any is UNDEF or NAC."""
        if isinstance(self.dims, Element):
            return None
        constants = tuple(fact.dim for fact in self.dims)
        return None if None in constants else constants  # type: ignore[return-value]

    def meet(self, other: ShapeFact) -> ShapeFact:
        """What holds on both of two paths: axis by axis, nothing where ranks differ."""
        if UNDEF in (self.rank, other.rank):
            return other if self.rank == UNDEF else self
        if self.rank != other.rank or isinstance(self.dims, Element):
            return ShapeFact(Element.NAC)
        return ShapeFact(self._zip(DimFact.meet, other))

    def refine(self, other: ShapeFact) -> ShapeFact:
        """This fact, filled from another source about the same value.

        Raises:
          InvariantError: ranks or constants differ.
        """
        if isinstance(self.dims, Element) or isinstance(other.dims, Element):
            return other if self.dims is Element.UNDEF else self
        if self.rank != other.rank:
            raise InvariantError(f"one value was inferred with shape {self} and with shape {other}")
        return ShapeFact(self._zip(DimFact.refine, other))

    def _zip(
        self, function: Callable[[DimFact, DimFact], DimFact], other: ShapeFact
    ) -> tuple[DimFact, ...]:
        assert not isinstance(self.dims, Element) and not isinstance(other.dims, Element)
        return tuple(map(function, self.dims, other.dims))

    def __le__(self, other: ShapeFact) -> bool:
        return self.meet(other) == self

    def __str__(self) -> str:
        if isinstance(self.dims, Element):
            return f"[{self.dims.value} rank]"
        return "[" + ", ".join(map(str, self.dims)) + "]"
