"""Sizes that one trace left in Python state, and another uses."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.errors import StateError
from sod2jax.ir.jaxprs import equations
from sod2jax.tracing import frames
from sod2jax.tracing.recorder import stale


def refuse(jaxpr: Jaxpr, scope: Any, name: str) -> None:
    """Refuses a trace that uses sizes of another.

    Args:
      jaxpr: what was traced.
      scope: of its own sizes; None if it has none.
      name: of the function.

    Raises:
      StateError: a size is of another scope.
    """
    for eqn in equations(jaxpr):
        for dim in sizes(eqn):
            if dim.scope is not scope:
                raise stale(f"the size '{dim}' in {name}", _compat.source_line(eqn))


def in_error(error: BaseException, name: str) -> StateError | None:
    """What to raise where a trace without sizes of its own met one, and so failed.

    Args:
      error: of the trace, whose own code or JAX may have raised it about another.
      name: of the function.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        walked = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        dim = next(filter(None, map(_asked, reversed(walked))), None)
        if dim is not None or _tells_of_size(error):
            what = f"a size in {name}" if dim is None else f"the size '{dim}' in {name}"
            return stale(what, _users_line(error))
        seen.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return None


def _tells_of_size(error: BaseException) -> bool:
    """Whether JAX raised an error about a size, or Python one about its type."""
    is_undecided = isinstance(error, _compat.InconclusiveDimensionOperation)
    return is_undecided or f"'{_compat.Dimension.__name__}'" in str(error)


def _asked(frame: FrameType) -> Any:
    """The size whose method a frame is in."""
    of_sizes = sys.modules[_compat.Dimension.__module__].__file__
    dim = frame.f_locals.get("self") if frame.f_code.co_filename == of_sizes else None
    return dim if isinstance(dim, _compat.Dimension) else None


def _users_line(error: BaseException) -> str:
    """The last line outside JAX and this package that an error came through."""
    where = "unknown source"
    for frame, line in traceback.walk_tb(error.__traceback__):
        if not (frames.is_jax(frame) or frames.is_passed(frame.f_code)):
            where = f"{frame.f_code.co_filename}:{line} ({frame.f_code.co_name})"
    return where


def sizes(eqn: JaxprEqn) -> Iterator[Any]:
    """The symbolic sizes that an equation makes arrays or numbers of."""
    shapes = (getattr(var.aval, "shape", ()) for var in eqn.outvars)
    given = (dim for shape in (*shapes, (eqn.params.get("dim"),)) for dim in shape)
    return (dim for dim in given if isinstance(dim, _compat.Dimension))
