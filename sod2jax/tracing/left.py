"""What a symbolic trace left in Python state, kept through the traces at concrete sizes.

These run at sizes of their own, and would leave plain numbers in the place of the stand-ins that
are refused where they are used: nobody could tell them from those of a call.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from types import CellType, FunctionType
from typing import Any

from sod2jax import _compat
from sod2jax.tracing import reach
from sod2jax.tracing.bound import Bound

_STAND_INS = (_compat.Dimension, Bound)


@contextlib.contextmanager
def kept(fun: Any) -> Iterator[None]:
    """Puts back, at its end, the stand-ins that were in what a function can be seen to reach.

    Args:
      fun: callable.
    """
    restorers = [restore for value in reach.objects(fun) for restore in _restorers(value)]
    try:
        yield
    finally:
        for restore in restorers:
            restore()


def _restorers(value: Any) -> Iterator[Callable[[], Any]]:
    """What puts back the stand-ins that one object holds."""
    if isinstance(value, list):
        if any(map(_stands_in, value)):
            yield functools.partial(value.__setitem__, slice(None), list(value))
    elif isinstance(value, dict):
        yield from _in_dict(value, value)
    elif isinstance(value, FunctionType):
        yield from _in_function(value)
    elif isinstance(value, type):
        for name, held in list(vars(value).items()):
            if _stands_in(held):
                yield functools.partial(setattr, value, name, held)
    elif isinstance(own := getattr(value, "__dict__", None), dict):
        yield from _in_dict(own, own)


def _in_function(function: FunctionType) -> Iterator[Callable[[], Any]]:
    for cell in function.__closure__ or ():
        if reach.is_filled(cell) and _stands_in(cell.cell_contents):
            yield functools.partial(CellType.cell_contents.__set__, cell, cell.cell_contents)  # type: ignore[attr-defined]
    if reach.is_others(function.__globals__):
        names = (name for code in reach.codes(function.__code__) for name in code.co_names)
        yield from _in_dict(function.__globals__, set(names) & function.__globals__.keys())
    yield from _in_dict(vars(function), vars(function))


def _in_dict(values: dict[Any, Any], keys: Iterable[Any]) -> Iterator[Callable[[], Any]]:
    for key in list(keys):
        if _stands_in(held := values[key]):
            yield functools.partial(values.__setitem__, key, held)


def _stands_in(value: Any) -> bool:
    """Whether it is a stand-in, or a tuple that has one, as a shape has."""
    if isinstance(value, tuple):
        return any(map(_stands_in, value))
    return issubclass(type(value), _STAND_INS)
