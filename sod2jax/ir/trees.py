"""Trees of results whose static parts hold sizes: in fields of dataclasses, in functions."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax

from sod2jax import _compat
from sod2jax.ir import closures, dims
from sod2jax.ir.closures import HiddenSize

# What ``jax.tree_util.Partial`` puts a partial function in.
_Boxed: type = type(jax.tree_util.Partial(functools.partial(len)).func)
_CODE = (types.FunctionType, types.MethodType, functools.partial)


def has_sizes(tree: Any) -> bool:
    """Whether static parts of a tree hold symbolic sizes, or functions that close over some."""
    return any(_compat.is_symbolic(s) or _closes_over_sizes(s) for s in _statics(tree))


def _closes_over_sizes(static: Any) -> bool:
    with contextlib.suppress(HiddenSize):  # no size that a number could replace
        return isinstance(static, _CODE) and bool(closures.symbols(static))
    return False


def holds(tree: Any, kind: type) -> bool:
    """Whether static parts of a tree hold something of a class."""
    return any(isinstance(static, kind) for static in _statics(tree))


def evaluated(tree: Any, sizes: Mapping[str, int]) -> Any:
    """The tree with numbers in the place of its symbolic sizes.

    Raises:
      HiddenSize: a function holds one in what may change.
    """

    def number(part: Any) -> Any:
        if isinstance(part, _CODE):
            return closures.at(part, sizes)
        return dims.evaluate(dims.from_jax(part), sizes)

    return _compat.rebuilt(tree, lambda static: _changed(static, number))


def with_functions(tree: Any, said: Callable[[Any], Any]) -> Any:
    """The tree with other words for the functions in its static parts."""
    return _compat.rebuilt(
        tree, lambda static: _changed(static, lambda x: said(x) if isinstance(x, _CODE) else x)
    )


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
    if isinstance(static, _Boxed):
        static = (static.fun,)
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
    if _compat.is_symbolic(static) or isinstance(static, _CODE):
        return change(static)
    if isinstance(static, _Boxed):
        fun = change(static.fun)
        boxed = isinstance(fun, functools.partial) and fun is not static.fun
        return jax.tree_util.Partial(fun).func if boxed else static if fun is static.fun else fun
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
