"""Values of integer arrays (the V-map): symbolic ranges, and their order over a region.

Below UNDEF and above NAC lie ranges ``[low, high]`` of dimensions that hold every *true* element of
an array at every size of the region; a smaller range is more information. A short vector also has
a range per element. An array with no element at all is in any range. Ranges merge to their hull,
which needs the region: whether ``s`` or ``2*b`` is larger depends on it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy

from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region, bounds
from sod2jax.rdp.lattice import Element

MAX_ELEMENTS = 64  # longest vector whose elements are tracked one by one
_MAX_NODES = 48  # largest expression of a range's end; larger ones become numbers


def at_most(a: Dim, b: Dim, region: Region) -> bool:
    """Whether ``a <= b`` is proved at every size of the region."""
    if isinstance(a, int) and isinstance(b, int):
        return a <= b
    low = bounds(_difference(b, a), region).low
    return low is not None and low >= 0


@functools.lru_cache(maxsize=65536)
def _difference(a: Dim, b: Dim) -> Dim:
    return dims.normalise(sympy.sympify(a) - b)


def least(candidates: Iterable[Dim], region: Region) -> Dim:
    """The smallest of dimensions; a ``minimum`` of those whose order is not proved."""
    return _choose(candidates, dims.minimum, min, lambda a, b: at_most(a, b, region))


def greatest(candidates: Iterable[Dim], region: Region) -> Dim:
    """The largest of dimensions; a ``maximum`` of those whose order is not proved."""
    return _choose(candidates, dims.maximum, max, lambda a, b: at_most(b, a, region))


def _choose(
    candidates: Iterable[Dim],
    call: type[sympy.Function],
    of_numbers: Callable[[Iterable[int]], int],
    beats: Callable[[Dim, Dim], bool],
) -> Dim:
    terms = list(dict.fromkeys(t for c in candidates for t in _terms(c, call)))
    if all(isinstance(t, int) for t in terms):
        return of_numbers(terms)  # type: ignore[arg-type]
    terms.sort(key=str)
    kept = [
        t
        for i, t in enumerate(terms)
        if not any(
            beats(u, t) and (j < i or not beats(t, u)) for j, u in enumerate(terms) if j != i
        )
    ]
    return dims.normalise(functools.reduce(call, kept))  # type: ignore[arg-type]


def _terms(dim: Dim, call: type[sympy.Function]) -> Iterator[Dim]:
    if not isinstance(dim, call):
        yield dim
        return
    for arg in dim.args:
        yield from _terms(dims.normalise(arg), call)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Range:
    """Closed interval of dimensions."""

    low: Dim
    high: Dim

    @classmethod
    def point(cls, dim: Dim) -> Range:
        """The range of one value."""
        return cls(dim, dim)

    @property
    def is_point(self) -> bool:
        """Whether the value is known."""
        return self.low == self.high

    def hull(self, other: Range, region: Region) -> Range:
        """The smallest range around both."""
        if self == other:
            return self
        return Range(
            least((self.low, other.low), region), greatest((self.high, other.high), region)
        )

    def __str__(self) -> str:
        return str(self.low) if self.is_point else f"{self.low}..{self.high}"


def is_integer(dtype: Any) -> bool:
    """Whether values of this type are tracked: integers and booleans."""
    return dtype == np.bool_ or jnp.issubdtype(dtype, np.integer)


def dtype_range(dtype: Any) -> Range:
    """All values of an integer or boolean type."""
    if dtype == np.bool_:
        return Range(0, 1)
    return Range(int(jnp.iinfo(dtype).min), int(jnp.iinfo(dtype).max))


def _fit(numbers: Range | None, dtype: Any, region: Region) -> Range | None:
    """The range, if it cannot wrap around in ``dtype`` and says more than ``dtype`` does."""
    if numbers is None or not is_integer(dtype):
        return None
    limits = dtype_range(dtype)
    if numbers == limits:
        return None
    low, high = bounds(numbers.low, region).low, bounds(numbers.high, region).high
    if low is None or high is None or low < limits.low or high > limits.high:  # type: ignore[operator]
        return None
    return Range(
        low if _size(numbers.low) > _MAX_NODES else numbers.low,
        high if _size(numbers.high) > _MAX_NODES else numbers.high,
    )


def _size(dim: Dim) -> int:
    return 1 if isinstance(dim, int) else sum(1 for _ in sympy.preorder_traversal(dim))


@dataclasses.dataclass(frozen=True)
class ValueFact:
    """What is known of an array's elements; build it with ``ValueFact.of`` or ``of_elements``.

    Attributes:
      every: a range that holds all elements, or UNDEF or NAC.
      elements: for a vector of up to 64 elements, a range or None (NAC) for each; else None.
    """

    every: Range | Element
    elements: tuple[Range | None, ...] | None = None

    @classmethod
    def of(cls, every: Range | None, dtype: Any, region: Region) -> ValueFact:
        """All elements in one range; NAC where ``dtype`` may wrap around or adds nothing."""
        return cls(_fit(every, dtype, region) or Element.NAC)

    @classmethod
    def of_elements(cls, ranges: Sequence[Range | None], dtype: Any, region: Region) -> ValueFact:
        """A range for each element of a vector."""
        elements = tuple(_fit(r, dtype, region) for r in ranges)
        every = _hull_all(elements, region) or Element.NAC
        kept = 0 < len(elements) <= MAX_ELEMENTS and any(elements)
        return cls(every, elements if kept else None)

    def range(self, dtype: Any) -> Range | None:
        """Range of all elements, that of the type for NAC; None for a type that is not tracked."""
        if not is_integer(dtype):
            return None
        return self.every if isinstance(self.every, Range) else dtype_range(dtype)

    def meet(self, other: ValueFact, region: Region) -> ValueFact:
        """What holds on both of two paths: the hull."""
        if self == other or other.every is Element.UNDEF:
            return self
        if self.every is Element.UNDEF:
            return other
        every = _hull(_or_none(self.every), _or_none(other.every), region)
        if self.elements is None or other.elements is None:
            return ValueFact(every or Element.NAC)
        elements = tuple(
            _hull(a, b, region) for a, b in zip(self.elements, other.elements, strict=True)
        )
        return ValueFact(every or Element.NAC, elements if any(elements) else None)

    def __str__(self) -> str:
        if self.elements is not None:
            return "(" + ", ".join("nac" if r is None else str(r) for r in self.elements) + ")"
        return self.every.value if isinstance(self.every, Element) else str(self.every)


def _or_none(every: Range | Element) -> Range | None:
    return every if isinstance(every, Range) else None


def _hull(a: Range | None, b: Range | None, region: Region) -> Range | None:
    return None if a is None or b is None else a.hull(b, region)


def _hull_all(ranges: Sequence[Range | None], region: Region) -> Range | None:
    return functools.reduce(lambda a, b: _hull(a, b, region), ranges) if ranges else None


UNDEF_VALUE = ValueFact(Element.UNDEF)
NAC_VALUE = ValueFact(Element.NAC)
