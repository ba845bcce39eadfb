"""flax.nnx modules as graphs: shared, new and removed variables, attributes that are no arrays.

A tree of arrays says nothing of which variables are one, and takes back none that is new. This is
``nnx.jit``'s own way, by the four steps of ``nnx.update_context``: split outside, merge and split
inside of the trace, merge outside, where the caller's objects are changed. It takes many times as
long as to flatten a tree, so that only what needs it goes this way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Hashable
from typing import Any

import jax

from sod2jax.arguments import nnx


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Split:
    """A module, or a variable.

    Attributes:
      definition: of its graph; all static.
      state: its arrays.
    """

    definition: Any
    state: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Graphs:
    """The result of a function whose modules go as graphs.

    Attributes:
      result: what it returned, with splits for modules.
      modules: those of its arguments, as it left them.
    """

    result: Any
    modules: Any


def holds(tree: Any) -> bool:
    """Whether there are split modules in a tree."""
    nodes = jax.tree.leaves(tree, is_leaf=_is_split)
    return any(map(_is_split, nodes))


def outer(tag: Hashable) -> contextlib.AbstractContextManager[Any]:
    """Where modules are split before a call, and merged after it.

    Args:
      tag: whose call it is.
    """
    return nnx.flax().update_context(tag)


def split(tree: Any, tag: Hashable) -> Any:
    """The tree with splits for its outermost modules and variables."""
    with nnx.flax().split_context(tag) as context:
        return jax.tree.map(
            lambda x: Split(*context.split(x)) if nnx.is_module(x) else x,
            tree,
            is_leaf=nnx.is_module_or_state,
        )


def merge_back(traced: Graphs, tag: Hashable) -> Any:
    """Changes the caller's modules; returns the function's own result, which may hold them."""
    with nnx.flax().merge_context(tag, inner=False) as context:
        return _merged((traced.modules, traced.result), context)[1]


def result(traced: Any) -> Any:
    """The function's own result, with modules of its own."""
    if not isinstance(traced, Graphs):
        return traced
    with nnx.flax().merge_context() as context:
        return _merged((traced.modules, traced.result), context)[1]


def returning_graphs(fun: Callable[..., Any], tag: Hashable) -> Callable[..., Any]:
    """The function, of arguments with splits, returning ``Graphs``.

    It has a context of its own, as traces are made at any time, and in any thread.
    """

    @functools.wraps(fun)
    def run(*args: Any, **kwargs: Any) -> Any:
        with nnx.flax().update_context(tag):
            with nnx.flax().merge_context(tag, inner=True) as context:
                args, kwargs = _merged((args, kwargs), context)
            modules = nnx.modules((args, kwargs))
            returned = fun(*args, **kwargs)
            modules, returned = split((modules, returned), tag)
        return Graphs(returned, modules)

    return run


def _merged(tree: Any, context: Any) -> Any:
    return jax.tree.map(
        lambda x: context.merge(x.definition, x.state) if _is_split(x) else x,
        tree,
        is_leaf=_is_split,
    )


def _is_split(node: Any) -> bool:
    return isinstance(node, Split)
