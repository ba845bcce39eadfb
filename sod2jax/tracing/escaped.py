"""Sizes that one trace left in Python state, and another uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.ir.jaxprs import equations
from sod2jax.tracing.recorder import stale


def refuse(jaxpr: Jaxpr, scope: Any, name: str) -> None:
    """Refuses a trace that uses sizes of another.

    Args:
      jaxpr: what was traced.
      scope: of its own sizes.
      name: of the function.

    Raises:
      StateError: a size is of another scope.
    """
    for eqn in equations(jaxpr):
        for dim in sizes(eqn):
            if dim.scope is not scope:
                raise stale(f"the size '{dim}' in {name}", _compat.source_line(eqn))


def sizes(eqn: JaxprEqn) -> Iterator[Any]:
    """The symbolic sizes that an equation makes arrays or numbers of."""
    shapes = (getattr(var.aval, "shape", ()) for var in eqn.outvars)
    given = (dim for shape in (*shapes, (eqn.params.get("dim"),)) for dim in shape)
    return (dim for dim in given if isinstance(dim, _compat.Dimension))
