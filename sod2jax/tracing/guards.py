"""What tracing decides about symbolic sizes: answers that hold for some shapes only.

Equality of JAX's symbolic dimensions is total: ``n == 1`` is answered False, which is wrong at size
1, and ``bool(n - 1)`` is always True. For every such answer that is given to the user's code, or to
the library part of JAX, the comparison that it takes for true is recorded as a guard. A ``>=`` that
cannot be answered for the whole region stops the trace, and the region is split there (see
``regimes``). Proofs of ``>=`` are ours: the bounds of jax 0.10 have errors for products of
floordivs.

The hooks act only inside ``recording``, and only on its own thread.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.ir import dims
from sod2jax.ir.comparisons import NO_ASSUMPTIONS, Assumptions, Comparison
from sod2jax.ir.region import Region
from sod2jax.tracing import frames, hooks, numeric, polyfill
from sod2jax.tracing.hooks import Patch

# Parts of JAX whose Python code decides by size, as users' code does.
_LIBRARY = tuple(
    os.sep + os.path.join("jax", "_src", part)
    for part in ("numpy", "scipy", "nn", "image", "random", "ops")
)
_DIVIDING = ("truediv__", "floordiv__", "mod__")
_LARGE = 1 << 12  # a size that shows how comparisons of unbounded sizes come out


@dataclasses.dataclass
class Recorder:
    """Collects the decisions of one trace.

    Attributes:
      region: the region that the trace is for.
      scope: of the symbols, for JAX.
      assumptions: what is taken for granted of data-dependent sizes.
      data_dependent: their symbols, in the order of their making.
      guards: comparisons that the trace took for true, though not all sizes make them so; the
        values mean nothing.
      undecided: the comparison that stopped the trace.
      extremum: the operands of the last ``max`` or ``min`` that stayed symbolic.
      unequal: the last two sizes that were taken for different, one of which is data-dependent.
      doubts: what the trace may have taken for granted without asking; the values mean nothing.
      computed: results that stand for the same argument whenever it comes, by its id.
    """

    region: Region
    scope: Any = None
    assumptions: Assumptions = NO_ASSUMPTIONS
    data_dependent: list[str] = dataclasses.field(default_factory=list)
    guards: dict[Comparison, None] = dataclasses.field(default_factory=dict)
    undecided: Comparison | None = None
    extremum: Comparison | None = None
    unequal: Comparison | None = None
    doubts: dict[str, None] = dataclasses.field(default_factory=dict)
    computed: dict[int, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    busy: bool = False

    @property
    def doubtful(self) -> Comparison | None:
        """The question whose answer most likely made a trace fail, if it asked any."""
        settled = [guard for guard in self.guards if not self.is_data_dependent(guard)]
        last = settled[-1].negated if settled else None
        return self.undecided or self.extremum or last or self.unequal

    def is_data_dependent(self, comparison: Comparison) -> bool:
        """Whether a comparison is about a size that is known only after a part has run."""
        return not comparison.symbols.isdisjoint(self.data_dependent)

    def guard(self, comparison: Comparison) -> None:
        """From here on, the trace holds where a comparison does."""
        self.guards.setdefault(comparison)

    def doubt(self, reason: str) -> None:
        """Other sizes may make the function take another course, and no comparison tells.

        Args:
          reason: what was seen of a size, and the line.
        """
        self.doubts.setdefault(reason)

    def assume(self, question: Comparison) -> bool:
        """Answers a ``>=`` about such a size as large sizes do; the run will tell."""
        sizes = {n: max(lo, _LARGE) if hi is None else hi for n, lo, hi in self.region.ranges}
        answer = question.holds(sizes)
        self.guard(question if answer else question.negated)
        return answer


@contextlib.contextmanager
def recording(
    region: Region, scope: Any = None, assumptions: Assumptions = NO_ASSUMPTIONS
) -> Iterator[Recorder]:
    """Records the decisions that this thread's trace makes inside the block."""
    recorder = Recorder(region, scope, assumptions)
    with hooks.placed(_patches(), recorder):
        yield recorder


