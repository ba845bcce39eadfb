"""flax.nnx modules among a call's arguments: what the function writes to their variables.

``jax.jit`` gives a function copies of its arguments and drops what is written to them. A module is
there to be written to: batch statistics, counters of random streams, an optimizer's parameters. So
the values written become results of the traced function, and go to the caller's variables, as
``nnx.jit`` has it. What a tree of arrays cannot say, ``graphs`` does.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from sod2jax.errors import GraphNeeded


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


def returning_updates(fun: Callable[..., Any], donates: bool) -> Callable[..., Any]:
    """The function, returning ``Updated`` where it writes to variables of its arguments.

    Args:
      fun: the function.
      donates: whether arguments are consumed: then all variables come back, as those consumed are
        the caller's to use again.
    """

    @functools.wraps(fun)
    def run(*args: Any, **kwargs: Any) -> Any:
        held = modules((args, kwargs))
        trees = list(map(jax.tree.structure, held))
        before = list(map(_nodes, held))
        values = list(map(_values, before))
        result = fun(*args, **kwargs)
        if modules(result):
            raise GraphNeeded(f"{_name(fun)} returns a module", always=True)
        written = {}
        for at, (module, tree, nodes) in enumerate(zip(held, trees, before, strict=True)):
            after = _nodes(module)
            if jax.tree.structure(module) != tree or any(map(operator.is_not, after, nodes)):
                what = f"{_name(fun)} changes the structure of its {type(module).__name__} argument"
                raise GraphNeeded(what, always=True)
            pairs = enumerate(zip(_values(after), values[at], strict=True))
            written |= {(at, k): a for k, (a, b) in pairs if donates or not _same(a, b)}
        return Updated(result, written) if written else result

    return run


def write_back(traced: Any, arguments: Any) -> Any:
    """Writes updates to the variables of a call's arguments; returns the function's own result."""
    if not isinstance(traced, Updated):
        return traced
    variables = [_variables(_nodes(module)) for module in modules(arguments)]
    for (at, place), value in traced.values.items():
        variables[at][place].set_raw_value(value)
    return traced.result


def result(traced: Any) -> Any:
    """The function's own result."""
    return traced.result if isinstance(traced, Updated) else traced


def check_shared(leaves: Sequence[Any], arguments: Any) -> None:
    """Raises where a variable is in more than one place, of which JAX would see copies.

    Args:
      leaves: the arrays of the call.
      arguments: that hold them.

    Raises:
      GraphNeeded: there is such a variable.
    """
    if len(set(map(id, leaves))) == len(leaves) or flax() is None:
        return
    variables = [id(each) for module in modules(arguments) for each in _variables(_nodes(module))]
    if len(set(variables)) < len(variables):
        raise GraphNeeded("arguments hold a variable in more than one place", always=False)


def flax() -> Any:
    """``flax.nnx``, if somebody has imported it."""
    return sys.modules.get("flax.nnx")


def is_module(node: Any) -> bool:
    """Whether a node is a module, or a variable."""
    nnx = flax()
    return nnx is not None and isinstance(node, (nnx.Pytree, nnx.Variable))


def is_module_or_state(node: Any) -> bool:
    """Whether to look no further for modules: who passes a state returns it."""
    return is_module(node) or (flax() is not None and isinstance(node, flax().State))


def modules(tree: Any) -> list[Any]:
    """The outermost modules and variables, but for those in a state."""
    if flax() is None:
        return []
    return list(filter(is_module, jax.tree.leaves(tree, is_leaf=is_module_or_state)))


def _variables(nodes: Sequence[Any]) -> list[Any]:
    return [node for node in nodes if isinstance(node, flax().Variable)]


def _nodes(module: Any) -> list[Any]:
    """The variables of a module, and its arrays that are in none."""
    kind = flax().Variable
    return jax.tree.leaves(module, is_leaf=lambda node: isinstance(node, kind))


def _values(nodes: Sequence[Any]) -> list[Any]:
    """The values of variables."""
    return [variable.get_raw_value() for variable in _variables(nodes)]


def _same(a: Any, b: Any) -> bool:
    """Whether two values hold the very same arrays."""
    left, tree = jax.tree.flatten(a)
    right, other = jax.tree.flatten(b)
    return tree == other and all(x is y for x, y in zip(left, right, strict=True))


def _name(fun: Callable[..., Any]) -> str:
    return getattr(fun, "__name__", type(fun).__name__)
