"""Whose function a call is, and the selection of elements that the others are made of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax.errors import DataDependentSizeError
from sod2jax.tracing import data_dependent

# Keywords that only these functions have; NumPy does without them.
_OURS = ("max_size",)


def like_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function on JAX arrays that is NumPy's own for all others."""
    name = function.__name__

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if concerns_jax(name, args, kwargs):
            return function(*args, **kwargs)
        kwargs = {key: value for key, value in kwargs.items() if key not in _OURS}
        return getattr(np, name)(*args, **kwargs)

    return call


def concerns_jax(name: str, *arguments: Any) -> bool:
    """Whether there are JAX's arrays among the arguments of a function.

    Raises:
      DataDependentSizeError: another trace than that of an optimized function is going on.
    """
    leaves = [x for x in jax.tree.leaves(arguments) if is_jax(x)]
    if not data_dependent.is_tracing() and any(map(_compat.is_unknown, leaves)):
        raise DataDependentSizeError(
            f"the size of what '{name}' returns depends on values, which are not known while JAX "
            "traces a function: decorate the function with sod2jax.optimize and call it outside of "
            f"jax.jit, jax.vmap and loops, or use jax.numpy.{name} with a fixed size, if "
            "it has one, such as jnp.nonzero(x, size=...)"
        )
    return bool(leaves)


def is_jax(value: Any) -> bool:
    """Whether a value is JAX's, or is computed from symbolic sizes."""
    return (
        isinstance(value, jax.Array)
        or hasattr(value, "__jax_array__")
        or _compat.is_symbolic(value)
    )


def index_dtype() -> Any:
    """int32, or int64 with 64 bits enabled."""
    return jax.dtypes.canonicalize_dtype(np.int64)


def count_of(mask: Any) -> Any:
    """int32 scalar: how many elements are true; the mask may be empty."""
    return jnp.sum(mask, dtype=np.int32)


def places(mask: Any, what: str, most: Any = None) -> Any:
    """int32[count]: where a mask is true, ascending.

    Args:
      mask: bool[n].
      what: names the size.
      most: a dimension that the count is never above; n by default.
    """
    (n,) = mask.shape
    count, size = data_dependent.dimension(count_of(mask), n if most is None else most, what)
    target = jnp.where(mask, jnp.cumsum(mask, dtype=np.int32) - 1, size)
    start = jnp.zeros(count, np.int32)
    return start.at[target].set(positions(n), mode="drop", wrap_negative_indices=False)


def flat_places(a: Any) -> Any:
    """Flat positions of what is not zero; the same ones, of one size, for the same argument."""
    return data_dependent.once(a, lambda: places(jnp.ravel(a) != 0, "nonzero"))


def positions(n: Any) -> Any:
    """int32[n]: 0, 1, 2, ..."""
    return lax.iota(np.int32, n)


def take(a: Any, index: Any, axis: int = 0, unique: bool = True) -> Any:
    """``a`` at ascending places, different ones if ``unique``, of one axis, all inside it."""
    if _is_zero(a.shape[axis]):
        return jnp.zeros((*a.shape[:axis], *index.shape, *a.shape[axis + 1 :]), a.dtype)
    at = (*[slice(None)] * axis, index)
    return a.at[at].get(
        mode="clip", unique_indices=unique, indices_are_sorted=True, wrap_negative_indices=False
    )


def pick(a: Any, index: Any) -> Any:
    """``a`` at places of its first axis, moved inside."""
    if _is_zero(a.shape[0]):
        return jnp.zeros((*index.shape, *a.shape[1:]), a.dtype)
    return a.at[index].get(mode="clip", wrap_negative_indices=False)


def _is_zero(size: Any) -> bool:
    """Whether there is nothing to take from, so that no place can be meant; JAX would refuse."""
    return isinstance(size, int) and size == 0


def before(x: Any, value: Any) -> Any:
    """``x`` moved one place up along its first axis: ``value``, x[0], x[1], ..."""
    widths = [(1, -1, 0), *[(0, 0, 0)] * (x.ndim - 1)]
    return lax.pad(x, jnp.asarray(value, x.dtype), widths)


def after(x: Any, value: Any) -> Any:
    """``x[n]`` moved one place down: x[1], x[2], ..., ``value``."""
    return lax.pad(x, jnp.asarray(value, x.dtype), [(-1, 1, 0)])


def axis_of(axis: int, rank: int) -> int:
    """An axis as a number from 0.

    Raises:
      AxisError: there is none.
    """
    if not -rank <= axis < rank:
        raise np.exceptions.AxisError(axis, rank)
    return axis % rank
