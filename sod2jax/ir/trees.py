"""Trees of results whose static parts hold sizes: a field of a dataclass that is no leaf."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sod2jax import _compat
from sod2jax.ir import dims


def has_sizes(tree: Any) -> bool:
    """Whether static parts of a tree hold symbolic sizes."""
    return any(map(_compat.is_symbolic, _statics(tree)))


def holds(tree: Any, kind: type) -> bool:
    """Whether static parts of a tree hold something of a class."""
    return any(isinstance(static, kind) for static in _statics(tree))


def evaluated(tree: Any, sizes: Mapping[str, int]) -> Any:
    """The tree with numbers in the place of its symbolic sizes."""

    def number(dim: Any) -> int:
        return dims.evaluate(dims.from_jax(dim), sizes)

    return _compat.rebuilt(tree, lambda static: _changed(static, number))


def _statics(tree: Any) -> list[Any]:
    """What the nodes of a tree hold of their own, and all inside that."""
    found: list[Any] = []

    def noted(static: Any) -> Any:
        found.extend(_inside(static))
        return static

    _compat.rebuilt(tree, noted)
    return found


def _inside(static: Any) -> Iterator[Any]:
    yield static
    if isinstance(static, dict):
        parts: Iterable[Any] = (*static.keys(), *static.values())
    elif isinstance(static, list | tuple | set | frozenset):
        parts = static
    elif dataclasses.is_dataclass(static) and not isinstance(static, type):
        parts = [getattr(static, field.name) for field in dataclasses.fields(static)]
    else:
        return
    for part in parts:
        yield from _inside(part)


def _changed(static: Any, change: Callable[[Any], Any]) -> Any:
    """Static data with its sizes changed, inside of containers and dataclasses too."""
    if _compat.is_symbolic(static):
        return change(static)
    if isinstance(static, dict):
        return {_changed(k, change): _changed(v, change) for k, v in static.items()}
    if isinstance(static, tuple) and hasattr(static, "_fields"):
        return type(static)(*(_changed(v, change) for v in static))
    if type(static) in (list, tuple, set, frozenset):
        return type(static)(_changed(v, change) for v in static)
    if dataclasses.is_dataclass(static) and not isinstance(static, type):
        return _dataclass(static, change)
    return static


def _dataclass(static: Any, change: Callable[[Any], Any]) -> Any:
    before = {field.name: getattr(static, field.name) for field in dataclasses.fields(static)}
    after = {name: _changed(value, change) for name, value in before.items()}
    if all(after[name] is before[name] or after[name] == before[name] for name in before):
        return static
    other = object.__new__(type(static))
    for name, value in {**getattr(static, "__dict__", {}), **after}.items():
        object.__setattr__(other, name, value)
    return other
