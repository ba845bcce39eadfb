"""``type(n) is int``: no class hides its instances from Python's ``type``.

So the answer is that of a size's own class. The modules of the functions that a trace is seen to
reach, and call ``type``, get one that answers ``int``, while traces of ours run; so do those that a
trace failed in.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import FunctionType
from typing import Any

from sod2jax import _compat
from sod2jax.tracing import reach
from sod2jax.tracing.bound import Bound
from sod2jax.tracing.recorder import attentive


class _Answering(type):
    """The class of what stands for ``type``, and of the metaclasses that are made of that."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is not _Type:
            return super().__call__(*args, **kwargs)
        if len(args) == 1 and attentive() is not None:
            return _answer(args[0])
        return type(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, type) if cls is _Type else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: Any) -> bool:
        return issubclass(subclass, type) if cls is _Type else super().__subclasscheck__(subclass)

    def __getitem__(cls, item: Any) -> Any:
        return type[item]


def _answer(value: Any) -> type:
    if _compat.is_symbolic(value):
        return _compat.stands_for(type(value))
    kind = type(value)
    if issubclass(kind, Bound):
        return value.stands_for()
    return _Type if kind is type else kind  # for "type(x) is type"


class _Type(type, metaclass=_Answering):
    """Stands for ``type`` as a name of a module."""


# What is mentioned beside ``type`` where that of a number is asked for.
_NUMBERS = frozenset("Integral Number Real bool float int integer issubclass".split())
_modules: list[dict[str, Any]] = []
_lock = threading.Lock()
_traces = 0


@contextlib.contextmanager
def answered(functions: Sequence[FunctionType]) -> Iterator[None]:
    """Has ``type`` answer for sizes as for integers, in the modules that are known to ask it.

    Args:
      functions: that what is traced meanwhile seems to call; their modules become known.
    """
    global _traces
    _learn(f.__globals__ for f in functions if _may_ask(f.__globals__) and _asks(f))
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


def _learn(found: Iterable[dict[str, Any]]) -> bool:
    """Remembers modules; whether there are new ones."""
    with _lock:
        new = {id(names): names for names in found if not any(names is m for m in _modules)}
        _modules.extend(new.values())
    return bool(new)


def _may_ask(names: dict[str, Any]) -> bool:
    """Whether a module may ask for the type of a size, and means Python's own."""
    return reach.is_others(names) and names.get("type", _Type) is _Type


def explains(error: BaseException | None) -> bool:
    """Whether a trace may have failed for what ``type`` said, and need not fail so again.

    The functions on the way to the error, and others of their modules, may have asked.
    """
    found: list[dict[str, Any]] = []
    traceback = None if error is None else error.__traceback__
    while traceback is not None:
        names, traceback = traceback.tb_frame.f_globals, traceback.tb_next
        functions = [f for f in names.values() if isinstance(f, FunctionType)]
        if _may_ask(names) and any(map(_asks, functions)):
            found.append(names)
    return _learn(found)


def _asks(function: FunctionType) -> bool:
    """Whether a function, or one inside of it, seems to ask for the type of a number."""
    codes = reach.codes(function.__code__)
    names = {name for code in codes for name in code.co_names}
    if "type" not in names:
        return False
    listed = any(_lists_int(function.__globals__.get(name)) for name in names)
    texts = any("int" in code.co_consts for code in codes)
    return listed or texts or not names.isdisjoint(_NUMBERS)


def _lists_int(table: Any) -> bool:
    if not isinstance(table, dict | frozenset | list | set | tuple):
        return False
    return any(item is int for item in itertools.islice(table, reach.FEW))
