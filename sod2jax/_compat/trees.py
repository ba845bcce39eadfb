"""The static parts of trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax._src import tree_util


def rebuilt(tree: Any, change: Callable[[Any], Any]) -> Any:
    """A tree structure with what each node holds of its own changed."""
    node = tree.node_data()
    if node is None:
        return tree
    children = [rebuilt(child, change) for child in tree.children()]
    kind, static = node
    return type(tree).from_node_data_and_children(
        tree_util.default_registry, (kind, change(static)), children
    )
