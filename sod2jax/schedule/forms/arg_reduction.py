"""Positions of extremes: by comparing with the extreme, on long axes block by block.

XLA's CPU backend carries a pair through a loop that it does not vectorise. The extreme itself is
fast, and the first lane that equals it is the position: the least of the lanes' numbers, counted
down in floats, which vectorise, too. On a long axis the blocks' extremes are compared first, then
the lanes of the block that holds it. Measured on jax 0.10: rows of 8,000 0.07, of 64 0.25.

A NaN comes before all extremes, and XLA's maxima of large arrays may pass over it. So the form runs
where the sum of all lanes is no NaN, and the equation as it is where it is one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.schedule.forms.form import Form, is_accumulated, register_form

_LEAST = 1 << 13  # lanes in all: below, it is of no matter
_SHORT = 64  # lanes: below, the loop is as fast
_LONG = 256  # lanes: from here on by blocks
_BLOCK = 32
_MOST = 1 << 24  # numbers of lanes are exact in float32 up to here
_LARGEST: dict[str, bool] = {"argmax": True, "argmin": False}


@register_form("cpu", *_LARGEST)
def _position(eqn: JaxprEqn) -> Form | None:
    (x,), axes = (v.aval for v in eqn.invars), eqn.params["axes"]
    size = x.shape[axes[0]]
    real = is_accumulated(x.dtype)  # extremes of integers do not vectorise
    if len(axes) != 1 or not real or not _SHORT <= size < _MOST or math.prod(x.shape) < _LEAST:
        return None
    largest = _LARGEST[eqn.primitive.name]
    by_block = size >= _LONG
    find = functools.partial(_by_block if by_block else _first, axis=axes[0], largest=largest)
    return Form(
        f"{eqn.primitive.name} by comparing with the extreme" + " of blocks" * by_block,
        functools.partial(_guarded, eqn, find),
        "extremes and comparisons vectorise, a search for positions does not",
    )


def _guarded(eqn: JaxprEqn, find: Callable[[Any], Any], x: Any) -> Any:
    dtype = eqn.params["index_dtype"]
    wide = jnp.promote_types(x.dtype, np.float32)
    return lax.cond(
        jnp.isnan(jnp.sum(x, dtype=wide)),
        lambda x: eqn.primitive.bind(x, **eqn.params),
        lambda x: find(x).astype(dtype),
        x,
    )


def _first(x: Any, axis: int, largest: bool) -> Any:
    """int32: the number of the first lane with the extreme."""
    here = x == _extreme(largest)(x, axis, keepdims=True)
    size = np.float32(x.shape[axis])
    left = size - lax.broadcasted_iota(np.float32, x.shape, axis)
    return (size - jnp.max(jnp.where(here, left, np.float32(0)), axis)).astype(np.int32)


def _by_block(x: Any, axis: int, largest: bool) -> Any:
    """The same in two steps: the first block with the extreme, and the first lane in it."""
    size = x.shape[axis]
    blocks = -(-size // _BLOCK)
    ones = tuple(_BLOCK if k == axis else 1 for k in range(x.ndim))
    padding = tuple((0, blocks * _BLOCK - size if k == axis else 0) for k in range(x.ndim))
    reducer, least = (lax.max, -np.inf) if largest else (lax.min, np.inf)
    tops = lax.reduce_window(x, np.array(least, x.dtype), reducer, ones, ones, padding)
    block = _first(tops, axis, largest)
    lanes = lax.broadcasted_iota(np.int32, _with(x.shape, axis, _BLOCK), axis)
    lanes += jnp.expand_dims(block * _BLOCK, axis)
    # Behind the last lane it stands once more: what comes first counts.
    inside = jnp.take_along_axis(x, jnp.minimum(lanes, size - 1), axis, mode="promise_in_bounds")
    return _first(inside, axis, largest) + block * _BLOCK


def _with(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _extreme(largest: bool) -> Callable[..., Any]:
    return jnp.max if largest else jnp.min
