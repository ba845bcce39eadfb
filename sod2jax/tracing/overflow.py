"""Sizes that become numbers of 32 bits: those that do not fit.

Python's integers have no bound; JAX takes a larger one for an ``OverflowError``, and a program
computes its true sizes in 32 bits, and so the operands of their quotients, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import sympy

from sod2jax._compat import Jaxpr
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import equations
from sod2jax.tracing import escaped, frames
from sod2jax.tracing.recorder import Recorder, attentive, busy

_LOWEST, _LARGEST = -(1 << 31), (1 << 31) - 1
_LONGEST = 1 << 27  # of an axis, as far as it matters: what is some of these needs no guard


class TooLarge(OverflowError):
    """A number made of sizes that no program of ours computes, though Python has it."""


def as_value(original: Callable[[Any], Any], dim: Any) -> Any:
    """A size as a number of a program; what does not fit at some sizes is for another program.

    Raises:
      OverflowError: it fits at no size of the region, where JAX raises as well.
    """
    recorder = attentive()
    if recorder is None or dim.scope is not recorder.scope:  # of another trace: to be refused
        return original(dim)
    with busy(recorder):
        size = dims.from_jax(dim)
        guard(recorder, operands(size))
        if not _fits(recorder, size):
            if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
                raise _unlike_jax(recorder, size)
            raise OverflowError("Python int too large to convert to int32")
    return original(dim)


def guard(recorder: Recorder, sizes: Iterable[Dim]) -> None:
    """From here on, the trace holds where some sizes fit.

    Raises:
      TooLarge: one fits at no size of the region.
    """
    for size in sizes:
        if not _fits(recorder, size):
            raise _unlike_jax(recorder, size)


def guard_shapes(recorder: Recorder, jaxpr: Jaxpr) -> None:
    """From here on, the trace holds where its program computes the sizes of its arrays.

    Raises:
      TooLarge: it computes one nowhere.
    """
    sizes = {dims.from_jax(dim) for eqn in equations(jaxpr) for dim in escaped.sizes(eqn)}
    for size in sorted(sizes, key=str):
        guard(recorder, operands(size))


def operands(dim: Dim) -> Iterator[Dim]:
    """What the quotients, remainders and extremes in a dimension are of."""
    functions: Any = () if isinstance(dim, int) else dim.atoms(sympy.Function)
    return (dims.normalise(arg) for function in functions for arg in function.args)


def _unlike_jax(recorder: Recorder, size: Dim) -> TooLarge:
    recorder.doubt(f"the number {size}, which has no 32 bits, at {frames.users_line()}")
    return TooLarge(
        f"'{size}', made of sizes, is over 2**31 at all sizes of {recorder.region}: programs for "
        "varying sizes compute in 32 bits"
    )


def _fits(recorder: Recorder, size: Dim) -> bool:
    """Whether a size fits at some sizes of the trace's region, which it is guarded to do."""
    ends = {n: min(_LONGEST, high or _LONGEST) for n, _, high in recorder.region.ranges}
    if dims.magnitude(size, ends) <= _LARGEST:
        return True
    where = frames.users_line()
    limits = [
        Comparison(_LARGEST, ">=", size, where),
        Comparison(size, ">=", _LOWEST, where),
    ]
    if any(recorder.region.proves(limit.negated) for limit in limits):
        return False
    for limit in limits:
        if not recorder.region.proves(limit):
            recorder.limit(limit)
    return True