def active() -> Recorder | None:
    """The recorder of this thread's trace; None outside of traces."""
    return hooks.active()


def _recorder() -> Recorder | None:
    recorder = active()
    return None if recorder is None or recorder.busy else recorder


@contextlib.contextmanager
def _busy(recorder: Recorder) -> Iterator[None]:
    recorder.busy = True
    try:
        yield
    finally:
        recorder.busy = False


@functools.cache
def _patches() -> tuple[Patch, ...]:
    """All that is replaced while a trace runs; the last are of JAX's dimensions."""
    methods = {name: functools.partial(_arithmetic, name) for name in numeric.OPERATORS}
    methods |= numeric.BITS
    methods |= {
        name: functools.partial(_watched_extremum, name) for name in ("max", "rmax", "min", "rmin")
    }
    methods |= {
        "__eq__": hooks.while_tracing(_equal),
        "__ne__": hooks.while_tracing(_not_equal),
        "__bool__": lambda _: _truth,
        "__hash__": _watched_hash,
        "__getattribute__": _watched_attributes,
    }
    return (
        *numeric.PATCHES,
        *polyfill.PATCHES,
        Patch(*_compat.AT_LEAST, hooks.while_tracing(_at_least)),
        *(Patch(_compat.Dimension, name, make) for name, make in methods.items()),
    )


