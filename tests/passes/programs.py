"""Programs for the passes: traced with symbolic shapes, without the rest of the compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from sod2jax import _compat
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from tests.harnesses import Arg


def program(fun: Callable[..., Any], *args: Arg, **bounds: int) -> Program:
    """A function as a program, over symbols from 1 to their bounds."""
    texts = [f"{name} <= {most}" for name, most in bounds.items()]
    region = Region.of(bounds, map(Comparison.parse, texts))
    scope = jax.export.SymbolicScope(texts)
    specs = [
        jax.ShapeDtypeStruct(
            arg.spec
            if isinstance(arg.spec, tuple)
            else jax.export.symbolic_shape(f"({arg.spec},)", scope=scope),
            np.dtype(arg.dtype),
        )
        for arg in args
    ]
    closed = jax.jit(fun).trace(*specs).jaxpr
    names = tuple(f"x{k}" for k in range(len(closed.invars)))
    return Program("f", closed, tuple(_compat.all_constants(closed)), names, None, region)


def equations(jaxpr: Any, outside: frozenset[str] = frozenset()) -> Iterator[Any]:
    """Every equation, also in sub-jaxprs, but for those of the primitives ``outside``."""
    for eqn in jaxpr.eqns:
        yield eqn
        if eqn.primitive.name in outside:
            continue
        for _, inner in _compat.sub_jaxprs(eqn):
            yield from equations(inner, outside)


def count(jaxpr: Any, name: str, outside: str = "") -> int:
    """How many equations of a primitive there are, but for those in the primitives ``outside``."""
    found = equations(jaxpr, frozenset(outside.split()))
    return sum(eqn.primitive.name == name for eqn in found)
