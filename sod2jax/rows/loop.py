"""The loop over some rows of arrays: how many blocks of them run is known at run time only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Arrays = list[jax.Array]
Read = Callable[[jax.Array, int], jax.Array]  # of an array and its axis: the rows of a block


def over_rows(
    active: jax.Array,
    block: int,
    axes: Sequence[int],
    body: Callable[[Read, Arrays], Arrays],
    results: Arrays,
) -> Arrays:
    """Runs a body over the active rows, ``block`` at a time, and writes what it gives.

    Of one row, the loop becomes a conditional. Rows of the last block past the active ones are
    copies of some row, and what the body makes of them is dropped.

    Args:
      active: bool[N], the rows to run.
      block: how many rows the body takes at a time.
      axes: the axis of rows of each result.
      body: makes new rows, of ``read`` and of the results so far.
      results: what new rows are written into.
    """
    (rows,) = active.shape
    if rows == 1 == block:
        return lax.cond(
            lax.squeeze(active, (0,)),
            lambda: body(lambda array, axis: array, results),
            lambda: results,
        )
    order, count = _ranked(active, block)

    def step(number: jax.Array, results: Arrays) -> Arrays:
        index = lax.dynamic_slice(order, (number * np.int32(block),), (block,))
        new = body(lambda array, axis: _read(array, index, axis), results)
        return [
            _write(old, array, index, axis)
            for old, array, axis in zip(results, new, axes, strict=True)
        ]

    steps = lax.div(count + np.int32(block - 1), np.int32(block))
    return lax.fori_loop(np.int32(0), steps, step, results)


def _ranked(active: jax.Array, block: int) -> tuple[jax.Array, jax.Array]:
    """int32 indices of the active rows, in order and then past the end, and how many there are."""
    (rows,) = active.shape
    index = lax.iota(np.int32, rows)
    order = lax.sort(lax.select(active, index, lax.full_like(index, rows)))
    past = lax.full((block - 1,), np.int32(rows))
    count = lax.reduce_sum(lax.convert_element_type(active, np.int32), axes=(0,))
    return lax.concatenate([order, past], 0) if block > 1 else order, count


def _read(array: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    if index.shape == (1,):
        at = lax.squeeze(index, (0,))
        return lax.dynamic_slice_in_dim(array, at, 1, axis, allow_negative_indices=False)
    return jnp.take(array, index, axis=axis, mode="clip")


def _write(array: jax.Array, new: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    """The array with new rows; those past its end, of the last block, are dropped."""
    if index.shape == (1,):
        at = lax.squeeze(index, (0,))
        return lax.dynamic_update_slice_in_dim(array, new, at, axis, allow_negative_indices=False)
    place = (slice(None),) * axis + (index,)
    return array.at[place].set(new, mode="drop", unique_indices=False)
