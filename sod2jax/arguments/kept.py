"""What is no array among arguments and results: static, leaf by leaf, as ``filter=True`` has it.

Each such leaf goes in as a node of the tree that has no leaves and holds the value. So it is part
of the tree, by which programs are kept apart, and nothing else has to know.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

_ARRAYS = (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """A node of a tree that stands for a value that is no array.

    It is equal to others of the same type alone: 1, 1.0 and True make three programs.

    Attributes:
      value: what it is.
    """

    value: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kept):
            return NotImplemented
        a, b = self.value, other.value
        return a is b or (type(a) is type(b) and bool(a == b))

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def tree_flatten(self) -> tuple[tuple[()], Kept]:
        """No children; the value is part of the structure."""
        return (), self

    @classmethod
    def tree_unflatten(cls, kept: Kept, children: Any) -> Kept:
        """The node."""
        del cls, children
        return kept


def kept(tree: Any) -> Any:
    """The tree with nodes for all leaves that are no arrays."""
    return jax.tree.map(lambda x: x if isinstance(x, _ARRAYS) else Kept(x), tree)


def kept_arguments(name: str, tree: Any) -> Any:
    """``kept``, of the arguments of a function.

    Raises:
      TypeError: what is no array has no hash; the message names it.
    """
    leaves, structure = jax.tree.flatten(tree)
    nodes = [x if isinstance(x, _ARRAYS) else Kept(x) for x in leaves]
    try:
        hash(tuple(node.value for node in nodes if isinstance(node, Kept)))
    except TypeError:
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if not isinstance(leaf, _ARRAYS):
                _check_hash(name, path, leaf)
        raise
    return jax.tree.unflatten(structure, nodes)


def opened(tree: Any) -> Any:
    """The tree with the values again."""
    is_kept = lambda x: isinstance(x, Kept)  # noqa: E731
    return jax.tree.map(lambda x: x.value if is_kept(x) else x, tree, is_leaf=is_kept)


def _check_hash(name: str, path: Any, leaf: Any) -> None:
    try:
        hash(leaf)
    except TypeError as error:
        raise TypeError(
            f"{name} was called with something of type {type(leaf).__name__}, at "
            f"{jax.tree_util.keystr(path)} of its (positional, keyword) arguments, that is neither "
            "an array nor has a hash: with filter=True, what is no array is static, and a program "
            "is made for each of its values"
        ) from error
