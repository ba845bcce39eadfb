"""JAX's symbolic dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
from jax._src.export import shape_poly

# The class of symbolic dimensions, and the functions (module, name) that decide on ``>=`` of them,
# and that give their bounds as floats.
Dimension: Any = shape_poly._DimExpr
AT_LEAST = (shape_poly, "_geq_decision")
BOUNDS = (shape_poly, "_bounds_decision")


def is_symbolic(dim: Any) -> bool:
    """Whether a dimension of an aval is a symbolic expression."""
    return jax.export.is_symbolic_dim(dim)


def dim_text(dim: object) -> str:
    """A dimension in the documented grammar of ``jax.export.symbolic_shape``."""
    return str(dim)


def dimensions(texts: Iterable[str], scope: Any) -> list[Any]:
    """JAX dimensions from their text, in a scope, or in that of another dimension."""
    joined = ", ".join(texts)
    scope = getattr(scope, "scope", scope)
    return list(jax.export.symbolic_shape(f"({joined},)", scope=scope)) if joined else []
