"""Primitives that are neither JAX's nor ours: who registered them, and what they compute."""

from __future__ import annotations

import collections
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from jax._src import core, dispatch
from jax._src.interpreters import mlir

_OWNERS = ("jax", __name__.split(".")[0])

_VERDICTS: dict[core.Primitive, bool] = {}
_NAMES: collections.Counter[str] = collections.Counter()


def is_foreign(primitive: Any) -> bool:
    """Whether neither JAX nor this package registered a primitive, whatever it is called.

    All of theirs stand in variables of their modules.
    """
    if isinstance(primitive, StandIn):
        return False
    if primitive not in _VERDICTS:
        _VERDICTS.update(dict.fromkeys(_owned(), False))  # by modules imported since, too
        _VERDICTS.setdefault(primitive, True)
    return _VERDICTS[primitive]


def _owned() -> Iterator[core.Primitive]:
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in _OWNERS:
            for value in list(vars(module).values()):
                if isinstance(value, core.Primitive):
                    yield value


class StandIn(core.Primitive):
    """Stands for a foreign primitive in programs, under a name that no primitive of JAX has.

    Binding it binds the original.

    Args:
      original: the foreign primitive.
      name: what rules know it by.
    """

    def __init__(self, original: Any, name: str):
        super().__init__(name)
        self.original = original
        self.multiple_results = original.multiple_results
        self.def_effectful_abstract_eval(original.abstract_eval)
        lowering = mlir.lower_fun(self._bind_original, original.multiple_results)
        mlir.register_lowering(self, lowering)

    def get_bind_params(self, params: dict[str, Any]) -> Any:
        """As the original has it."""
        return self.original.get_bind_params(params)

    def bind(self, *args: Any, **params: Any) -> Any:
        """Binds the original."""
        return self.original.bind(*args, **params)

    def _bind_original(self, *args: Any, **params: Any) -> Any:
        return self.original.bind(*args, **self.original.get_bind_params(params))


def is_others(primitive: Any) -> bool:
    """Whether a primitive is foreign, or stands for one."""
    return isinstance(primitive, StandIn) or is_foreign(primitive)


@functools.cache
def stand_in(primitive: Any, name: str | None = None) -> Any:
    """What stands for a foreign primitive, always the same; ``package:name`` is its own name.

    Args:
      primitive: the foreign primitive.
      name: what rules know it by, where it is not only known to itself.
    """
    if name is not None:
        return StandIn(primitive, name)
    own = f"{_package(primitive)}:{primitive.name}"
    _NAMES[own] += 1
    return StandIn(primitive, own if _NAMES[own] == 1 else f"{own}#{_NAMES[own]}")


def with_original(eqn: Any) -> Any:
    """An equation of a stand-in as one of what it stands for; other equations as they are."""
    if not isinstance(eqn.primitive, StandIn):
        return eqn
    return eqn.replace(primitive=eqn.primitive.original)


def _package(primitive: Any) -> str:
    """Where a primitive comes from, by the functions that were given to it."""
    functions = (getattr(fun, "func", fun) for fun in (*meanings(primitive), _lowering(primitive)))
    modules = (getattr(fun, "__module__", None) or "" for fun in functions)
    packages = (module.split(".")[0] for module in modules)
    return next((name for name in packages if name and name not in _OWNERS), "unknown")


def meanings(primitive: Any) -> list[Callable[..., Any]]:
    """What a primitive computes, as functions for JAX to trace: its lowering's, then its ``impl``.

    They take and give what the primitive does. None of them binds the primitive itself.
    """
    lowered = lowered_function(primitive)
    found = [] if lowered is None else [lowered]
    impl = primitive.impl
    is_own = getattr(impl, "__func__", None) is not core.Primitive.impl
    if is_own and getattr(impl, "func", None) is not dispatch.apply_primitive:
        found.append(impl)
    return found


def _lowering(primitive: Any) -> Any:
    return getattr(mlir._lowerings.get(primitive), "rule", None)


def lowered_function(primitive: Any) -> Callable[..., Any] | None:
    """The function that ``mlir.lower_fun`` made a primitive's lowering rule of, if it did."""
    rule = _lowering(primitive)
    if not isinstance(rule, types.FunctionType) or rule.__code__ is not _LOWERED:
        return None
    cells = rule.__closure__ or ()
    free = dict(zip(rule.__code__.co_freevars, (c.cell_contents for c in cells), strict=True))
    return free["fun"]


_LOWERED = mlir.lower_fun(functools.partial).__code__
