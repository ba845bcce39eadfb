"""Functions of other modules that are replaced while a trace of ours runs, on its thread only."""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sod2jax.region import Region


@dataclasses.dataclass(frozen=True)
class Hook:
    """What stands in for a function.

    Attributes:
      owner: the module in which the function is looked up.
      name: its name there; that of a builtin where the module has none.
      call: ``call(original, *args, **kwargs)``.
    """

    owner: Any
    name: str
    call: Callable[..., Any]


_tracing = threading.local()
_lock = threading.Lock()
_inside = 0
_replaced: list[tuple[Any, str, Any]] = []
_ABSENT = object()


def area() -> Region | None:
    """The region that this thread traces for; None outside of traces."""
    return getattr(_tracing, "area", None)


@contextlib.contextmanager
def placed(hooks: Sequence[Hook], area: Region) -> Iterator[None]:
    """Has the hooks in place inside the block: the same ones for all traces that overlap."""
    outer = getattr(_tracing, "area", None)
    _count(1, hooks)
    _tracing.area = area
    try:
        yield
    finally:
        _tracing.area = outer
        _count(-1, hooks)


def _count(change: int, hooks: Sequence[Hook]) -> None:
    """Puts the hooks in place for the first trace, and takes them away after the last."""
    global _inside
    with _lock:
        before, _inside = _inside, _inside + change
        if not before:
            for hook in hooks:
                _replaced.append((hook.owner, hook.name, vars(hook.owner).get(hook.name, _ABSENT)))
                setattr(hook.owner, hook.name, _hooked(hook))
        if not _inside:
            while _replaced:
                owner, name, original = _replaced.pop()
                if original is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)


def _hooked(hook: Hook) -> Callable[..., Any]:
    original = getattr(hook.owner, hook.name, None) or getattr(builtins, hook.name)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if area() is None:
            return original(*args, **kwargs)
        return hook.call(original, *args, **kwargs)

    return call
