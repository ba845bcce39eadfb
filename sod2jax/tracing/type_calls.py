"""``type(n) is int``: no class hides its instances from Python's ``type``.

So the answer is that of a size's own class, and a function that insists on ``int`` raises. The
modules of such functions get a ``type`` that answers ``int``, while traces of ours run.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from sod2jax import _compat
from sod2jax.tracing import frames
from sod2jax.tracing.recorder import attentive

# Packages that want the true class.
_OTHERS = frozenset(sys.stdlib_module_names) | {"jax", "jaxlib", "numpy", "sod2jax"}


class _Answering(type):
    """The class of what stands for ``type``, and of the metaclasses that are made of that."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is not _Type:
            return super().__call__(*args, **kwargs)
        if len(args) == 1 and _compat.is_symbolic(args[0]) and attentive() is not None:
            return int
        return type(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, type) if cls is _Type else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: Any) -> bool:
        return issubclass(subclass, type) if cls is _Type else super().__subclasscheck__(subclass)

    def __getitem__(cls, item: Any) -> Any:
        return type[item]


class _Type(type, metaclass=_Answering):
    """Stands for ``type`` as a name of a module."""


_modules: list[dict[str, Any]] = []
_lock = threading.Lock()
_traces = 0


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """Has ``type`` answer ``int`` for sizes, in the modules that are known to need it."""
    global _traces
    with _lock:
        _traces += 1
        for names in _modules:
            names.setdefault("type", _Type)
    try:
        yield
    finally:
        with _lock:
            _traces -= 1
            for names in _modules if not _traces else ():
                if names.get("type") is _Type:
                    del names["type"]


def explains(error: BaseException | None) -> bool:
    """Whether a trace may have failed for what ``type`` said, and need not fail so again.

    The functions on the way to the error, and others of their modules, may have asked.
    """
    found: list[dict[str, Any]] = []
    traceback = None if error is None else error.__traceback__
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
        names = frame.f_globals
        if frames.package(frame) not in _OTHERS and "type" not in names and _calls_type(names):
            found.append(names)
    with _lock:
        new = [names for names in found if not any(names is known for known in _modules)]
        _modules.extend({id(names): names for names in new}.values())
    return bool(new)


def _calls_type(names: dict[str, Any]) -> bool:
    """Whether a function of a module, or one inside of it, calls ``type``, and mentions ``int``."""
    codes: list[Any] = [f.__code__ for f in names.values() if isinstance(f, FunctionType)]
    for code in codes:
        if {"type", "int"} <= set(code.co_names):
            return True
        codes += [const for const in code.co_consts if hasattr(const, "co_names")]
    return False
