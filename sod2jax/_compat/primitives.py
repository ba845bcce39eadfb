"""Primitives of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jax._src import core, effects
from jax._src.interpreters import batching, mlir


class StaysInPlace(effects.Effect):
    """What an equation says holds for all that follow it, so it is neither moved nor dropped."""

    __str__ = lambda self: "StaysInPlace"  # noqa: E731


_STAYS_IN_PLACE = StaysInPlace()

for _allowed in (
    effects.lowerable_effects,
    effects.control_flow_allowed_effects,
    effects.custom_derivatives_allowed_effects,
    effects.remat_allowed_effects,
    effects.partial_eval_kept_effects,
):
    _allowed.add_type(StaysInPlace)


def array_aval(shape: tuple[Any, ...], dtype: Any, weak_type: bool = False) -> Any:
    """The abstract value of an array whose dimensions may be symbolic."""
    return core.ShapedArray(shape, np.dtype(dtype), weak_type=weak_type)


def is_unknown(value: Any) -> bool:
    """Whether a value is traced, and so that its elements are not known (unlike in eager grad)."""
    return isinstance(value, core.Tracer) and not core.is_concrete(value)


def new_primitive(
    name: str,
    abstract: Callable[..., Any],
    meaning: Callable[..., Any],
    batched: Callable[..., Any],
    stays_in_place: bool = False,
) -> Any:
    """A primitive with one result.

    Args:
      name: of the primitive.
      abstract: ``abstract(*avals, **params)`` gives the result's abstract value.
      meaning: what it computes, in JAX's own operations.
      batched: its rule under ``vmap``.
      stays_in_place: whether its equations have an effect, which keeps them where they are.
    """
    primitive = core.Primitive(name)
    if stays_in_place:
        primitive.def_effectful_abstract_eval(
            lambda *avals, **params: (abstract(*avals, **params), {_STAYS_IN_PLACE})
        )
    else:
        primitive.def_abstract_eval(abstract)
    primitive.def_impl(meaning)
    mlir.register_lowering(primitive, mlir.lower_fun(meaning, multiple_results=False))
    batching.primitive_batchers[primitive] = batched
    return primitive
