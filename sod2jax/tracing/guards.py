"""What tracing decides about symbolic sizes: answers that hold for some shapes only.

Equality of JAX's symbolic dimensions is total: ``n == 1`` is answered False, which is wrong at size
1, and ``bool(n - 1)`` is always True. For every such answer, whoever asked, the comparison that it
takes for true is recorded as a guard, unless the asker is listed among those of JAX whose results
are the same either way. A ``>=`` that cannot be answered for the whole region is decided as the
call at hand does (see ``decisions``), or stops the trace, and the region is split there (see
``regimes``). Proofs of ``>=`` are ours: the bounds of jax 0.10 have
errors for products of floordivs.

The hooks act only inside ``recording``, and only on its own thread.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import max_dim

from sod2jax import _compat
from sod2jax.ir import dims
from sod2jax.ir.comparisons import NO_ASSUMPTIONS, Assumptions, Comparison
from sod2jax.ir.region import Region, bounds
from sod2jax.tracing import (
    arithmetic,
    callers,
    frames,
    hooks,
    observations,
    other_numbers,
    overflow,
    polyfill,
    threads,
    ufuncs,
)
from sod2jax.tracing.bound import count_comparison
from sod2jax.tracing.decisions import Decisions
from sod2jax.tracing.hooks import Patch
from sod2jax.tracing.recorder import Recorder, attentive, busy, stale
from sod2jax.tracing.recorder import active as active

_DIVIDING = ("truediv__", "floordiv__", "mod__")


@contextlib.contextmanager
def recording(
    region: Region,
    scope: Any = None,
    assumptions: Assumptions = NO_ASSUMPTIONS,
    decisions: Decisions | None = None,
) -> Iterator[Recorder]:
    """Records the decisions that this thread's trace makes inside the block."""
    recorder = Recorder(region, scope, assumptions, decisions=decisions or Decisions())
    with hooks.placed(_patches(), recorder):
        yield recorder


@functools.cache
def _patches() -> tuple[Patch, ...]:
    """All that is replaced while a trace runs; the last are of JAX's dimensions."""
    methods = {name: functools.partial(_arithmetic, name) for name in arithmetic.OPERATORS}
    methods |= dict.fromkeys(("max", "rmax", "min", "rmin"), _watched_extremum)
    methods |= arithmetic.BITS
    methods |= {
        "__divmod__": hooks.while_tracing(_with_remainder),
        "__rdivmod__": hooks.while_tracing(_with_reflected_remainder),
        "__eq__": hooks.while_tracing(_equal),
        "__ne__": hooks.while_tracing(_not_equal),
        "__neg__": hooks.while_tracing(_negative),
        **other_numbers.ORDERS,
        "__abs__": lambda _: _absolute,
        "__bool__": lambda _: _truth,
    }
    return (
        *arithmetic.PATCHES,
        *ufuncs.PATCHES,
        *polyfill.PATCHES,
        *threads.PATCHES,
        *observations.PATCHES,
        Patch(*_compat.AT_LEAST, hooks.while_tracing(_at_least)),
        Patch(*_compat.BOUNDS, hooks.while_tracing(_bounds)),
        Patch(*_compat.AS_VALUE, hooks.while_tracing(overflow.as_value)),
        Patch(*_compat.BROADCAST, hooks.while_tracing(_broadcast)),
        Patch(*_compat.RESHAPE, hooks.while_tracing(_reshape)),
        Patch(*_compat.CONTRACTION, hooks.while_tracing(_contract)),
        Patch(_compat.ShapedArray, "__eq__", lambda _: _equal_avals),
        *(Patch(_compat.Dimension, name, make) for name, make in methods.items()),
    )


