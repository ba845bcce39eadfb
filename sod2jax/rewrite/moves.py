"""True elements moved to other lanes: new layouts for axes, and lanes picked by number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jax import lax

from sod2jax.ir.dims import Dim
from sod2jax.rewrite.padded import Padded, pick
from sod2jax.rewrite.sizes import Sizes


def relayout(sizes: Sizes, value: Padded, start: int, stop: int, shape: Sequence[Dim]) -> Padded:
    """Lays the true elements of axes ``start:stop``, in order, out on prefix axes of ``shape``."""
    target = tuple((d,) for d in shape)
    source = sizes.position(sizes.flat_index(target), value.extents[start:stop])
    lanes = math.prod(value.array.shape[start:stop])
    merged = (*value.array.shape[:start], lanes, *value.array.shape[stop:])
    moved = pick(lax.reshape(value.array, merged), source, start)
    extents = (*value.extents[:start], *target, *value.extents[stop:])
    origin = (*range(start), *[None] * len(target), *range(stop, value.rank))
    return value.with_array(moved, extents, value.fills_from(origin))


def take(value: Padded, axis: int, index: Any, dim: Dim) -> Padded:
    """Lanes ``index`` (int32[N(dim)]) of a prefix axis, as a prefix axis of true size ``dim``.

    Indices of pad lanes may be anything.
    """
    moved = pick(value.array, index, axis)
    extents = (*value.extents[:axis], (dim,), *value.extents[axis + 1 :])
    return value.with_array(moved, extents, {k: f for k, f in value.fills.items() if k != axis})
