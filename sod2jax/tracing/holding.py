"""Whether something holds sizes, in whatever it is made of."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from sod2jax import _compat
from sod2jax.tracing.bound import Bound
from sod2jax.tracing.size_arrays import SizeArray

_FEW = 100  # items to look at in a table
_DEEP = 3  # tables in tables


def holds_size(value: Any, depth: int = _DEEP) -> bool:
    """Whether something is made of sizes, or of arrays that have them, as far as is looked."""
    kind = type(value)
    if issubclass(kind, _compat.Dimension | Bound):
        return True
    if issubclass(kind, Tracer | jax.ShapeDtypeStruct):
        return any(map(_compat.is_symbolic, getattr(value, "shape", ())))
    if issubclass(kind, np.ndarray):
        return value.dtype == object or kind is SizeArray
    if not depth:
        return False
    return any(holds_size(item, depth - 1) for item in itertools.islice(_items(value), _FEW))


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return itertools.chain.from_iterable(dict.items(value))
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    with contextlib.suppress(AttributeError):
        return list(object.__getattribute__(value, "__dict__").values())
    return ()
