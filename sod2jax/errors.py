"""Exceptions of sod2jax: each message says what was expected, and what to do."""

from __future__ import annotations

from collections.abc import Mapping


def counted(count: int, what: str) -> str:
    """How many of something there are, such as "1 call" and "2 calls"."""
    return f"{count} {what}" + ("" if count == 1 else "s")


class Sod2jaxError(Exception):
    """Base class of every error that sod2jax raises on purpose."""


class SpecError(Sod2jaxError, ValueError):
    """A shape spec, constraint, bucket or option is malformed or does not fit the arguments."""


class ShapeError(Sod2jaxError, ValueError):
    """The shapes of a call break a spec or a constraint, or lie outside the buckets' range."""


class TraceError(Sod2jaxError, TypeError):
    """The function cannot be traced with symbolic dimensions."""


class FunctionError(TraceError):
    """The function fails at sizes that are numbers, too; its own error is the cause."""

    @classmethod
    def of(cls, name: str, error: Exception, text: str) -> FunctionError:
        """What to raise where the function called ``name`` raised an error that says ``text``."""
        first = (text.strip() or "no message").splitlines()[0]
        made = cls(f"{name} raises {type(error).__name__}: {first}")
        made.__cause__ = error
        return made


class DataDependentSizeError(TraceError):
    """A size depends on values, where no program can be made that computes it."""


class StateError(Sod2jaxError, RuntimeError):
    """A function stores a size where no caller can get it back from."""


class GraphNeeded(StateError):
    """A function, or a call of it, needs flax.nnx modules as graphs; no user sees it.

    Attributes:
      always: whether all calls of the function do.
    """

    def __init__(self, what: str, always: bool):
        super().__init__(what)
        self.always = always


class PlacementError(Sod2jaxError, ValueError):
    """An array lies where no padded one can: in a reference, or divided in a way of its own."""


class TargetError(Sod2jaxError, RuntimeError):
    """A device cannot be compiled for, or is asked to run something and is not there."""


class UnsupportedPrimitiveError(Sod2jaxError, NotImplementedError):
    """A primitive has no exact padded form.

    Attributes:
      primitive: name of the JAX primitive.
      source: the user's line that bound it, ``file:line (function)``.
      remedy: what the user can do about it.
    """

    def __init__(self, primitive: str, source: str, remedy: str):
        self.primitive, self.source, self.remedy = primitive, source, remedy
        super().__init__(
            f"primitive '{primitive}' at {source} cannot run on padded arrays: {remedy}"
        )


class MemoryLimitError(Sod2jaxError, MemoryError):
    """No version of a bucket's program keeps to the limit of memory.

    Attributes:
      needed: bytes of arguments, results and temporaries of the version that needs least.
      limit: bytes that there may be.
      fits: about the largest sizes that keep to it, by symbol; None if none are known.
    """

    def __init__(
        self, needed: int, limit: int, advice: str = "", fits: Mapping[str, int] | None = None
    ):
        self.needed, self.limit, self.fits = needed, limit, fits
        super().__init__(f"{needed:,} B are needed, and memory_limit is {limit:,} B{advice}")


class InvariantError(Sod2jaxError, AssertionError):
    """A stage of sod2jax broke its own contract: a bug in sod2jax, never in the user's program."""


class AuditWarning(UserWarning):
    """A function does something else at some sizes than its symbolic trace says."""


class ManyProgramsWarning(UserWarning):
    """A function is called in ever new ways that need programs of their own."""


class ExactFallbackWarning(UserWarning):
    """A function runs through exact-shape executables: right, but compiled once per shape."""
