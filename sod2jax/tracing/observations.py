"""What code sees of a size without comparing it: its hash, its text, its kind, its number.

No comparison tells what a program makes of these, so whoever sees one leaves a doubt. What the
methods of a dimension are called for is read from the frame that called; where that cannot be
read, it is a doubt. In the user's code a size is an ``int`` by its class and by its attributes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from sod2jax import _compat
from sod2jax.ir import dims
from sod2jax.tracing import arithmetic, callers, frames, shown
from sod2jax.tracing.bound import Bound, NumberWanted
from sod2jax.tracing.holding import holds_size
from sod2jax.tracing.hooks import Patch, while_tracing
from sod2jax.tracing.recorder import attentive, busy

# Compares the sizes in sets among themselves: unequal ones are an error.
_OF_ONE_LENGTH = ("flax/core/lift.py",)
# Try whether something is a number, and know what else it may be.
_TRYING = ("dims.py", "polyfill.py", "shape_poly.py")

_INTEGERS = {
    "real": lambda dim: dim,
    "imag": lambda dim: 0,
    "numerator": lambda dim: dim,
    "denominator": lambda dim: 1,
    "conjugate": lambda dim: lambda: dim,
    "as_integer_ratio": lambda dim: lambda: (dim, 1),
    "is_integer": lambda dim: lambda: True,
}

# Of those that stand for NumPy's integers, besides.
_NUMPY_INTEGERS = {
    "dtype": lambda dim: np.dtype(np.int64),
    "item": lambda dim: functools.partial(_compat.as_python, dim),
    "itemsize": lambda dim: 8,
    "nbytes": lambda dim: 8,
    "ndim": lambda dim: 0,
    "shape": lambda dim: (),
    "size": lambda dim: 1,
}

_AS_PYTHON_SAYS = {
    "index": "'{}' object cannot be interpreted as an integer",
    "float": "must be real number, not {}",
}


def _doubt(what: str, dim: Any, frame: FrameType) -> None:
    recorder = attentive()
    if recorder is None:
        return
    with busy(recorder):
        where = frames.users_line() if frames.is_jax(frame) else frames.line(frame)
        number = f"the size '{dim}'" if _compat.is_symbolic(dim) else str(dim)
        recorder.doubt(f"{what} of {number} at {where}")


def _hash(original: Callable[[Any], int]) -> Callable[[Any], int]:
    """A size is equal to no other key of a table, whose hash it would have to have."""

    def call(dim: Any) -> int:
        if attentive() is not None and not frames.is_own(sys._getframe(1)):
            _hashed(dim)
        return original(dim)

    return call


def _hashed(dim: Any) -> None:
    frame = frames.asking(frames.RELAYS)
    file = frame.f_code.co_filename
    if frames.is_jax(frame) or file.endswith(_OF_ONE_LENGTH) or callers.remembers(frame):
        return
    _doubt("the hash", dim, frame)


def _hash_of_aval(aval: Any) -> int:
    """Avals are hashed by identity, which symbolic sizes that may be equal do not have."""
    if attentive() is not None and any(map(_compat.is_symbolic, aval.shape)):
        _hashed(aval.shape)
    return object.__hash__(aval)


def _text(original: Callable[[Any], str]) -> Callable[[Any], str]:
    def call(dim: Any) -> str:
        recorder = attentive()
        if recorder is None:
            return original(dim)
        if not frames.is_own(sys._getframe(1)):
            _written(dim)
        with busy(recorder):  # the texts of its parts are for this one
            return original(dim)

    return call


def _formatted(_: Any) -> Callable[[Any, str], str]:
    """Any format is taken: what matters of the text is in doubt in any case."""

    def call(dim: Any, spec: str) -> str:
        if attentive() is not None:
            _written(dim)
        return str(dim)

    return call


def _written(dim: Any) -> None:
    frame = frames.writing(frames.RELAYS)
    if _is_shown(frame):
        return
    if frames.is_jax(frame):
        if not _compat.is_harmless_text(frame.f_code):
            _doubt("an error that JAX may have worded with the text", dim, frame)
    elif frames.words_error(frame):
        _doubt("a caught error with the text", dim, frame)
    else:
        _doubt("the text", dim, frame)


def _is_shown(frame: FrameType) -> bool:
    """Whether people alone read what a frame writes."""
    recorder = attentive()
    if recorder is None or recorder.is_read:
        return recorder is None
    return shown.only(frame)


def _unread(original: Callable[..., Any], *args: Any) -> Any:
    """A function of JAX whose text is read by people only."""
    recorder = attentive()
    with contextlib.nullcontext() if recorder is None else busy(recorder):
        return original(*args)


class ErrorText(str):
    """What an error says of sizes, which whoever catches it may read."""

    def __str__(self) -> str:
        _read()
        return super().__str__()

    def __repr__(self) -> str:
        _read()
        return super().__repr__()


def _read() -> None:
    recorder, frame = attentive(), frames.writing(frames.RELAYS)
    if recorder and not _is_shown(frame):
        recorder.doubt(f"the text of an error about sizes at {frames.line(frame)}")


def _number(name: str) -> Callable[[Any], Any]:
    """Refuses the number that a size has in no symbolic trace."""

    def make(original: Any) -> Callable[[Any], Any]:
        def call(dim: Any) -> Any:
            recorder = attentive()
            if recorder is not None:
                _asked_for_number(dim, sys._getframe(1))
            if original is not None:
                with contextlib.nullcontext() if recorder is None else busy(recorder):
                    return original(dim)
            message = _AS_PYTHON_SAYS[name].format(type(dim).__name__)
            if recorder is None:
                raise TypeError(message)
            with busy(recorder):
                raise NumberWanted(message, frozenset([dims.from_jax(dim)]))

        return call

    return make


def _asked_for_number(dim: Any, caller: FrameType) -> None:
    frame = frames.asking()
    tries = caller.f_code.co_filename.endswith(_TRYING)
    if not (tries or _compat.is_harmless_number(frame.f_code)):
        _doubt("the number", dim, frame)


def _unstacked(original: Callable[..., Any], x: Any, axis: int = 0) -> Any:
    """The arrays along an axis, as many as it has elements; JAX multiplies lists by a size."""
    shape = np.shape(x)
    if -len(shape) <= axis < len(shape) and _compat.is_symbolic(shape[axis]):
        int(shape[axis])
    return original(x, axis)


def _attributes(original: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """What ``isinstance(n, int)``, ``hasattr(n, "real")`` and ``np.sqrt(n)`` see."""

    def read(dim: Any, name: str) -> Any:
        if attentive() is None:
            return original(dim, name)
        if name == "__class__":
            wants_true = frames.wants_true_class(sys._getframe(1))
            return original(dim, name) if wants_true else _compat.stands_for(type(dim))
        if name in arithmetic.METHODS:
            return functools.partial(arithmetic.METHODS[name], dim)
        try:
            return original(dim, name)
        except AttributeError:
            return _attribute_of_int(dim, name, frames.looking(sys._getframe(1), frames.RELAYS))

    return read


def _attribute_of_int(dim: Any, name: str, frame: FrameType) -> Any:
    kind = _compat.stands_for(type(dim))
    if hasattr(kind, name) and frames.package(frame) not in frames.WANT_TRUE_CLASS:
        known = _INTEGERS if kind is int else {**_INTEGERS, **_NUMPY_INTEGERS}
        if name in known:
            return known[name](dim)
        _doubt(f"the attribute {name}", dim, frame)
    raise AttributeError(f"a symbolic size has no attribute '{name}' while tracing")


def _encoded(original: Callable[..., Any], encoder: Any, value: Any, **options: Any) -> Any:
    """JSON of sizes, which compiled code gives to ``default``, as it does no ``int``."""
    recorder, default = attentive(), getattr(encoder.default, "__func__", None)
    # JSON's own raises, which is noticed elsewhere.
    if recorder and default is not json.JSONEncoder.default and holds_size(value):
        recorder.doubt(f"the JSON of a size at {frames.line(frames.asking(('json',)))}")
    return original(encoder, value, **options)


PATCHES = (
    *(Patch(json.JSONEncoder, k, while_tracing(_encoded)) for k in ("encode", "iterencode")),
    Patch(*_compat.SOURCE_OF_FUNCTION, while_tracing(_unread)),
    Patch(_compat.Dimension, "__hash__", _hash),
    Patch(_compat.Dimension, "__str__", _text),
    Patch(_compat.Dimension, "__repr__", _text),
    Patch(_compat.Dimension, "__format__", _formatted),
    Patch(_compat.Dimension, "__getattribute__", _attributes),
    Patch(_compat.Dimension, "__copy__", lambda _: lambda dim: dim),
    Patch(_compat.Dimension, "__deepcopy__", lambda _: lambda dim, known: dim),
    Patch(Bound, "__repr__", _text),
    Patch(Bound, "__format__", _formatted),
    Patch(_compat.ShapedArray, "__hash__", lambda _: _hash_of_aval),
    *([] if _compat.UNSTACK is None else [Patch(*_compat.UNSTACK, while_tracing(_unstacked))]),
    *(Patch(_compat.Dimension, f"__{k}__", _number(k)) for k in ("int", "index", "float")),
)
