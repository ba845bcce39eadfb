"""NumPy's functions of whole numbers: of sizes they give NumPy's numbers, not Python's."""

from __future__ import annotations

import functools
import sys
from typing import Any

import numpy as np

from sod2jax import _compat
from sod2jax.tracing import arithmetic, frames, hooks
from sod2jax.tracing.hooks import Patch
from sod2jax.tracing.numeric import Numeric, applied

_OF_INTEGERS = (
    "absolute add bitwise_and bitwise_or bitwise_xor floor_divide fmax fmin gcd invert lcm "
    "left_shift maximum minimum multiply negative positive power remainder right_shift square "
    "subtract"
)
_OF_ARRAYS = ("accumulate", "reduce")


class _OfSizes:
    """A function of NumPy with all that it has, which knows what it makes of sizes."""

    def __init__(self, original: np.ufunc):
        self._original = original
        functools.update_wrapper(self, original)

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return np.ufunc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self._original(*args, **kwargs)
        if hooks.active() is None or kwargs or not any(map(_compat.is_symbolic, args)):
            return result
        if frames.is_jax(sys._getframe(1)):
            return result
        if type(result) is Numeric:
            return applied(self._original, args, self._original, weak=False)
        return _compat.as_numpy(result)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._original, name)
        if name in _OF_ARRAYS and hooks.active() is not None:
            return functools.partial(arithmetic.array_of_sizes, value)
        return value


PATCHES = tuple(Patch(np, name, _OfSizes) for name in _OF_INTEGERS.split())
