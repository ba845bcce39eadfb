"""What Rank and Dimension Propagation knows of every value of a program."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.region import Region
from sod2jax.rdp.lanes import Demand, Flow
from sod2jax.rdp.lattice import Element, ShapeFact
from sod2jax.rdp.values import MAX_ELEMENTS, NAC_VALUE, UNDEF_VALUE, Range, ValueFact, is_integer

ValueRange = Callable[[Atom], tuple[Dim, Dim] | None]
"""Gives the smallest and largest true element of an operand; None where nothing is known."""


@dataclasses.dataclass(frozen=True)
class Fact:
    """The forward facts of one value."""

    shape: ShapeFact
    value: ValueFact
    flow: Flow

    def meet(self, other: Fact, region: Region) -> Fact:
        """What holds on both of two paths."""
        if self is other or self == other:
            return self
        return Fact(
            self.shape.meet(other.shape),
            self.value.meet(other.value, region),
            self.flow.meet(other.flow),
        )


def array_fact(array: Any, region: Region) -> Fact:
    """The facts of a literal or of a constant array."""
    shape, rank = ShapeFact.of(array.shape), len(array.shape)
    value = NAC_VALUE
    if is_integer(array.dtype) and 0 not in array.shape:
        numbers = np.asarray(array)
        if numbers.ndim == 1 and numbers.size <= MAX_ELEMENTS:
            points = [Range.point(int(x)) for x in numbers]
            value = ValueFact.of_elements(points, numbers.dtype, region)
        else:
            ends = Range(int(numbers.min()), int(numbers.max()))
            value = ValueFact.of(ends, numbers.dtype, region)
    return Fact(shape, value, Flow.constant(rank))


@dataclasses.dataclass(frozen=True, repr=False)
class Facts:
    """The result of the analysis; ``print`` it to read it.

    Attributes:
      jaxpr: the program.
      region: the sizes that the facts hold for.
      table: forward facts of every variable, also inside sub-jaxprs; for a sub-jaxpr that several
        equations call, what holds in all calls.
      backward: computes the backward facts.
    """

    jaxpr: Jaxpr
    region: Region
    table: Mapping[Any, Fact]
    backward: Callable[[], Mapping[Any, Demand]] = dataclasses.field(repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", types.MappingProxyType(self.table))

    @functools.cached_property
    def demands(self) -> Mapping[Any, Demand]:
        """Backward facts of every variable, like ``table``; computed when first asked for."""
        return types.MappingProxyType(self.backward())

    def _fact(self, atom: Atom) -> Fact | None:
        if _compat.is_literal(atom):
            return array_fact(_compat.literal_array(atom), self.region)
        return self.table.get(atom)

    def shape(self, atom: Atom) -> ShapeFact:
        """S-map: rank and dimensions."""
        fact = self._fact(atom)
        return fact.shape if fact else ShapeFact(Element.UNDEF)

    def value(self, atom: Atom) -> ValueFact:
        """V-map: the integers in it."""
        fact = self._fact(atom)
        return fact.value if fact else UNDEF_VALUE

    def value_range(self, atom: Atom) -> tuple[Dim, Dim] | None:
        """Smallest and largest true element of an integer array; None where nothing is known.

        Holds at every size of the region: evaluate both ends at the true sizes.
        """
        every = self.value(atom).every
        return (every.low, every.high) if isinstance(every, Range) else None

    def flow(self, atom: Atom) -> tuple[frozenset[tuple[int, int]], ...]:
        """For each axis, the (program input, its axis) that it is aligned with; see ``Flow``."""
        fact = self._fact(atom)
        return fact.flow.axes if fact else (frozenset(),) * len(dims_of(atom))

    def inputs(self, atom: Atom) -> frozenset[int] | None:
        """The program inputs that a value may depend on; None where it was not reached."""
        fact = self._fact(atom)
        return fact.flow.inputs if fact else None

    def demand(self, var: Any) -> Demand:
        """Which part of it the program's outputs need; all of it where that was not followed."""
        return self.demands.get(var, Demand.whole(len(dims_of(var))))

    def __repr__(self) -> str:
        return f"Facts({len(self.table)} values, for {self.region})"

    def __str__(self) -> str:
        names: dict[Any, str] = {}
        fresh = itertools.count()

        def name(atom: Atom) -> str:
            if _compat.is_literal(atom):
                return str(_compat.literal_array(atom))
            if atom not in names:
                names[atom] = f"v{next(fresh)}"
            return names[atom]

        def line(var: Any) -> str:
            fact = self._fact(var)
            if fact is None:
                return f"{name(var)} not reached"
            parts = [f"{name(var)}:{var.aval.dtype}{fact.shape}"]
            if fact.value != NAC_VALUE:
                parts.append(f"value {fact.value}")
            if any(fact.flow.axes):
                parts.append(f"flow {fact.flow}")
            demand = self.demand(var)
            if demand.axes is None or any(demand.axes):
                parts.append(f"demand {demand}")
            return "  ".join(parts)

        def block(jaxpr: Jaxpr, indent: str) -> Iterator[str]:
            for var in (*jaxpr.constvars, *jaxpr.invars):
                yield f"{indent}input {line(var)}"
            for eqn in jaxpr.eqns:
                yield indent + " ".join([eqn.primitive.name, *map(name, eqn.invars)])
                for _, inner in _compat.sub_jaxprs(eqn):
                    yield from block(inner, indent + "    ")
                yield from (f"{indent}  -> {line(var)}" for var in eqn.outvars)
            yield f"{indent}output {' '.join(map(name, jaxpr.outvars))}"

        return "\n".join([f"facts over {self.region}:", *block(self.jaxpr, "  ")])
