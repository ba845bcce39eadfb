"""What a symbolic trace left in Python state, kept through the traces at concrete sizes.

These run at sizes of their own, and would leave plain numbers in the place of the stand-ins that
are refused where they are used: nobody could tell them from those of a call.
"""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable, Iterator
from types import CellType, FunctionType
from typing import Any, NamedTuple

from sod2jax import _compat
from sod2jax.tracing import reach
from sod2jax.tracing.bound import Bound

_STAND_INS = (_compat.Dimension, Bound)
_DEEPEST = 8  # containers in containers that are made anew by each trace


class _Place(NamedTuple):
    """Where something is held, and what puts it back."""

    held: Any
    restore: Callable[[], Any]


@contextlib.contextmanager
def kept(fun: Any) -> Iterator[None]:
    """Puts back, at its end, the stand-ins that were in what a function can be seen to reach.

    A container that holds one is put back where it was held, too.

    Args:
      fun: callable.
    """
    places = {id(value): list(_places(value)) for value in reach.objects(fun)}
    holders: set[int] = set()
    for _ in range(_DEEPEST):
        more = {
            owner
            for owner, own in places.items()
            if owner not in holders and any(_is_kept(p.held, holders) for p in own)
        }
        if not more:
            break
        holders |= more
    restorers = [p.restore for own in places.values() for p in own if _is_kept(p.held, holders)]
    try:
        yield
    finally:
        for restore in restorers:
            restore()


def _places(value: Any) -> Iterator[_Place]:
    """What one object holds, each with what puts it back."""
    if isinstance(value, list | collections.deque):
        restore = functools.partial(_refill, value, list(value))
        yield from (_Place(held, restore) for held in value)
    elif isinstance(value, dict):
        yield from _in_dict(value)
    elif isinstance(value, FunctionType):
        yield from _in_function(value)
    elif isinstance(value, type):
        for name, held in list(vars(value).items()):
            yield _Place(held, functools.partial(setattr, value, name, held))
    yield from _in_dict(reach.attributes(value))
    for name, held in reach.slots(value).items():
        yield _Place(held, functools.partial(object.__setattr__, value, name, held))


def _in_function(function: FunctionType) -> Iterator[_Place]:
    for cell in function.__closure__ or ():
        if reach.is_filled(cell):
            put = CellType.cell_contents.__set__  # type: ignore[attr-defined]
            yield _Place(cell.cell_contents, functools.partial(put, cell, cell.cell_contents))
    defaults, names = function.__defaults__, function.__kwdefaults__
    yield _Place(defaults, functools.partial(setattr, function, "__defaults__", defaults))
    yield from _in_dict(names or {})
    if reach.is_others(function.__globals__):
        used = {name for code in reach.codes(function.__code__) for name in code.co_names}
        yield from _in_dict(function.__globals__, used)


def _in_dict(values: dict[Any, Any], keys: set[str] | None = None) -> Iterator[_Place]:
    for key, held in list(values.items()):
        if keys is None or key in keys:
            yield _Place(held, functools.partial(values.__setitem__, key, held))


def _refill(container: Any, items: list[Any]) -> None:
    container.clear()
    container.extend(items)


def _is_kept(held: Any, holders: set[int]) -> bool:
    """Whether it is a stand-in, or holds one."""
    if type(held) is tuple:
        return any(_is_kept(each, holders) for each in held)
    return issubclass(type(held), _STAND_INS) or id(held) in holders
