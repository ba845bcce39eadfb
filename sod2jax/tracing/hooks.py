"""What is replaced in Python, NumPy and JAX while traces of ours run.

Functions of modules and methods of classes are patches alike. All of them are placed for the first
of the traces that overlap, or none if one cannot be, and removed after the last. They act on the
threads that trace only: on others each calls the original.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Patch:
    """What stands in for a function of a module or for a method of a class.

    Attributes:
      owner: the module, or the class. A function is replaced in all modules that imported it, too.
      name: its name there; a class may lack such a method.
      make: gives the replacement from the original; from None if the class lacks it.
    """

    owner: Any
    name: str
    make: Callable[[Any], Any]


def while_tracing(call: Callable[..., Any]) -> Callable[[Any], Any]:
    """The ``make`` of a patch that is ``call(original, *args, **kwargs)`` on threads that trace."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            if _thread.recorder is None:
                return original(*args, **kwargs)
            return call(original, *args, **kwargs)

        _originals[replacement] = original
        return replacement

    return make


_originals: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def original(function: types.FunctionType) -> Any:
    """What a function stands for while traces run, as callbacks may hold it; else itself."""
    return _originals.get(function, function)


class _Thread(threading.local):
    recorder: Any = None


_thread = _Thread()
_lock = threading.Lock()
_traces = 0
_live: list[Any] = []  # the recorders of the traces that run
_in_place = contextlib.ExitStack()
_ABSENT = object()


def active() -> Any:
    """The recorder of the trace that this thread is in; None outside of traces."""
    return _thread.recorder


@contextlib.contextmanager
def placed(patches: tuple[Patch, ...], recorder: Any) -> Iterator[None]:
    """Has the patches in place inside the block, where this thread traces for a recorder.

    Traces that overlap share the patches: all bring the same.
    """
    _enter(patches)
    _live.append(recorder)
    try:
        with _recorded_by(recorder):
            yield
    finally:
        _live[:] = [live for live in _live if live is not recorder]
        _leave()


def on_other_threads(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, asking as part of this thread's trace on whatever thread runs it meanwhile."""
    recorder, own = _thread.recorder, threading.get_ident()

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == own or not any(recorder is live for live in _live):
            return function(*args, **kwargs)
        with _recorded_by(recorder):
            return function(*args, **kwargs)

    return call


@contextlib.contextmanager
def unrecorded() -> Iterator[None]:
    """What this thread asks inside the block is part of no trace."""
    with _recorded_by(None):
        yield


@contextlib.contextmanager
def _recorded_by(recorder: Any) -> Iterator[None]:
    outer, _thread.recorder = _thread.recorder, recorder
    try:
        yield
    finally:
        _thread.recorder = outer


def _enter(patches: tuple[Patch, ...]) -> None:
    global _traces
    with _lock:
        if not _traces:
            _place(patches)
        _traces += 1


def _leave() -> None:
    global _traces
    with _lock:
        _traces -= 1
        if not _traces:
            _in_place.close()


def _place(patches: tuple[Patch, ...]) -> None:
    """Places all patches, or none and raises."""
    originals = [_original(patch) for patch in patches]
    modules = _modules()
    made = [patch.make(original) for patch, original in zip(patches, originals, strict=True)]
    with contextlib.ExitStack() as undo:
        before = {id(module): len(names) for module, names in modules}
        undo.callback(_restore_copies, made, originals, before)
        for k, owner, name, value in _places.find(patches, originals, modules):
            if _own(owner).get(name, _ABSENT) is value:
                undo.callback(_restore, owner, name, value, made[k])
                setattr(owner, name, made[k])
        _in_place.push(undo.pop_all())


def _restore(owner: Any, name: str, value: Any, made: Any) -> None:
    """Puts back what was there, unless somebody else has put something there meanwhile."""
    if _own(owner).get(name) is not made:
        return
    if value is _ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, value)


def _restore_copies(made: list[Any], originals: list[Any], before: dict[int, int]) -> None:
    """Does so in the modules that were imported, or imported a function, during the traces."""
    by_id = {id(new): original for new, original in zip(made, originals, strict=True)}
    for module, names in _modules():
        if len(names) == before.get(id(module)):
            continue
        for name, value in list(names.items()):
            if id(value) in by_id:
                setattr(module, name, by_id[id(value)])


Place = tuple[int, Any, str, Any]
"""(index of a patch, owner, name, what the owner itself has there)"""


class _Places:
    """Where patches go, remembered for each module until its names grow or become fewer."""

    def __init__(self) -> None:
        self._functions: dict[int, int] = {}
        self._known: dict[int, tuple[Any, int, list[Place]]] = {}

    def find(self, patches: tuple[Patch, ...], originals: list[Any], modules: Any) -> list[Place]:
        """All places of patches, given what they replace and the modules of this process."""
        methods = [isinstance(patch.owner, type) for patch in patches]
        functions = {id(o): k for k, o in enumerate(originals) if not methods[k]}
        if self._functions != functions:
            self._functions, self._known = functions, {}
        pairs = enumerate(patches)
        own = [(k, p.owner, p.name, _own(p.owner).get(p.name, _ABSENT)) for k, p in pairs]
        return own + [
            place for module, names in modules for place in self._of(module, names, functions)
        ]

    def _of(
        self, module: Any, names: Mapping[str, Any], functions: Mapping[int, int]
    ) -> list[Place]:
        known = self._known.get(id(module))
        if known is not None and known[0] is module and known[1] == len(names):
            return known[2]
        found: list[Place] = []
        if not str(names.get("__name__")).startswith("numpy."):  # whose own parts want numbers
            shared = [(name, v) for name, v in list(names.items()) if id(v) in functions]
            found = [(functions[id(value)], module, name, value) for name, value in shared]
        self._known[id(module)] = module, len(names), found
        return found


_places = _Places()


def _original(patch: Patch) -> Any:
    """What a patch replaces; a class may inherit it, or lack it."""
    if isinstance(patch.owner, type):
        return getattr(patch.owner, patch.name, None)
    return getattr(patch.owner, patch.name)


def _modules() -> list[tuple[Any, Mapping[str, Any]]]:
    """The modules of this process with their names."""
    modules = [m for m in list(sys.modules.values()) if issubclass(type(m), types.ModuleType)]
    return [(module, _own(module) or {}) for module in modules]


def _own(owner: Any) -> Mapping[str, Any]:
    """The names of a module or a class; a module that loads at the first read does not load."""
    return object.__getattribute__(owner, "__dict__")