def _arithmetic(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    method = arithmetic.OPERATORS[name]
    if name == "__mod__":
        method = functools.partial(_remainder, method)
    if name.endswith(_DIVIDING):
        method = functools.partial(_dividing, method, name.startswith("__r"))

    def call(dim: Any, other: Any, *modulo: Any) -> Any:
        if modulo or attentive() is None:
            return original(dim, other, *modulo)
        return _as_numpy_does(method(original, dim, other), dim, other)

    return call


def _negative(original: Callable[..., Any], dim: Any) -> Any:
    return _as_numpy_does(original(dim), dim)


def _absolute(dim: Any) -> Any:
    """That of a difference of sizes; a dimension of JAX has none."""
    if attentive() is None:
        raise TypeError(f"bad operand type for abs(): {type(dim).__name__!r}")
    return _as_numpy_does(max_dim(dim, -dim), dim)


def _as_numpy_does(result: Any, *operands: Any) -> Any:
    """What an operator gives, as one of NumPy's integers if an operand is one."""
    ours = (_compat.NumPyDimension, np.integer)
    return _compat.as_numpy(result) if any(issubclass(type(x), ours) for x in operands) else result


def _dividing(
    method: Callable[..., Any], reflected: bool, original: Callable[..., Any], dim: Any, other: Any
) -> Any:
    """Divides; where the divisor is 0, Python raises."""
    recorder, divisor = attentive(), dim if reflected else other
    if recorder is not None and _compat.is_symbolic(divisor):
        with busy(recorder):
            if _never_differ(recorder, divisor, 0):
                raise ZeroDivisionError("integer division or modulo by zero")
    return method(original, dim, other)


def _with_remainder(_: Callable[..., Any], dim: Any, divisor: Any) -> tuple[Any, Any]:
    return dim // divisor, dim % divisor


def _with_reflected_remainder(_: Callable[..., Any], dim: Any, dividend: Any) -> tuple[Any, Any]:
    return dividend // dim, dividend % dim


def _remainder(
    method: Callable[..., Any], original: Callable[..., Any], dim: Any, divisor: Any
) -> Any:
    """Written by the quotient, ``n + -n % 8`` is a multiple of 8 term by term."""
    result = method(original, dim, divisor)
    if isinstance(divisor, int) and divisor > 1 and _compat.is_symbolic(result):
        return dim - divisor * (dim // divisor)
    return result


def _equal(original: Callable[..., bool], a: Any, b: Any) -> Any:
    recorder = attentive()
    if recorder is None:
        return original(a, b)
    if other_numbers.compares_itself(b):
        return NotImplemented  # as an int does, and is compared with
    with busy(recorder):
        if isinstance(b, jax.Array | np.ndarray) and not isinstance(b, np.integer):
            return jnp.equal(jnp.asarray(a), b)
        exact = int(b) if other_numbers.is_whole(b) else b
        answer = original(a, exact) or (_is_dimension(exact) and _never_differ(recorder, a, exact))
        return other_numbers.answer(answer, a, b)


def _not_equal(_: Callable[..., bool], a: Any, b: Any) -> Any:
    answer = a == b
    return not answer if isinstance(answer, bool) else ~answer


def _truth(a: Any) -> bool:
    recorder = attentive()
    if recorder is None:
        return True
    with busy(recorder):
        return not _never_differ(recorder, a, 0)


def _never_differ(recorder: Recorder, a: Any, b: Any) -> bool:
    """Whether sizes that JAX takes for different are equal wherever the trace holds."""
    if any(_is_of_another_trace(recorder, x) for x in (a, b)):
        if not frames.is_jax(frames.asking()):  # whose caches have keys of other traces
            recorder.doubt(f"a size that another trace left behind, at {frames.users_line()}")
        return False
    frame = frames.asking()
    with_zero = isinstance(b, int) and b == 0
    # What remembers results compares what it was called with: what it does not find it computes.
    harmless = _compat.is_harmless_equality(frame.f_code, with_zero=with_zero)
    harmless = harmless or callers.remembers(frame)
    if harmless and not recorder.data_dependent:
        return False
    if not harmless and isinstance(b, int):
        count_comparison(recorder, a, frame)
    guard = _unequal(a, b)
    if recorder.region.proves(guard):
        return False
    if recorder.region.proves(guard.negated):
        return True
    symbolic = dims.is_symbolic(guard.left) and dims.is_symbolic(guard.right)
    if symbolic and recorder.is_data_dependent(guard):
        recorder.unequal = guard.negated
    if not harmless:
        recorder.guard(guard)
    return False


def _is_of_another_trace(recorder: Recorder, value: Any) -> bool:
    """Whether it is a dimension that another trace made."""
    scope = getattr(value, "scope", recorder.scope)
    return recorder.scope is not None and scope is not recorder.scope


def _unequal(a: Any, b: Any) -> Comparison:
    left, right = dims.folded(dims.from_jax(a)), dims.folded(dims.from_jax(b))
    return Comparison(left, "!=", right, frames.users_line())


def _equal_avals(a: Any, b: Any) -> Any:
    """JAX compares avals by identity, which symbolic sizes that may be equal do not have."""
    if a is b or attentive() is None or type(a) is not type(b) or frames.is_jax(frames.asking()):
        return a is b
    alike = a.ndim == b.ndim and all(getattr(a, k) == getattr(b, k) for k in _compat.AVAL_FIELDS)
    return alike and a.shape == b.shape


def _broadcast(original: Callable[..., Any], *shapes: Any, name: str) -> Any:
    """Broadcasts; where somebody catches the error, the trace holds where it is to be raised."""
    try:
        return original(*shapes, name=name)
    except TypeError as error:
        for axis in zip(*shapes, strict=False):
            _refuse_to_broadcast(axis)
        error.args = tuple(observations.ErrorText(arg) for arg in error.args)
        raise


def _refuse_to_broadcast(axis: Sequence[Any]) -> None:
    recorder = attentive()
    longer = [d for d in dict.fromkeys(axis) if not (isinstance(d, int) and d == 1)]
    if recorder is None or len(longer) < 2:
        return
    with busy(recorder):
        pairs = [(d, 1) for d in longer] + [(longer[0], d) for d in longer[1:]]
        for a, b in pairs:
            if _compat.is_symbolic(a) or _compat.is_symbolic(b):
                recorder.refuse(_unequal(a, b))


def _reshape(original: Callable[..., Any], operand: Any, new_sizes: Any, *rest: Any, **kw: Any):
    """Reshapes; JAX does not check whether symbolic shapes have equally many elements."""
    recorder, shape = attentive(), np.shape(operand)
    if recorder is not None and any(map(_compat.is_symbolic, (*shape, *new_sizes))):
        with busy(recorder):
            _check_elements(recorder, shape, tuple(new_sizes))
    return original(operand, new_sizes, *rest, **kw)


def _check_elements(recorder: Recorder, shape: tuple[Any, ...], new: tuple[Any, ...]) -> None:
    size, new_size = math.prod(shape), math.prod(new)
    if size is new_size or size == new_size:
        return
    differ = _unequal(size, new_size)
    if recorder.region.proves(differ.negated):
        return
    if not recorder.region.proves(differ):
        recorder.refuse(differ)
    text = f"cannot reshape array of shape {shape} into shape {new}"
    raise TypeError(observations.ErrorText(text))


def _contract(original: Callable[..., Any], *operands: Any, **kwargs: Any) -> Any:
    """Contracts; JAX compares numbers that stand for sizes, so no question is seen."""
    try:
        return original(*operands, **kwargs)
    except ValueError:
        if (recorder := attentive()) is not None:
            recorder.doubt(f"an error of sizes that einsum compares at {frames.users_line()}")
        raise


def _at_least(original: Callable[..., bool], a: Any, b: Any, described: Any) -> bool:
    recorder = attentive()
    if recorder is None:
        return original(a, b, described)
    with busy(recorder):
        for dim in (a, b):
            if _is_of_another_trace(recorder, dim):
                raise stale(f"the size '{dim}'", frames.users_line())
        question = Comparison(dims.from_jax(a), ">=", dims.from_jax(b), frames.users_line())
        if recorder.region.proves(question):
            return True
        if recorder.region.proves(question.negated):
            return False
        if recorder.is_data_dependent(question):
            return recorder.assume(question)
        than = question.left if isinstance(question.left, int) else question.right
        harmless = _compat.is_harmless_order(frames.asking().f_code, than)
        answer = None if harmless else recorder.decide(question)
        if answer is not None:
            return answer
        raise _compat.InconclusiveDimensionOperation(
            f"'{question.left} >= {question.right}' holds for some sizes of {recorder.region} and "
            "not for others"
        )


def _bounds(original: Callable[..., Any], dim: Any, precision: Any) -> tuple[float, float]:
    """By our proofs: JAX's take every symbol to be 1 at least, and some are wrong."""
    recorder = attentive()
    if recorder is None or _is_of_another_trace(recorder, dim):
        return original(dim, precision)
    with busy(recorder):
        found = bounds(dims.from_jax(dim), recorder.region)
    low = -math.inf if found.low is None else found.low
    return low, math.inf if found.high is None else found.high


def _watched_extremum(original: Callable[..., Any]) -> Callable[..., Any]:
    """``max`` and ``min``, which are settled where their bounds say which one is larger."""

    def call(a: Any, b: Any) -> Any:
        result, recorder = original(a, b), attentive()
        if recorder is not None and result is not a and result is not b:
            with busy(recorder):
                question = Comparison(dims.from_jax(a), ">=", dims.from_jax(b), frames.users_line())
                if not recorder.is_data_dependent(question):
                    recorder.extremum = question
        return result

    return call


def _is_dimension(value: Any) -> bool:
    return isinstance(value, int | np.integer) or _compat.is_symbolic(value)
