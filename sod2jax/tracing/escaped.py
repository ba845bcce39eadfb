"""Sizes that one trace left in Python state, and another uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.errors import StateError
from sod2jax.ir.jaxprs import equations


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
        for dim in _sizes(eqn):
            if dim.scope is not scope:
                raise StateError(
                    f"{name} uses the size '{dim}' of an earlier trace at "
                    f"{_compat.source_line(eqn)}: it was stored outside of the function, where no "
                    "later call gives it its number. Read sizes from the arrays of each call, or "
                    "return them"
                )


def _sizes(eqn: JaxprEqn) -> Iterator[Any]:
    """The symbolic sizes that an equation makes arrays or numbers of."""
    shapes = (getattr(var.aval, "shape", ()) for var in eqn.outvars)
    given = (dim for shape in (*shapes, (eqn.params.get("dim"),)) for dim in shape)
    return (dim for dim in given if isinstance(dim, _compat.Dimension))
