"""True elements laid out on rows of another length, by slices in place of a gather.

A reshape of ``[c, d]`` to ``[e, f]`` moves the true elements of a padded array wherever d or f has
pad lanes. Often p rows of the new length are q rows of the old one and r elements more, with small
integers: heads split off, halves joined, the shift of relative attention (``[2t - 1, t]`` as
``[t, 2t - 1]``). Then group m of p new rows begins r*m elements after the old row q*m: old rows are
put one behind the other, the groups are sheared by r lanes per group as the reshape of a full array
shears it, and each new row of a group is a slice. A gather moves one element at a time, and a TPU
lays out its operand with whatever axes are left in 128 lanes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import Dim
from sod2jax.rewrite.sizes import Sizes

_MOST_ROWS = 4  # of a group, on either side
_MOST_SHEAR = 2  # lanes per group
_MOST_AROUND = 2  # rows before or after a group that shearing brings in


@dataclasses.dataclass(frozen=True)
class Restride:
    """``[c, d]`` as ``[e, f]``: p rows of f are q rows of d and r elements.

    Attributes:
      old: (c, d).
      new: (e, f).
      p: new rows in a group.
      q: old rows in a group.
      r: elements by which a group of new rows is longer.
      before: old rows that a group may begin before its own.
      after: old rows that it may end behind them.
    """

    old: tuple[Dim, Dim]
    new: tuple[Dim, Dim]
    p: int
    q: int
    r: int
    before: int
    after: int

    @property
    def only_splits(self) -> bool:
        """Whether each old row is some new ones: no row is put behind another."""
        return self.q == 1 and self.r == 0

    def apply(self, sizes: Sizes, array: Any, axis: int, filler: Any) -> Any:
        """Moves the elements of axes ``axis`` and ``axis + 1``.

        Args:
          sizes: true and padded ones.
          array: with its true lanes first on both axes.
          axis: the first of the two.
          filler: what lanes hold that no element of the array is put into.
        """
        (_, d), (e, f) = self.old, self.new
        wide, lanes = sizes.size(d), sizes.size(f)
        groups = -(-sizes.size(e) // self.p)
        room = self.p * lanes  # elements of a group
        margin = max(-self.r, 0) * groups  # left of it, for groups that begin earlier
        behind = max(self.r, 0) * groups
        filler = np.asarray(filler).astype(array.dtype)
        rows = _rows(self, array, axis, groups, filler)
        across = margin + max(len(rows) * wide, self.before * wide + room + behind)
        line = _row_behind_row(rows, axis + 1, margin, across, sizes.true(d), filler)
        start = jnp.int32(self.before * sizes.true(d)) if self.before else 0
        line = _slice(line, start, margin + room + behind, axis + 1)
        line = _sheared(line, axis, self.r, margin, filler)
        steps = [jnp.int32(k * sizes.true(f)) if k else 0 for k in range(self.p)]
        new = [_slice(line, step, lanes, axis + 1) for step in steps]
        joined = (
            new[0]
            if self.p == 1
            else lax.reshape(jnp.stack(new, axis + 1), _with(array, axis, groups * self.p, lanes))
        )
        return lax.slice_in_dim(joined, 0, sizes.size(e), axis=axis)


def restride(sizes: Sizes, old: tuple[Dim, Dim], new: tuple[Dim, Dim]) -> Restride | None:
    """How ``[c, d]`` becomes ``[e, f]``; None if that is no matter of few slices."""
    (_, d), (e, f) = old, new
    for p in range(1, _MOST_ROWS + 1):
        for q in range(1, _MOST_ROWS + 1):
            r = dims.normalise(p * f - q * d)
            if not isinstance(r, int) or abs(r) > _MOST_SHEAR:
                continue
            for around in range(_MOST_AROUND + 1):
                # True groups are at most (e - 1) / p + 1.
                moved = -r * (e - 1) if r < 0 else r * (e - 1 + p)
                if sizes.region.proves(Comparison.of(around * p * d, ">=", moved)):
                    before, after = (around, 0) if r < 0 else (0, around)
                    return Restride(old, new, p, q, r, before, after)
    return None


def _rows(how: Restride, array: Any, axis: int, groups: int, filler: Any) -> list[Any]:
    """Each old row of all groups, those around them too: [..., groups, d, ...]."""
    around = how.before + how.q + how.after
    high = how.q * (groups - 1) + how.q + how.after - array.shape[axis]
    edges = [(0, 0, 0)] * array.ndim
    edges[axis] = (how.before, high, 0)
    array = lax.pad(array, filler, edges)
    last = how.q * (groups - 1) + 1
    return [lax.slice_in_dim(array, k, k + last, how.q, axis) for k in range(around)]


def _row_behind_row(
    rows: list[Any], axis: int, margin: int, lanes: int, step: Any, filler: Any
) -> Any:
    """The true lanes of rows one after the other; those of the last one are followed by its pad."""
    edges = [(0, 0, 0)] * rows[0].ndim
    edges[axis] = (margin, lanes - margin - rows[0].shape[axis], 0)
    line = lax.pad(rows[0], filler, edges)
    for k, row in enumerate(rows[1:], 1):
        at = jnp.int32(margin + k * step)
        line = lax.dynamic_update_slice_in_dim(line, row, at, axis)
    return line


def _sheared(line: Any, axis: int, r: int, margin: int, filler: Any) -> Any:
    """Row m moved by r*m lanes to the left, without its margin: the reshape of a full array."""
    if r == 0:
        return line
    groups, lanes = line.shape[axis : axis + 2]
    flat = lax.reshape(line, (*line.shape[:axis], groups * lanes, *line.shape[axis + 2 :]))
    edges = [(0, 0, 0)] * flat.ndim
    edges[axis] = (-margin, max(r, 0) * groups, 0)
    flat = lax.pad(flat, filler, edges)
    return lax.reshape(flat, _with(line, axis, groups, lanes + r))


def _with(like: Any, axis: int, rows: int, lanes: int) -> tuple[int, ...]:
    """A shape with other sizes on two axes."""
    return (*like.shape[:axis], rows, lanes, *like.shape[axis + 2 :])


def _slice(array: Any, start: Any, size: int, axis: int) -> Any:
    if isinstance(start, int):
        return lax.slice_in_dim(array, start, start + size, axis=axis)
    return lax.dynamic_slice_in_dim(array, start, size, axis)
