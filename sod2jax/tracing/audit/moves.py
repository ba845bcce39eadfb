"""Where each element of a result comes from, for equations that only move elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jax import lax

LARGEST = 1 << 16
"""Elements of an array whose moves are followed, or that is evaluated."""

# Takes the flat places of an operand's elements, the parameters and the result's shape; gives the
# place that each element of the result comes from, -1 where it is the second operand.
Move = Callable[[np.ndarray, Mapping[str, Any], tuple[int, ...]], np.ndarray]


def _broadcast(places: np.ndarray, params: Mapping[str, Any], shape: Any) -> np.ndarray:
    into = [1] * len(shape)
    for size, axis in zip(places.shape, params["broadcast_dimensions"], strict=True):
        into[axis] = size
    return np.broadcast_to(places.reshape(into), shape)


def _slice(places: np.ndarray, params: Mapping[str, Any], _: Any) -> np.ndarray:
    strides = params["strides"] or (1,) * places.ndim
    return places[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


def _pad(places: np.ndarray, params: Mapping[str, Any], _: Any) -> np.ndarray:
    for axis, (low, high, interior) in enumerate(params["padding_config"]):
        lines = np.moveaxis(places, axis, 0)
        count = len(lines)
        spread = np.full((count + max(count - 1, 0) * interior, *lines.shape[1:]), -1)
        spread[:: interior + 1] = lines
        ends = [np.full((max(extra, 0), *lines.shape[1:]), -1) for extra in (low, high)]
        stop = len(spread) + min(high, 0)
        kept = np.concatenate([ends[0], spread[max(-low, 0) : max(stop, 0)], ends[1]])
        places = np.moveaxis(kept, 0, axis)
    return places


MOVES: dict[str, Move] = {
    "broadcast_in_dim": _broadcast,
    "copy": lambda places, params, shape: places,
    "pad": _pad,
    "reshape": lambda places, params, shape: places.reshape(shape),
    "rev": lambda places, params, shape: np.flip(places, params["dimensions"]),
    "slice": _slice,
    "squeeze": lambda places, params, shape: places.reshape(shape),
    "transpose": lambda places, params, shape: np.transpose(places, params["permutation"]),
}
"""By name of the primitive."""


def dynamic_slice(places: np.ndarray, starts: Sequence[Any], sizes: Sequence[int]) -> np.ndarray:
    """A block whose start is known, moved inside as JAX does."""
    at = [min(max(int(s), 0), n - k) for s, n, k in zip(starts, places.shape, sizes, strict=True)]
    return places[tuple(slice(s, s + k) for s, k in zip(at, sizes, strict=True))]


def gather(
    places: np.ndarray, indices: np.ndarray, params: Mapping[str, Any], shape: Sequence[int]
) -> np.ndarray | None:
    """A gather at known places, all of them inside; None if some are not."""
    numbers, block = params["dimension_numbers"], params["slice_sizes"]
    offset_axes = numbers.offset_dims
    batch_axes = [k for k in range(len(shape)) if k not in offset_axes]
    collapsed = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [k for k in range(places.ndim) if k not in collapsed]
    result = np.indices(shape, sparse=True)
    batch = [result[axis] for axis in batch_axes]
    at: list[Any] = [0] * places.ndim
    for column, axis in enumerate(numbers.start_index_map):
        at[axis] = indices[(*batch, column)] if batch else indices[column]
        low, high = np.min(at[axis], initial=0), np.max(at[axis], initial=0)
        if low < 0 or high > places.shape[axis] - block[axis]:
            return None
    pairs = zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    for axis, of_indices in pairs:
        at[axis] = batch[of_indices]
    for axis, out in zip(kept, offset_axes, strict=True):
        at[axis] = at[axis] + result[out]
    return np.broadcast_to(places[tuple(at)], shape)


def scatter(
    places: np.ndarray, indices: np.ndarray, params: Mapping[str, Any], shape: Sequence[int]
) -> np.ndarray | None:
    """Where elements come from that are put at known places; None if some meet, or are outside."""
    numbers = params["dimension_numbers"]
    inserted = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    sizes = iter(places.shape[axis] for axis in numbers.update_window_dims)
    block = tuple(1 if axis in inserted else next(sizes) for axis in range(len(shape)))
    like = lax.GatherDimensionNumbers(
        offset_dims=tuple(numbers.update_window_dims),
        collapsed_slice_dims=tuple(numbers.inserted_window_dims),
        start_index_map=tuple(numbers.scatter_dims_to_operand_dims),
        operand_batching_dims=tuple(numbers.operand_batching_dims),
        start_indices_batching_dims=tuple(numbers.scatter_indices_batching_dims),
    )
    whole = np.arange(math.prod(shape)).reshape(shape)
    at = gather(whole, indices, {"dimension_numbers": like, "slice_sizes": block}, places.shape)
    if at is None or np.unique(at).size < at.size:
        return None
    result = np.full(math.prod(shape), -1)
    result[at.ravel()] = places.ravel()
    return result.reshape(shape)
