"""Python functions that close over sizes: which symbols, and the same functions with numbers.

A callback that mentions ``x.shape[0]``, or ``0.5 * x.shape[0]``, closes over a symbol while it is
traced. What can be rebuilt without anybody noticing is: functions, their defaults and partial
applications, and values that never change, such as tuples and shapes.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import math
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from sod2jax import _compat
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim

_MOST = 100_000  # objects to look through
_PLAIN = (
    bool,
    bytes,
    complex,
    float,
    int,
    str,
    type,
    type(None),
    np.dtype,
    np.generic,
    np.ndarray,
    jax.Array,
    types.BuiltinFunctionType,
    types.ModuleType,
)
_AVALS = (jax.ShapeDtypeStruct, type(_compat.array_aval((), np.float32)))
_FOREIGN = ("jax.", "jaxlib.", "numpy.")


class HiddenSize(Exception):
    """A function depends on a size in a way that cannot be replaced by a number."""


def symbols(function: Any) -> frozenset[str]:
    """The symbols that a function closes over, those in what cannot be rebuilt included.

    Raises:
      HiddenSize: it closes over an array computed from sizes, whose symbols are not known.
    """
    found: set[str] = set()

    def note(dim: Dim) -> int:
        found.update(dims.symbols_of(dim))
        return 0

    _Rebuilder(note, strict=False).of(function)
    return frozenset(found)


def at(function: Any, sizes: Mapping[str, int]) -> Any:
    """The function with numbers for the sizes, and what is computed from sizes, in its closures.

    It is the function itself if there are none.

    Raises:
      HiddenSize: something that may change, or that Python does not let us look into, has a size.
    """
    return _Rebuilder(lambda dim: int(dims.evaluate(dim, sizes))).of(function)


class _Rebuilder:
    """Rebuilds values around the numbers that stand for the dimensions in them.

    Args:
      number: gives the number.
      strict: whether to raise where that cannot be done.
    """

    def __init__(self, number: Callable[[Dim], int], strict: bool = True):
        self._number, self._strict = number, strict
        self._seen: dict[int, tuple[Any, Any]] = {}  # what became of each object
        self._open: set[int] = set()
        self._met_again: set[int] = set()

    def of(self, value: Any) -> Any:
        """The value itself if it has no dimension anywhere."""
        if _compat.is_symbolic(value):
            return self._number(dims.from_jax(value))
        if _compat.is_unknown(value):
            raise HiddenSize("it closes over a traced value; give it that as an argument")
        if isinstance(value, _PLAIN):
            return value
        if hasattr(type(value), "dimension_as_value"):
            return self._computed(value)
        if id(value) in self._open:
            self._met_again.add(id(value))
            return value
        if id(value) not in self._seen:
            self._seen[id(value)] = value, self._opened(value)
        return self._seen[id(value)][1]

    def _computed(self, value: Any) -> Any:
        """What the host computes from numbers in the place of sizes."""
        host = getattr(value, "host", None)
        if host is None:
            raise HiddenSize("it closes over an array computed from sizes; give it the sizes")
        numbers = {dim: self._number(dim) for dim in host.dims}
        if not self._strict:
            return 0
        try:
            return host.at(numbers)
        except (ArithmeticError, ValueError):  # which the function itself raises at such sizes
            return math.nan

    def _opened(self, value: Any) -> Any:
        if len(self._seen) > _MOST:
            raise HiddenSize("it closes over too much to look through")
        self._open.add(id(value))
        new = self._rebuilt(value)
        self._open.remove(id(value))
        if new is not value and id(value) in self._met_again:
            self._refuse("something that refers to itself")
        return new

    def _rebuilt(self, value: Any) -> Any:
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            parts = (value.__func__, value.__self__)
            return self._changed(value, parts, lambda new: types.MethodType(*new))
        if isinstance(value, functools.partial):
            parts = (value.func, value.args, tuple(value.keywords.items()))
            return self._changed(
                value, parts, lambda new: type(value)(new[0], *new[1], **dict(new[2]))
            )
        if isinstance(value, tuple):
            return self._changed(value, value, getattr(type(value), "_make", type(value)))
        if isinstance(value, frozenset):
            return self._changed(value, tuple(value), frozenset)
        if isinstance(value, slice):
            parts = (value.start, value.stop, value.step)
            return self._changed(value, parts, lambda new: slice(*new))
        if isinstance(value, _AVALS):
            return self._changed(
                value, tuple(value.shape), lambda new: value.update(shape=tuple(new))
            )
        if _is_frozen(value):
            return self._frozen(value)
        return self._fixed(_contents(value), value, f"a '{type(value).__name__}', which may change")

    def _changed(self, value: Any, parts: Iterable[Any], make: Callable[[list[Any]], Any]) -> Any:
        old = list(parts)
        new = list(map(self.of, old))
        return value if all(a is b for a, b in zip(old, new, strict=True)) else make(new)

    def _fixed(self, parts: Iterable[Any], value: Any, what: str) -> Any:
        for part in parts:
            if self.of(part) is not part:
                self._refuse(what)
        return value

    def _refuse(self, what: str) -> None:
        if self._strict:
            raise HiddenSize(f"it closes over a size in {what}")

    def _frozen(self, value: Any) -> Any:
        fields = [f.name for f in dataclasses.fields(value) if hasattr(value, f.name)]
        names = list(dict.fromkeys([*fields, *getattr(value, "__dict__", ())]))

        def make(new: list[Any]) -> Any:
            other = object.__new__(type(value))
            for name, part in zip(names, new, strict=True):
                object.__setattr__(other, name, part)
            return other

        return self._changed(value, [getattr(value, name) for name in names], make)

    def _function(self, value: types.FunctionType) -> Any:
        names = value.__code__.co_freevars
        cells = dict(zip(names, value.__closure__ or (), strict=True))
        held = {name: cell.cell_contents for name, cell in cells.items() if _is_filled(cell)}
        globals_ = [value.__globals__.get(name) for name in _global_names(value.__code__)]
        shapes = [g for g in globals_ if isinstance(g, tuple) or _compat.is_symbolic(g)]
        self._fixed(shapes, value, "a global variable")
        keywords = value.__kwdefaults__ or {}
        parts = (tuple(held.values()), value.__defaults__ or (), tuple(keywords.values()))

        def make(new: list[Any]) -> Any:
            contents = dict(zip(held, new[0], strict=True))
            changed = [name for name in held if contents[name] is not held[name]]
            written = _written_names(value.__code__)
            if not written.isdisjoint(changed):
                self._refuse("a variable that it assigns")
            closure = tuple(
                types.CellType(contents[name]) if name in changed else cells[name] for name in names
            )
            defaults = tuple(new[1]) if value.__defaults__ else None
            other = types.FunctionType(
                value.__code__, value.__globals__, value.__name__, defaults, closure
            )
            if value.__kwdefaults__:
                other.__kwdefaults__ = dict(zip(keywords, new[2], strict=True))
            other.__dict__.update(value.__dict__)
            other.__qualname__ = value.__qualname__
            return other

        return self._changed(value, parts, make)


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _global_names(code: types.CodeType) -> set[str]:
    return {name for inner in _codes(code) for name in inner.co_names}


def _written_names(code: types.CodeType) -> set[str]:
    """The variables of enclosing functions that a function assigns or deletes."""
    operations = [op for inner in _codes(code) for op in dis.get_instructions(inner)]
    return {op.argval for op in operations if op.opname in ("STORE_DEREF", "DELETE_DEREF")}


def _is_frozen(value: Any) -> bool:
    parameters = getattr(type(value), "__dataclass_params__", None)
    return parameters is not None and parameters.frozen


def _contents(value: Any) -> Iterator[Any]:
    """What an object that cannot be rebuilt holds."""
    if isinstance(value, list | set | types.MappingProxyType):
        yield from value
    elif isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, jax.tree_util.PyTreeDef):
        node = value.node_data()
        yield from () if node is None else (node[1],)
        yield from value.children()
    elif callable(value) and hasattr(value, "__wrapped__"):
        yield getattr(value, "__wrapped__")  # noqa: B009
    elif not type(value).__module__.startswith(_FOREIGN):
        yield from list(getattr(value, "__dict__", {}).values())
