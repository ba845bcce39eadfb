"""The functions that a function seems to call, found without running anything."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import sys
from collections.abc import Mapping
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

# Packages whose functions are looked at no further.
NOT_LOOKED_AT = frozenset(sys.stdlib_module_names) | {"jax", "jaxlib", "numpy", "sod2jax"}
_CONTAINERS = ("collections", "types", "argparse")  # whose classes have attributes of users
FEW = 1000  # objects to look at in one list, or table
_MOST = 20_000  # of them at all


def functions(fun: Any) -> list[FunctionType]:
    """The Python functions that a function seems to call, those of ``NOT_LOOKED_AT``, too.

    Args:
      fun: callable.
    """
    return [value for value in objects(fun) if isinstance(value, FunctionType)]


def objects(fun: Any) -> list[Any]:
    """All that a function can be seen to reach: functions, containers, what has methods.

    The nearest come first.

    Args:
      fun: callable.
    """
    seen: dict[int, Any] = {}
    waiting = collections.deque([fun])
    while waiting and len(seen) < _MOST:
        value = waiting.popleft()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        waiting += _parts(value)
    return list(seen.values())


def is_others(names: Mapping[str, Any]) -> bool:
    """Whether a module is of the user, or of a package that is looked at.

    Args:
      names: of the module.
    """
    return str(names.get("__name__", "")).partition(".")[0] not in NOT_LOOKED_AT


@functools.lru_cache(maxsize=4096)
def codes(code: CodeType) -> tuple[CodeType, ...]:
    """Code, and that of the functions inside of it."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return code, *(c for const in inner for c in codes(const))


def _parts(value: Any) -> list[Any]:
    """What a function, or an object that has methods, may call."""
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if is_filled(cell)]
        return [*cells, *vars(value).values(), *_named(value)]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, dict | list | tuple | collections.deque):
        held = value.values() if isinstance(value, dict) else value
        return [*itertools.islice(held, FEW), *attributes(value).values()]
    kind = value if isinstance(value, type) else type(value)
    own = [] if isinstance(value, type) else [*attributes(value).values(), *slots(value).values()]
    if kind.__module__.partition(".")[0] in NOT_LOOKED_AT - {"sod2jax"}:
        is_container = kind.__module__ in _CONTAINERS
        return own if callable(value) or is_container else []  # as what jit makes of a function
    inside = [getattr(m, "__func__", m) for m in vars(kind).values()]
    looked_at = (FunctionType, dict, list, tuple)
    return [*own, *(m for m in inside if isinstance(m, looked_at)), *kind.__bases__]


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object that are in its dictionary, which is given itself."""
    if not isinstance(value, type | ModuleType):
        with contextlib.suppress(AttributeError):
            own = object.__getattribute__(value, "__dict__")
            return own if isinstance(own, dict) else {}
    return {}


def slots(value: Any) -> dict[str, Any]:
    """The attributes of an object that are in slots."""
    if isinstance(value, type):
        return {}
    names = [n for kind in type(value).__mro__ for n in _slots_of(kind)]
    found = {}
    for name in names:
        with contextlib.suppress(AttributeError):
            found[name] = object.__getattribute__(value, name)
    return found


@functools.lru_cache(maxsize=4096)
def _slots_of(kind: type) -> tuple[str, ...]:
    if not is_others({"__name__": kind.__module__}):
        return ()
    members = vars(kind).items()
    return tuple(name for name, member in members if isinstance(member, MemberDescriptorType))


def _named(function: FunctionType) -> list[Any]:
    """What the names in a function of others than ours stand for, in modules, too."""
    if not is_others(function.__globals__):
        return []
    names = {name for code in codes(function.__code__) for name in code.co_names}
    names.discard("__builtins__")  # Python's own, and what others left there
    values = [function.__globals__[name] for name in names if name in function.__globals__]
    modules = [value for value in values if isinstance(value, ModuleType)]
    inside = [vars(module)[name] for module in modules for name in names if name in vars(module)]
    return [value for value in (*values, *inside) if not isinstance(value, ModuleType)]


def is_filled(cell: Any) -> bool:
    """Whether a variable of a closure has a value."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
