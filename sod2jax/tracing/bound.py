"""What Python code is given in one trace, and may store, or take for a number."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Self

from sod2jax.ir import dims
from sod2jax.tracing import frames, hooks
from sod2jax.tracing.recorder import stale

_MOST_COMPARED = 256  # numbers that one place in the code compares a size with


class NumberWanted(TypeError):
    """Python code asks for the number of something made of sizes.

    Attributes:
      dims: the sizes that it is made of; None if these are not known.
    """

    def __init__(self, message: str, dims: frozenset[Any] | None):
        super().__init__(message)
        self.dims = dims


class Bound:
    """Stands for a number or an array of Python code in the trace that made it.

    Used outside of that, by a later trace or by none, it is an error; but it can be printed.
    """

    def __init__(self) -> None:
        self._scope, self.line = scope(), frames.users_line()

    def current(self) -> Self:
        """Itself.

        Raises:
          StateError: the trace that this thread is in is another.
        """
        if self._scope is not scope():
            raise stale(f"the number made of sizes at {self.line}", frames.users_line())
        return self

    @property
    def __class__(self) -> type:  # type: ignore[override]
        true = hooks.active() is None or frames.wants_true_class(sys._getframe(1))
        return type(self) if true else self.stands_for()

    def stands_for(self) -> type:
        """The class of what it stands for, as the user's code is to see it."""
        return type(self)

    def __hash__(self) -> int:
        self.current()
        doubt("the hash of a number")
        raise TypeError("a number that depends on symbolic sizes has no hash while tracing")

    def __repr__(self) -> str:
        return f"<a number made of sizes while tracing, at {self.line}>"

    def __format__(self, spec: str) -> str:
        return str(self.current() if spec else self)


def scope() -> Any:
    """That of the trace that this thread is in; None outside of traces."""
    recorder = hooks.active()
    return None if recorder is None else recorder.scope


def check_scope(dim: Any) -> None:
    """Refuses a size that another trace left behind."""
    if dim.scope is not scope():
        raise stale(f"the size '{dim}'", frames.users_line())


def doubt(what: str) -> None:
    """Somebody may catch the error that follows; JAX itself does where it only tries."""
    recorder = hooks.active()
    if recorder is not None and not frames.is_jax(frames.asking()):
        recorder.doubt(f"{what} made of sizes, at {frames.users_line()}")


def unknown(dims: frozenset[Any] | None = None) -> TypeError:
    """The error of a number that has no value; somebody may catch it.

    Args:
      dims: the sizes that it is made of; None if these are not known.
    """
    doubt("the value of a number")
    message = "a number that depends on symbolic sizes is not known while tracing"
    return NumberWanted(message, dims)


def check_attribute(name: str, kind: type, known: bool, frame: FrameType) -> None:
    """Raises where a stand-in is asked for an attribute that the true thing lacks.

    Args:
      name: of the attribute.
      kind: the class of the true thing.
      known: whether there is one to give; if there should be, the error is a doubt.
      frame: that asks.
    """
    if name.startswith("_"):
        raise AttributeError(name)
    if frames.wants_arrays(frame):
        return
    if not hasattr(kind, name):
        raise AttributeError(f"'{kind.__name__}' object has no attribute '{name}'")
    if not known:
        doubt(f"the attribute {name} of what is")


def count_comparison(recorder: Any, dim: Any, frame: FrameType) -> None:
    """Refuses to compare with one number after another: ``n in range(65536)`` does."""
    place = frame.f_code, frame.f_lasti
    recorder.compared[place] += 1
    if recorder.compared[place] > _MOST_COMPARED:
        message = f"'{dim}' is compared with more than {_MOST_COMPARED} numbers"
        raise NumberWanted(f"{message} at {frames.line(frame)}", frozenset([dims.from_jax(dim)]))
