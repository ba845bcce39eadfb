"""A function traced at concrete sizes: as ``jax.jit`` does it, with nothing taken for granted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from sod2jax import _compat
from sod2jax._compat import Jaxpr
from sod2jax.arguments.signature import Leaf
from sod2jax.ir import dims, foreign
from sod2jax.tracing import escaped, left


@dataclasses.dataclass(frozen=True, eq=False)
class Concrete:
    """A function traced at concrete sizes.

    Attributes:
      jaxpr: closed.
      out_tree: structure of the result.
    """

    jaxpr: Jaxpr
    out_tree: Any

    def __repr__(self) -> str:
        return f"Concrete({len(self.jaxpr.eqns)} equations)"


def traced_at(
    fun: Callable[..., Any], tree: Any, leaves: Sequence[Leaf], sizes: Mapping[str, int]
) -> Concrete:
    """Traces a function at concrete sizes.

    Args:
      fun: takes the dynamic arguments by position.
      tree: structure of the tuple of arguments.
      leaves: the arrays with their symbolic shapes.
      sizes: of the symbols.

    Raises:
      StateError: the function uses a size that a symbolic trace left in Python state.
      Exception: whatever the function raises.
    """
    name = getattr(fun, "__name__", "the function")
    specs = [
        jax.ShapeDtypeStruct(
            tuple(dims.evaluate(d, sizes) for d in leaf.shape),
            leaf.aval.dtype,
            weak_type=leaf.aval.weak_type,
            sharding=_compat.typed_place(leaf.aval),
        )
        for leaf in leaves
    ]
    try:
        with left.kept(fun):
            traced = jax.jit(fun).trace(*jax.tree.unflatten(tree, specs))
        closed = foreign.opened(_compat.untyped(_compat.without_unread(traced.jaxpr)), always=True)
    except Exception as error:
        if (stale := escaped.in_error(error, name)) is not None:
            raise stale from error
        raise
    escaped.refuse(closed, None, name)
    return Concrete(closed, jax.tree.structure(traced.out_info))
