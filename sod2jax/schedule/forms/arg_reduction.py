"""Positions of extremes: by comparing with the extreme, on long axes block by block.

XLA's CPU backend carries a pair through a loop that it does not vectorise. The extreme itself is
fast, and the first lane that equals it is the position: the least of the lanes' numbers, counted
down in floats, which vectorise, too. On a long axis the blocks' extremes are compared first, then
the lanes of the block that holds it: all lanes are read once. Measured on jax 0.10 with AVX2: rows
of 8,000 0.3 to 0.4, of 64 0.5.

A NaN comes before all extremes, and XLA's maxima of large arrays may pass over it: elementwise ones
do not. So the form runs where a sum of all lanes, or of elementwise extremes of all of them, is no
NaN, and the equation as it is where it is one.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.schedule.forms.form import Form, in_pairs, is_accumulated, register_form

_LEAST = 1 << 13  # lanes in all: below, it is of no matter
_SHORT = 64  # lanes: below, the loop is as fast
_LONG = 256  # lanes: from here on by blocks
_TURNS = 8  # lanes that are compared one by one, and
_WIDTH = 16  # so many side by side: more in a turn, or more turns, are no single loop
_BLOCK = _TURNS * _WIDTH
_MOST = 1 << 24  # numbers of lanes are exact in float32 up to here
_LARGEST: dict[str, bool] = {"argmax": True, "argmin": False}


@register_form("cpu", *_LARGEST)
def _position(eqn: JaxprEqn) -> Form | None:
    (x,), axes = (v.aval for v in eqn.invars), eqn.params["axes"]
    size = x.shape[axes[0]]
    real = is_accumulated(x.dtype)  # extremes of integers do not vectorise
    if len(axes) != 1 or not real or not _SHORT <= size < _MOST or math.prod(x.shape) < _LEAST:
        return None
    by_block = size >= _LONG
    find = _by_block if by_block else _at_once
    return Form(
        f"{eqn.primitive.name} by comparing with the extreme" + " of blocks" * by_block,
        functools.partial(find, eqn, largest=_LARGEST[eqn.primitive.name]),
        "extremes and comparisons vectorise, a search for positions does not",
    )


def _at_once(eqn: JaxprEqn, x: Any, largest: bool) -> Any:
    return _guarded(eqn, [x], lambda x, _: _first(x, eqn.params["axes"][0], largest), x)


def _guarded(eqn: JaxprEqn, seen: Sequence[Any], find: Callable[..., Any], x: Any) -> Any:
    """What ``find`` makes of the operand, if no NaN is in what was seen of it."""
    wide = jnp.promote_types(x.dtype, np.float32)
    return lax.cond(
        jnp.isnan(functools.reduce(operator.add, (jnp.sum(each, dtype=wide) for each in seen))),
        lambda x, *_: eqn.primitive.bind(x, **eqn.params),
        lambda x, *seen: find(x, *seen).astype(eqn.params["index_dtype"]),
        x,
        *seen,
    )


def _first(x: Any, axis: int, largest: bool) -> Any:
    """int32: the number of the first lane with the extreme."""
    here = x == _extreme(largest)(x, axis, keepdims=True)
    size = np.float32(x.shape[axis])
    left = size - lax.broadcasted_iota(np.float32, x.shape, axis)
    return (size - jnp.max(jnp.where(here, left, np.float32(0)), axis)).astype(np.int32)


def _by_block(eqn: JaxprEqn, x: Any, largest: bool) -> Any:
    """The same in two steps: the first block with the extreme, and the first lane in it."""
    (axis,) = eqn.params["axes"]
    size = x.shape[axis]
    last = size - _BLOCK  # the last block may have lanes of the one before
    starts = [0] if size % _BLOCK == 0 else [0, last]
    parts = [lax.slice_in_dim(x, 0, size // _BLOCK * _BLOCK, axis=axis)]
    parts += [lax.slice_in_dim(x, start, size, axis=axis) for start in starts[1:]]

    def find(x: Any, *tops: Any) -> Any:
        best = jnp.concatenate([_extreme(largest)(top, axis + 1) for top in tops], axis)
        block = _first(best, axis, largest)
        start = jnp.minimum(block * _BLOCK, last)
        return _first(_cut(x, start, axis), axis, largest) + start

    return _guarded(eqn, [_tops(part, axis, largest) for part in parts], find, x)


def _tops(x: Any, axis: int, largest: bool) -> Any:
    """The extremes of the turns of each block; (..., blocks, width, ...) in place of the axis."""
    shape = (*x.shape[:axis], -1, _TURNS, _WIDTH, *x.shape[axis + 1 :])
    turns = (lax.index_in_dim(x.reshape(shape), k, axis + 1, keepdims=False) for k in range(_TURNS))
    # Apart from what reduces it: such maxima may pass over NaN.
    return lax.optimization_barrier(in_pairs(lax.max if largest else lax.min, turns))


def _cut(x: Any, starts: Any, axis: int) -> Any:
    """A block along an axis, of which each lane of the others has its own start."""
    cut = functools.partial(lax.dynamic_slice_in_dim, slice_size=_BLOCK)
    for _ in range(axis + 1, x.ndim):
        cut = jax.vmap(cut, (1, 0), 1)
    for _ in range(axis):
        cut = jax.vmap(cut)
    return cut(x, starts)


def _extreme(largest: bool) -> Callable[..., Any]:
    return jnp.max if largest else jnp.min
