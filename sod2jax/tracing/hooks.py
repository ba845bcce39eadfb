"""Functions of other modules that are replaced while a trace of ours runs, on its thread only."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sod2jax.ir.region import Region


@dataclasses.dataclass(frozen=True)
class Hook:
    """What stands in for a function.

    Attributes:
      owner: the module that it belongs to; it is replaced in all that imported it, too.
      name: its name there.
      call: ``call(original, *args, **kwargs)``.
    """

    owner: Any
    name: str
    call: Callable[..., Any]


_tracing = threading.local()
_lock = threading.Lock()
_inside = 0
_replaced: list[tuple[Any, str, Any]] = []


def region() -> Region | None:
    """The region that this thread traces for; None outside of traces."""
    return getattr(_tracing, "region", None)


@contextlib.contextmanager
def placed(hooks: Sequence[Hook], region: Region) -> Iterator[None]:
    """Has the hooks in place inside the block: the same ones for all traces that overlap."""
    outer = getattr(_tracing, "region", None)
    _count(1, hooks)
    _tracing.region = region
    try:
        yield
    finally:
        _tracing.region = outer
        _count(-1, hooks)


def widen(region: Region) -> None:
    """The region of this thread's trace has grown by a symbol."""
    _tracing.region = region


def _count(change: int, hooks: Sequence[Hook]) -> None:
    """Puts the hooks in place for the first trace, and takes them away after the last."""
    global _inside
    with _lock:
        before, _inside = _inside, _inside + change
        if not before:
            _place(hooks)
        while _replaced and not _inside:
            setattr(*_replaced.pop())


def _place(hooks: Sequence[Hook]) -> None:
    for module, name, hook in _places(tuple(hooks), len(sys.modules)):
        original = getattr(module, name)
        _replaced.append((module, name, original))
        setattr(module, name, _gated(original, hook.call))


@functools.lru_cache(maxsize=1)
def _places(hooks: tuple[Hook, ...], modules: int) -> list[tuple[Any, str, Hook]]:
    """Where the functions are looked up; searched again when there are more modules."""
    by_id = {id(getattr(hook.owner, hook.name)): hook for hook in hooks}
    return [
        (module, name, by_id[id(value)])
        for module in list(sys.modules.values())
        # NumPy's own parts want numbers.
        if not getattr(module, "__name__", "").startswith("numpy.")
        for name, value in list(getattr(module, "__dict__", {}).items())
        if id(value) in by_id
    ]


def _gated(original: Callable[..., Any], hook: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if region() is None:
            return original(*args, **kwargs)
        return hook(original, *args, **kwargs)

    return call
