"""Equations that call Python, and the functions that they call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax._src import debugging, effects
from jax._src.interpreters import batching

from sod2jax._compat.jaxprs import JaxprEqn


def called(eqn: JaxprEqn) -> Callable[..., Any]:
    """What a callback's equation calls, on flat arrays; what it returns is flat, or nothing."""
    if eqn.primitive.name == "debug_print":
        return functools.partial(debugging.debug_print_p.impl, **eqn.params)
    return eqn.params["callback"]


def bind_callback(
    eqn: JaxprEqn, call: Callable[..., Any], arrays: Sequence[Any], shapes: Sequence[Any]
) -> list[Any]:
    """Binds a callback's equation on other operands, to call another function.

    Args:
      eqn: the equation, with its effect.
      call: what to call.
      arrays: the operands.
      shapes: the shape of each result.
    """
    params = dict(eqn.params)
    if eqn.primitive.name == "debug_print":
        ordered, partitioned = params["ordered"], params["partitioned"]
        effect = debugging.ordered_debug_effect if ordered else debugging.debug_effect
        params = {"effect": effect, "partitioned": partitioned}
    if "result_avals" in params:
        pairs = zip(params["result_avals"], shapes, strict=True)
        params["result_avals"] = tuple(aval.update(shape=tuple(shape)) for aval, shape in pairs)
    if "vmap_method" in params:
        params["vmap_method"] = "sequential"  # rows have sizes of their own
    printing = eqn.primitive.name == "debug_print"
    primitive = debugging.debug_callback_p if printing else eqn.primitive
    return list(primitive.bind(*arrays, **{**params, "callback": call}))


def is_ordered(eqn: JaxprEqn) -> bool:
    """Whether an equation has an effect that must come after those before it."""
    return any(map(effects.ordered_effects.contains, eqn.effects))


def _over_rows(
    primitive: Any,
    unrolled: Callable[..., Any],
    rows: Any,
    args: Sequence[Any],
    axes: Sequence[int | None],
    **params: Any,
) -> Any:
    """Calls for each row, in a loop where the number of rows is symbolic: JAX unrolls it."""
    mapped = [(x, axis) for x, axis in zip(args, axes, strict=True) if axis is not None]
    if not mapped or isinstance(rows.size, int):
        return unrolled(rows, args, axes, **params)

    def step(carry: tuple[()], row: Sequence[Any]) -> tuple[tuple[()], None]:
        of_row, shared = iter(row), zip(args, axes, strict=True)
        primitive.bind(*(x if axis is None else next(of_row) for x, axis in shared), **params)
        return carry, None

    lax.scan(step, (), [jnp.moveaxis(x, axis, 0) for x, axis in mapped])
    return [], []


_RULES = batching.fancy_primitive_batchers
for _primitive in (debugging.debug_callback_p, debugging.debug_print_p):
    _RULES[_primitive] = functools.partial(_over_rows, _primitive, _RULES[_primitive])
