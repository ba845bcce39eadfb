"""Functions in symbolic dimensions, and what XLA counts of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from tests.harnesses.base import Arg
from tests.quick import QUICK

SIZES = ({"b": 1, "s": 1}, {"b": 3, "s": 17}, {"b": 4, "s": 64})
BS, S = Arg("b, s"), Arg("s")


def symbolic(fun: Callable[..., Any], *args: Arg) -> Any:
    """The symbolic jaxpr of a function."""
    scope = jax.export.SymbolicScope()
    specs = [
        jax.ShapeDtypeStruct(
            jax.export.symbolic_shape(arg.spec, scope=scope)
            if isinstance(arg.spec, str)
            else arg.spec,
            arg.dtype,
        )
        for arg in args
    ]
    return jax.jit(fun).trace(*specs).jaxpr


def xla_analysis(fun: Callable[..., Any], sizes: Mapping[str, int], *args: Arg) -> dict[str, float]:
    """What XLA counts at given sizes."""
    specs = [jax.ShapeDtypeStruct(arg.shape(sizes), arg.dtype) for arg in args]
    return jax.jit(fun, compiler_options=QUICK).lower(*specs).compile().cost_analysis()


def close(ours: float, expected: float, tolerance: float, slack: float = 16) -> bool:
    """Within a share of the expected number, and a few scalar operations."""
    return abs(ours - expected) <= tolerance * expected + slack