def _arithmetic(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    method = numeric.OPERATORS[name]
    if name == "__mod__":
        method = functools.partial(_remainder, method)
    if name.endswith(_DIVIDING):
        method = functools.partial(_dividing, method, name.startswith("__r"))

    def call(dim: Any, other: Any, *modulo: Any) -> Any:
        if modulo or _recorder() is None:
            return original(dim, other, *modulo)
        return method(original, dim, other)

    return call


def _dividing(
    method: Callable[..., Any], reflected: bool, original: Callable[..., Any], dim: Any, other: Any
) -> Any:
    """Divides; a size that depends on values may be 0, where Python raises."""
    recorder, divisor = _recorder(), dim if reflected else other
    if recorder is not None and recorder.data_dependent and _compat.is_symbolic(divisor):
        with _busy(recorder):
            _guard(recorder, divisor, 0)
    return method(original, dim, other)


def _remainder(
    method: Callable[..., Any], original: Callable[..., Any], dim: Any, divisor: Any
) -> Any:
    """Written by the quotient, ``n + -n % 8`` is a multiple of 8 term by term."""
    result = method(original, dim, divisor)
    if isinstance(divisor, int) and divisor > 1 and _compat.is_symbolic(result):
        return dim - divisor * (dim // divisor)
    return result


def _watched_attributes(original: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """What ``isinstance(n, int)`` and ``np.sqrt(n)`` see: in the user's code a size is a number."""

    def read(dim: Any, name: str) -> Any:
        if name == "__class__" and _recorder() is not None and frames.is_users(sys._getframe(1)):
            return int
        if name in numeric.METHODS and _recorder() is not None:
            return functools.partial(numeric.METHODS[name], dim)
        return original(dim, name)

    return read


def _watched_hash(original: Callable[[Any], int]) -> Callable[[Any], int]:
    """Refuses what a dictionary or a set would answer wrongly: sizes are equal to no other key."""

    def call(dim: Any) -> int:
        if _recorder() is not None and frames.looks_up(sys._getframe(1)):
            raise TypeError(f"the size '{dim}' is looked up in a dictionary or a set")
        return original(dim)

    return call


def _equal(original: Callable[..., bool], a: Any, b: Any) -> Any:
    recorder = _recorder()
    if recorder is None:
        return original(a, b)
    with _busy(recorder):
        if isinstance(b, jax.Array | np.ndarray) and not isinstance(b, np.integer):
            return jnp.equal(jnp.asarray(a), b)
        if isinstance(b, float) and b.is_integer():  # np.float64 is a float
            b = int(b)
        answer = original(a, b)
        if not answer and _is_dimension(b):
            _guard(recorder, a, b)
        return answer


def _not_equal(_: Callable[..., bool], a: Any, b: Any) -> Any:
    answer = a == b
    return not answer if isinstance(answer, bool) else ~answer


def _truth(a: Any) -> bool:
    recorder = _recorder()
    if recorder is not None:
        with _busy(recorder):
            _guard(recorder, a, 0)
    return True


def _guard(recorder: Recorder, a: Any, b: Any) -> None:
    if any(getattr(x, "scope", a.scope) is not (recorder.scope or a.scope) for x in (a, b)):
        return  # a key that some cache still has from another trace
    source = _asking_line()
    if source is None and not recorder.data_dependent:
        return
    left, right = dims.folded(dims.from_jax(a)), dims.folded(dims.from_jax(b))
    guard = Comparison(left, "!=", right, source or _user_line())
    if recorder.region.proves(guard):
        return
    if recorder.is_data_dependent(guard) and dims.is_symbolic(left) and dims.is_symbolic(right):
        recorder.unequal = guard.negated
    if source is not None:
        recorder.guard(guard)


def _at_least(original: Callable[..., bool], a: Any, b: Any, described: Any) -> bool:
    recorder = _recorder()
    if recorder is None:
        return original(a, b, described)
    with _busy(recorder):
        question = Comparison(dims.from_jax(a), ">=", dims.from_jax(b), _user_line())
        if recorder.region.proves(question):
            return True
        if recorder.region.proves(question.negated):
            return False
        if recorder.is_data_dependent(question):
            return recorder.assume(question)
        recorder.undecided = question
        raise _compat.InconclusiveDimensionOperation(
            f"'{question.left} >= {question.right}' holds for some sizes of {recorder.region} and "
            "not for others"
        )


def _watched_extremum(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """``max`` and ``min``, which are settled where JAX's own bounds say which one is larger."""

    def call(a: Any, b: Any) -> Any:
        result = original(a, b)
        settled = result is a or result is b
        smaller = settled and (result is a) != name.endswith("max")
        _extremum(*((b, a) if smaller else (a, b)), settled)
        return result

    return call


def _extremum(a: Any, b: Any, settled: bool) -> None:
    recorder = _recorder()
    if recorder is None:
        return
    with _busy(recorder):
        question = Comparison(dims.from_jax(a), ">=", dims.from_jax(b), _user_line())
        if not recorder.is_data_dependent(question):
            recorder.extremum = recorder.extremum if settled else question
        # JAX takes every symbol to be 1 at least; a data-dependent size may be 0.
        elif settled and not recorder.region.proves(question):
            recorder.guard(question)


def _is_dimension(value: Any) -> bool:
    return isinstance(value, int | np.integer) or _compat.is_symbolic(value)


def _asking_line() -> str | None:
    """The line that asked, if it belongs to the user's code or to JAX's library part."""
    frame = sys._getframe(1)
    while frame is not None and _is_machinery(frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return None
    name = frame.f_code.co_filename
    if name.startswith(_compat.JAX_DIRECTORY) and not any(part in name for part in _LIBRARY):
        return None
    return _user_line() if name.startswith(_compat.PACKAGE_DIRECTORY) else _line(frame)


def _user_line() -> str:
    """The nearest line outside JAX and this package's machinery."""
    internal = (_compat.JAX_DIRECTORY, _compat.PACKAGE_DIRECTORY)
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(internal) and not _is_machinery(name):
            return _line(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return "unknown source"


def _is_machinery(filename: str) -> bool:
    ours = (__file__, contextlib.__file__, hooks.__file__, polyfill.__file__)
    return filename in ours or filename == "<string>" or filename.endswith("shape_poly.py")


def _line(frame: Any) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"
