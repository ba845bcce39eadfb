"""JAX's symbolic dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax._src import core, dtypes
from jax._src.export import shape_poly

from sod2jax._compat.arrays import converted

# The class of symbolic dimensions, and the functions (module, name) that decide on ``>=`` of them,
# that make them parts of a shape, that give their bounds as floats, and that make them values.
Dimension: Any = shape_poly._DimExpr
AT_LEAST = (shape_poly, "_geq_decision")
OF_A_SHAPE = (core, "_canonicalize_dimension")
BOUNDS = (shape_poly, "_bounds_decision")
AS_VALUE = (shape_poly, "_dim_as_value")


class NumPyDimension(Dimension):
    """A symbolic dimension that is a NumPy integer as a value, and so of no weak type."""

    __slots__ = ()

    def __jax_array__(self) -> Any:
        return converted(super().__jax_array__(), jax.dtypes.canonicalize_dtype(int), False)

    dimension_as_value = __jax_array__


core.pytype_aval_mappings[NumPyDimension] = lambda _: core.ShapedArray(
    (), jax.dtypes.canonicalize_dtype(int)
)
dtypes.register_canonicalize_value_handler(NumPyDimension, None)
dtypes.python_scalar_types_to_dtypes[NumPyDimension] = np.dtype(int)


def stands_for(kind: type) -> type:
    """The class of the numbers that dimensions of a class stand for."""
    return np.int64 if issubclass(kind, NumPyDimension) else int


def as_numpy(number: Any) -> Any:
    """A dimension or an integer as one of NumPy's; anything else as it is."""
    if isinstance(number, Dimension):
        return NumPyDimension(number._sorted_terms, number.scope)
    return np.int64(number) if type(number) is int else number


def as_python(dim: Any) -> Any:
    """A dimension as one that stands for an ``int``, as those of shapes are."""
    return Dimension(dim._sorted_terms, dim.scope) if type(dim) is NumPyDimension else dim


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
