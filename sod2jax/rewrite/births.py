"""Values that are masked where they are made, for all that read them.

A mask for a convolution or a contraction is an array of its own. If others read what it was made
of, two arrays are alive in place of one. A rewrite notes such values, and is made again with their
masks at birth; a conditional has them at the end of its branches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sod2jax._compat import JaxprEqn
from sod2jax.ir.vocabulary import (
    CALLS,
    CONDITIONALS,
    CONTRACTIONS,
    CONVOLUTIONS,
    LAYOUT,
    WINDOW_REDUCTIONS,
)
from sod2jax.rewrite import placement
from sod2jax.rewrite.padded import Padded
from sod2jax.rewrite.placement import Birth, OriginOf, demanded

# They read arrays: no compiler fuses a mask with them.
_READ_ARRAYS = CONTRACTIONS | CONVOLUTIONS | WINDOW_REDUCTIONS
_READ_INSIDE = CALLS | CONDITIONALS


@dataclasses.dataclass(frozen=True, eq=False)
class _Masked:
    """A mask: the equation that needs it, the value, its axes, and what pad lanes shall hold."""

    by: JaxprEqn
    value: Padded
    axes: tuple[int, ...]
    fill: Any


class Readers:
    """Who reads a value with a mask, and who without."""

    def __init__(self) -> None:
        self._masks: dict[int, list[_Masked]] = {}
        self._without: dict[int, set[int]] = {}

    def note_mask(self, eqn: JaxprEqn, value: Padded, axes: tuple[int, ...], fill: Any) -> None:
        """An equation needs a value masked."""
        self._masks.setdefault(value.key, []).append(_Masked(eqn, value, axes, fill))

    def note_reads(self, eqn: JaxprEqn | None, values: Sequence[Padded]) -> None:
        """An equation, or the end of a body, reads values as they are, if it masked none."""
        if eqn is not None and eqn.primitive.name in _READ_INSIDE:
            return
        for value in values:
            if value.unmasked is None and value.padded_axes and not self._has_masked(eqn, value):
                self._without.setdefault(value.key, set()).add(id(eqn))

    def _has_masked(self, eqn: JaxprEqn | None, value: Padded) -> bool:
        return any(mask.by is eqn for mask in self._masks.get(value.key, ()))

    def births(self, origin_of: OriginOf) -> list[Birth]:
        """The values to mask at birth, if that is worth another rewrite."""
        found, size = [], 0
        for masks_of in self._masks.values():
            fill, value = masks_of[0].fill, masks_of[0].value
            as_array = any(mask.by.primitive.name in _READ_ARRAYS for mask in masks_of)
            if not as_array or any(mask.fill != fill for mask in masks_of):
                continue
            axes = tuple(sorted({k for mask in masks_of for k in mask.axes}))
            birth = self._birth(origin_of, value, axes, fill)
            if birth is not None:
                found.append(birth)
                size += value.nbytes
        return found if size >= placement.WORTH else []

    def _birth(
        self, origin_of: OriginOf, value: Padded, axes: tuple[int, ...], fill: Any
    ) -> Birth | None:
        """Where a value is made that others read, too, perhaps before it is laid out anew."""
        through: set[int] = set()
        while (origin := origin_of(value)) is not None:
            if self._without.get(value.key, set()) - through:
                return Birth(origin.outermost, origin.result, axes, fill)
            if origin.eqn.primitive.name not in LAYOUT:
                return None
            demands = [
                demand
                for axis in axes
                for demand in demanded(origin.eqn, origin.operands, value, axis, fill) or ()
            ]
            if len(demands) != len(axes) or {demand.fill for demand in demands} != {fill}:
                return None
            axes = tuple(sorted({demand.axis for demand in demands}))
            value, through = origin.operands[0], {id(origin.eqn)}
        return None
