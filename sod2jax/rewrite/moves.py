"""True elements moved to other lanes: new layouts for axes, and lanes picked by number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

from sod2jax.ir.dims import Dim
from sod2jax.rewrite.padded import Padded, pick
from sod2jax.rewrite.restride import restride
from sod2jax.rewrite.sizes import Sizes


def relayout(
    sizes: Sizes,
    value: Padded,
    start: int,
    stop: int,
    shape: Sequence[Dim],
    fuses_gathers: bool = True,
) -> Padded:
    """Lays the true elements of axes ``start:stop``, in order, out on prefix axes of ``shape``."""
    target = tuple((d,) for d in shape)
    moved = _in_slices(sizes, value, start, stop, shape, fuses_gathers)
    if moved is None:
        source = sizes.position(sizes.flat_index(target), value.extents[start:stop])
        lanes = math.prod(value.array.shape[start:stop])
        merged = (*value.array.shape[:start], lanes, *value.array.shape[stop:])
        moved = pick(lax.reshape(value.array, merged), source, start)
    extents = (*value.extents[:start], *target, *value.extents[stop:])
    origin = (*range(start), *[None] * len(target), *range(stop, value.rank))
    return value.with_array(moved, extents, value.fills_from(origin))


def _as_two(factors: Sequence[Dim]) -> tuple[Dim, Dim]:
    *before, last = factors
    return before[0] if before else 1, last


def _in_slices(
    sizes: Sizes,
    value: Padded,
    start: int,
    stop: int,
    shape: Sequence[Dim],
    fuses_gathers: bool,
) -> Any | None:
    """The moved array, if slices move it better than a gather."""
    old, new = ([f for f in each if f != 1] for each in (_factors(value, start, stop), shape))
    filler = _filler(value, start, stop)
    if filler is None or not (0 < len(old) <= 2 and 0 < len(new) <= 2):
        return None
    before, after = _as_two(old), _as_two(new)
    how = restride(sizes, before, after)
    if how is None or (fuses_gathers and not how.only_splits):
        return None
    head, tail = value.array.shape[:start], value.array.shape[stop:]
    array = lax.reshape(value.array, (*head, *sizes.sizes(before), *tail))
    moved = how.apply(sizes, array, start, filler)
    return lax.reshape(moved, (*head, *sizes.sizes(shape), *tail))


def _factors(value: Padded, start: int, stop: int) -> list[Dim]:
    return [factor for layout in value.extents[start:stop] for factor in layout]


def _filler(value: Padded, start: int, stop: int) -> Any | None:
    """What new lanes may hold, whatever is promised of the pad lanes of other axes."""
    if value.constant is not None:
        return value.constant
    if not isinstance(value.array.dtype, np.dtype) or value.array.dtype == jax.dtypes.float0:
        return None
    others = [fill.value for axis, fill in value.fills.items() if not start <= axis < stop]
    known = {v for v in others if v is not None}
    return None if len(known) > 1 else next(iter(known), 0)


def take(value: Padded, axis: int, index: Any, dim: Dim) -> Padded:
    """Lanes ``index`` (int32[N(dim)]) of a prefix axis, as a prefix axis of true size ``dim``.

    Indices of pad lanes may be anything.
    """
    moved = pick(value.array, index, axis)
    extents = (*value.extents[:axis], (dim,), *value.extents[axis + 1 :])
    return value.with_array(moved, extents, {k: f for k, f in value.fills.items() if k != axis})
