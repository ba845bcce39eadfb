"""flax.nnx modules among a call's arguments: what the function writes to their variables.

``jax.jit`` gives a function copies of its arguments and drops what is written to them. A module is
there to be written to: batch statistics, counters of random streams, an optimizer's parameters. So
the values written become results of the traced function, and go to the caller's variables, as
``nnx.jit`` has it.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax

from sod2jax.errors import StateError


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Updated:
    """The result of a function that wrote to variables.

    Attributes:
      result: what it returned.
      values: what it wrote, by (place of the module, place of the variable in it).
    """

    result: Any
    values: Mapping[tuple[int, int], Any]


def returning_updates(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The function, returning ``Updated`` where it writes to variables of its arguments."""

    @functools.wraps(fun)
    def run(*args: Any, **kwargs: Any) -> Any:
        modules = _modules((args, kwargs))
        trees = list(map(jax.tree.structure, modules))
        before = list(map(_values, modules))
        result = fun(*args, **kwargs)
        returned = {id(module) for module in _modules(result)} if modules else set()
        written = {}
        for at, (module, tree, values) in enumerate(zip(modules, trees, before, strict=True)):
            if jax.tree.structure(module) == tree:
                pairs = enumerate(zip(_values(module), values, strict=True))
                written |= {(at, k): new for k, (new, old) in pairs if not _same(new, old)}
            elif id(module) not in returned:
                raise _changed(fun, module)
        return Updated(result, written) if written else result

    return run


def write_back(result: Any, arguments: Any) -> Any:
    """Writes updates to the variables of a call's arguments; returns the function's own result.

    Raises:
      StateError: a variable that was written to is in more than one place of the arguments.
    """
    if not isinstance(result, Updated):
        return result
    variables = list(map(_variables, _modules(arguments)))
    count = collections.Counter(id(variable) for held in variables for variable in held)
    written = [variables[at][place] for at, place in result.values]
    for variable in written:
        if count[id(variable)] > 1:
            raise StateError(
                f"the function writes to a {type(variable).__name__} that its arguments hold in "
                "more than one place, where JAX sees a copy in each: pass it in one place only"
            )
    for variable, value in zip(written, result.values.values(), strict=True):
        variable.set_raw_value(value)
    return result.result


def _modules(tree: Any) -> list[Any]:
    """The outermost modules and variables, but for those in a state: who passes one returns it."""
    nnx = sys.modules.get("flax.nnx")
    if nnx is None:
        return []
    kinds = (nnx.Pytree, nnx.Variable)
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, (*kinds, nnx.State)))
    return [node for node in nodes if isinstance(node, kinds)]


def _variables(module: Any) -> list[Any]:
    kind = sys.modules["flax.nnx"].Variable
    nodes = jax.tree.leaves(module, is_leaf=lambda node: isinstance(node, kind))
    return [node for node in nodes if isinstance(node, kind)]


def _values(module: Any) -> list[Any]:
    return [variable.get_raw_value() for variable in _variables(module)]


def _same(a: Any, b: Any) -> bool:
    """Whether two values hold the very same arrays."""
    left, tree = jax.tree.flatten(a)
    right, other = jax.tree.flatten(b)
    return tree == other and all(x is y for x, y in zip(left, right, strict=True))


def _changed(fun: Callable[..., Any], module: Any) -> StateError:
    name = getattr(fun, "__name__", type(fun).__name__)
    return StateError(
        f"{name} changes the structure of its {type(module).__name__} argument: it adds or removes "
        "variables, or sets an attribute that is no array, as in model.eval(). Only values of "
        "variables come back to the caller: make the change before the call, or return the module"
    )
