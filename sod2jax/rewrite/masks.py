"""Pad lanes overwritten, and the record of who needed it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jax import lax

from sod2jax.ir.dims import Dim
from sod2jax.rewrite.padded import ANYTHING, Padded, constant_fill
from sod2jax.rewrite.sizes import Sizes


@dataclasses.dataclass(frozen=True)
class MaskRecord:
    """One mask that a program needs, or one that the fill lattice made unnecessary.

    Attributes:
      primitive: the consumer that could have seen the pad lanes.
      source: the user's line that bound it.
      axes: true sizes of the axes concerned.
      fill: what the consumer needs the pad lanes to hold.
      reason: why they would be seen.
      size: bytes of the array.
      emitted: False if the pad lanes were known to hold the fill already.
    """

    primitive: str
    source: str
    axes: tuple[Dim, ...]
    fill: Any
    reason: str
    size: int
    emitted: bool

    def __str__(self) -> str:
        axes = ", ".join(map(str, self.axes))
        done = f"hold {self.fill} already"
        if self.emitted:
            done = f"filled with {self.fill} ({self.size:,} B)"
        return f"{self.primitive} at {self.source}: pad lanes of {axes} {done}; {self.reason}"


def holds(value: Padded, axis: int, fill: Any, strict: bool) -> bool:
    """Whether the pad lanes of an axis hold ``fill`` already; with ``strict``, in rows of NaN too.

    See ``Fill.or_nan_row``.
    """
    promise = value.fill(axis)
    return promise.is_known(fill) and not (strict and promise.or_nan_row)


def overwritten(sizes: Sizes, value: Padded, axes: Sequence[int], fill: Any) -> Padded:
    """``value`` with ``fill`` in the pad lanes of ``axes``; true lanes, and so the key, stay."""
    new = constant_fill(fill)
    # Lanes that are pad lanes on a masked and on a kept axis hold the new fill.
    kept = {k: f.meet(new) for k, f in value.fills.items() if k not in axes}
    kept = {k: f for k, f in kept.items() if f != ANYTHING}
    source = value.array if kept or value.unmasked is None else value.unmasked
    valid = sizes.valid(value.extents, axes)
    filler = lax.full(source.shape, fill, source.dtype)
    return dataclasses.replace(
        value,
        array=lax.select(valid, source, filler),
        fills={**kept, **dict.fromkeys(axes, new)},
        row=None,
        unmasked=source,
        constant=None,
        nonnegative=value.nonnegative and fill >= 0,
    )
