"""What a function that ``jax.jit`` made was told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

_PLAIN = (
    "static_argnums",
    "static_argnames",
    "donate_argnums",
    "donate_argnames",
    "device",
    "backend",
    "keep_unused",
    "inline",
)
_UNSPECIFIED = "UnspecifiedValue"


def jit_keywords(fun: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function that ``jax.jit`` was given, and its keywords; any other one, and none."""
    info = getattr(fun, "_jit_info", None)
    if info is None or not hasattr(fun, "__wrapped__"):
        return fun, {}
    pairs = ((name, getattr(info, name)) for name in _PLAIN)
    told = {name: value for name, value in pairs if value != getattr(_defaults(), name)}
    told["compiler_options"] = dict(info.compiler_options_kvs) or None
    for side in ("in_shardings", "out_shardings"):
        leaves = getattr(info, f"{side}_leaves")
        if not all(type(leaf).__name__ == _UNSPECIFIED for leaf in leaves):
            told[side] = jax.tree.unflatten(getattr(info, f"{side}_treedef"), leaves)
    return fun.__wrapped__, {name: value for name, value in told.items() if value}


@functools.cache
def _defaults() -> Any:
    """What ``jax.jit`` takes where it is told nothing; ``inline`` is no ``bool`` in jax 0.12."""
    return jax.jit(lambda: None)._jit_info  # type: ignore[attr-defined]
