"""NumPy's arrays of sizes, which are of Python objects, and say that they are of numbers."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np

from sod2jax import _compat
from sod2jax.tracing import frames
from sod2jax.tracing.recorder import attentive

_TRUE_DTYPE: Any = np.ndarray.__dict__["dtype"]
_WHOLE = (int, np.int64)


class SizeArray(np.ndarray):
    """An array of objects that has the dtype of the numbers that they stand for."""

    @property
    def dtype(self) -> Any:  # type: ignore[override]
        """As NumPy has it for the user's code; where it is not known, a doubt."""
        true = _TRUE_DTYPE.__get__(self)
        if true.kind != "O" or not _is_users(frame := sys._getframe(1)):
            return true
        if all(_is_whole(value) for value in np.ndarray.tolist(self.ravel())):
            return np.dtype(np.int64)
        _doubt("the dtype", frame)
        return true

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Numbers, and not arrays of no axes, as of other arrays."""
        return array.view(type(self)) if array.ndim else array[()]


def _watched(name: str) -> property:
    """An attribute that tells of the dtype."""
    original: Any = np.ndarray.__dict__[name]

    def read(array: SizeArray) -> Any:
        if _TRUE_DTYPE.__get__(array).kind == "O" and _is_users(frame := sys._getframe(1)):
            _doubt(f"the {name}", frame)
        return original.__get__(array)

    return property(read)


for _name in ("itemsize", "nbytes", "strides"):
    setattr(SizeArray, _name, _watched(_name))


def seen(result: Any) -> Any:
    """What NumPy made for the user's code of sizes, with the dtype of numbers; or as it is."""
    if type(result) is not np.ndarray or result.dtype != object:
        return result
    values = list(result.flat)
    frame = frames.asking(("numpy",))
    if not any(map(_compat.is_symbolic, values)) or frames.is_jax(frame):
        return result
    if not all(map(_is_whole, values)):
        _doubt("the numbers", frame)
    return result.view(SizeArray)


def _is_whole(value: Any) -> bool:
    return _compat.is_symbolic(value) or (type(value) in _WHOLE)


def _is_users(frame: FrameType) -> bool:
    return attentive() is not None and not frames.wants_arrays(frame)


def _doubt(what: str, frame: FrameType) -> None:
    if (recorder := attentive()) is not None:
        recorder.doubt(f"{what} of an array of sizes at {frames.line(frame)}")
