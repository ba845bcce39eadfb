"""The value that the rewrite stage computes with: an array with pad lanes.

An axis of true size ``d`` is laid out as a product of *factors*, outermost first. Each factor has a
true size (a dimension) and a padded size N(factor); the array's axis has the product of the padded
sizes. Three layouts matter:

- exact: one integer factor, no pad lanes;
- prefix: one symbolic factor, the true lanes come first;
- product: several factors, as a reshape that merged axes leaves it. Pad lanes are interleaved, but
  the order of the true lanes is kept, so nothing moves until something needs a prefix.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from sod2jax.ir import dims
from sod2jax.ir.dims import Dim

Extent = tuple[Dim, ...]

_keys = itertools.count()


def extent(factors: Iterable[Dim]) -> Extent:
    """Canonical layout of an axis: factors of 1 vanish, an integer joins the factor before it.

    ``(s, 4)`` is the prefix ``4*s``: its pad lanes are all at the end. ``(4, s)`` stays a product.
    """
    folded: list[Dim] = []
    for factor in factors:
        if isinstance(factor, int) and factor == 1:
            continue
        if isinstance(factor, int) and folded:
            folded[-1] = dims.product((folded[-1], factor))
        else:
            folded.append(factor)
    return tuple(folded) or (1,)


def is_padded(layout: Extent) -> bool:
    """Whether an axis may have pad lanes."""
    return any(dims.is_symbolic(factor) for factor in layout)


def is_prefix(layout: Extent) -> bool:
    """Whether the true lanes of an axis come first (exact axes included)."""
    return len(layout) == 1


def pick(array: Any, index: Any, axis: int) -> Any:
    """Lanes ``index`` (int32, any shape) of an axis, clamped into it; zeros if it has none."""
    if array.shape[axis] > 0:
        return jnp.take(array, index, axis=axis, mode="clip")
    shape = (*array.shape[:axis], *np.shape(index), *array.shape[axis + 1 :])
    return jnp.zeros(shape, array.dtype)


@dataclasses.dataclass(frozen=True)
class Fill:
    """What the pad lanes along one axis hold, whatever the positions on the other axes.

    Attributes:
      value: the number in every pad lane, or None if it is unknown.
      or_nan_row: a row (fixed positions on the other axes) may break the promise if all its true
        lanes are NaN: whatever reduces that row is NaN with and without the pad lanes.
      finite: no pad lane is NaN or infinite.
    """

    value: Any = None
    or_nan_row: bool = False
    finite: bool = False

    def is_known(self, value: Any) -> bool:
        """Whether pad lanes hold ``value``, rows of NaN aside."""
        return self.value is not None and self.value == value

    def meet(self, other: Fill) -> Fill:
        """What both promise: all that is known of lanes that one or the other speaks of."""
        finite = self.finite and other.finite
        if self.value is None or self.value != other.value:
            return Fill(finite=finite)
        return Fill(self.value, self.or_nan_row or other.or_nan_row, finite)

    def __str__(self) -> str:
        if self.value is None:
            return "finite" if self.finite else "anything"
        return f"{self.value}" + (" (or a row of NaN)" if self.or_nan_row else "")


ANYTHING = Fill()
FINITE = Fill(finite=True)


def constant_fill(value: Any, or_nan_row: bool = False) -> Fill:
    """The fill of pad lanes that all hold ``value``; NaN equals nothing, so it promises nothing."""
    if value != value:
        return ANYTHING
    return Fill(value, or_nan_row, finite=not or_nan_row and bool(np.isfinite(value)))


@dataclasses.dataclass(frozen=True, eq=False)
class RowReduction:
    """Remembers that a value is the maximum or the sum of the rows of ``array``.

    Attributes:
      kind: "max" or "sum".
      array: the operand of the reduction, pad lanes masked.
      axes: the reduced axes of ``array``.
      nonnegative: no lane of ``array`` is below zero (NaN allowed).
      layout: for each axis of the value, the axis of ``array`` it runs along, or None if the value
        is the same all along it.
    """

    kind: str
    array: Any
    axes: frozenset[int]
    nonnegative: bool
    layout: tuple[int | None, ...]

    def is_rows_of(self, array: Any, axis: int) -> bool:
        """Whether each row of ``array`` along ``axis`` meets its own reduction, elementwise.

        A reduction over several axes is that of each of its rows: the pad lanes of all are masked.
        """
        aligned = all(
            at == k or (at is None and k in self.axes) for k, at in enumerate(self.layout)
        )
        return self.array is array and axis in self.axes and aligned


@dataclasses.dataclass(frozen=True, eq=False)
class Padded:
    """An array with pad lanes.

    Attributes:
      array: the padded array.
      extents: layout of each axis.
      fills: what is known of the pad lanes, by axis; nothing where an axis is missing.
      constant: the number that every lane holds, true or pad; None if they may differ.
      row: the reduction that the value is, if that is known.
      nonnegative: no lane is below zero (NaN allowed).
      key: the same for all values that agree in their true lanes by construction.
      unmasked: the array before any pad lane was overwritten.
    """

    array: Any
    extents: tuple[Extent, ...]
    fills: Mapping[int, Fill] = dataclasses.field(default_factory=dict)
    constant: Any = None
    row: RowReduction | None = None
    nonnegative: bool = False
    key: int = dataclasses.field(default_factory=lambda: next(_keys))
    unmasked: Any = None

    @classmethod
    def exact(cls, array: Any, constant: Any = None) -> Padded:
        """An array without pad lanes."""
        return cls(array, tuple((size,) for size in np.shape(array)), constant=constant)

    @classmethod
    def prefix(cls, array: Any, shape: Iterable[Dim], **facts: Any) -> Padded:
        """An array whose true lanes come first on every axis."""
        return cls(array, tuple((d,) for d in shape), **facts)

    @property
    def shape(self) -> tuple[Dim, ...]:
        """True size of each axis."""
        return tuple(dims.product(layout) for layout in self.extents)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.extents)

    @property
    def nbytes(self) -> int:
        """Bytes of the padded array, which need not be one that can be read."""
        return math.prod(self.array.shape) * self.array.dtype.itemsize

    @property
    def padded_axes(self) -> tuple[int, ...]:
        """The axes that may have pad lanes."""
        return tuple(k for k, layout in enumerate(self.extents) if is_padded(layout))

    def fill(self, axis: int) -> Fill:
        """What the pad lanes along an axis hold."""
        if self.constant is not None:
            return constant_fill(self.constant)
        fill = self.fills.get(axis, ANYTHING)
        integral = not jnp.issubdtype(self.array.dtype, np.inexact)
        return dataclasses.replace(fill, finite=True) if integral else fill

    @property
    def pad_fills(self) -> dict[int, Fill]:
        """``fill`` of every axis that may have pad lanes."""
        return {axis: self.fill(axis) for axis in self.padded_axes}

    def fills_from(self, origin: Iterable[int | None]) -> dict[int, Fill]:
        """``fills`` for new axes: ``origin`` has the axis that each was, or None."""
        pairs = enumerate(origin)
        return {to: self.fills[at] for to, at in pairs if at is not None and at in self.fills}

    def with_array(
        self,
        array: Any,
        extents: Iterable[Extent] | None = None,
        fills: Mapping[int, Fill] | None = None,
        row: RowReduction | None = None,
    ) -> Padded:
        """The value of an array whose lanes all come from this one: moved, repeated or dropped.

        What is true of every lane, ``constant`` and ``nonnegative``, stays. What depends on where
        lanes are is the caller's to say: ``fills``, and ``row``. ``key`` and ``unmasked`` belong to
        the old array.

        Args:
          array: the new array.
          extents: its layout; this value's by default.
          fills: what is known of its pad lanes; by default what this value knows, if it also has
            its layout, and nothing if not.
          row: the reduction that it is.
        """
        if extents is None:
            extents, fills = self.extents, self.fills if fills is None else fills
        return Padded(
            array, tuple(extents), fills or {}, self.constant, row, nonnegative=self.nonnegative
        )
