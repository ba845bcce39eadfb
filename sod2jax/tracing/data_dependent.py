"""Sizes that depend on values: symbols whose sizes the program itself computes.

``dimension(count, most, what)`` makes one: the equation ``value_as_dim`` says that the symbol's
true size is ``count``, the inverse of ``dim_as_value``. All that follows is ordinary JAX with a
symbolic dimension. Such a size may be 0, though JAX takes every symbol to be 1 at least: where
that, or any other comparison, decided the course of the trace, a guard is recorded and checked
after the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.errors import DataDependentSizeError, ShapeError
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.primitives import value_as_dim_p
from sod2jax.ir.surgery import Copier, inlined
from sod2jax.tracing import guards


def is_tracing() -> bool:
    """Whether this thread traces an optimized function, so that new symbols can be made."""
    return guards.active() is not None


def dimension(count: Any, most: Any, what: str) -> tuple[Any, Any]:
    """A dimension whose size is a value of the program.

    Args:
      count: int32 scalar, 0 or more.
      most: a dimension that ``count`` is never above; None where there is no such.
      what: names the symbol, with a number.

    Returns:
      (dimension, size): the dimension for shapes, and the same as an int32 scalar.

    Raises:
      DataDependentSizeError: another trace than that of an optimized function is going on.
      ShapeError: no trace is going on, and the size is negative or over ``most``.
    """
    recorder = guards.active()
    if recorder is None:
        return _known(count, most, what)
    taken = {*recorder.region.names, *recorder.data_dependent}
    name = next(n for k in range(len(taken) + 1) if (n := f"{what}_{k}") not in taken)
    recorder.data_dependent.append(name)
    dim = _symbol(recorder, name, None if most is None else dims.from_jax(most))
    size = value_as_dim_p.bind(jnp.asarray(count, np.int32), dim=dim, name=name)
    return dim, size


def _known(count: Any, most: Any, what: str) -> tuple[int, Any]:
    """A size outside of traces of optimized functions, where it is a number."""
    if _compat.is_unknown(count):
        raise DataDependentSizeError(f"'{what}' makes a size that depends on values")
    if count < 0 or (most is not None and count > most):
        raise ShapeError(
            f"the size '{what}' is {count}, outside of 0 <= {what} <= {most}: the counts that make "
            "it must not be negative, and a maximum must hold it"
        )
    return int(count), jnp.asarray(count, np.int32)


def once(argument: Any, compute: Callable[[], Any]) -> Any:
    """What ``compute`` makes of an argument; the same again for the very same argument.

    So arrays that one mask selects from have one size, and fit each other.
    """
    recorder = guards.active()
    if recorder is None:
        return compute()
    if id(argument) not in recorder.computed:
        result = compute()
        if _compat.trace_of(result) is not _compat.trace_of(argument):
            return result  # made inside a function that the argument comes from outside of
        recorder.computed[id(argument)] = (argument, result)
    return recorder.computed[id(argument)][1]


def _symbol(recorder: guards.Recorder, name: str, most: Dim | None) -> Any:
    dim = _dim(recorder, name, most)
    if isinstance(dim, int):
        recorder.numbers[name] = dim
        return dim
    return _compat.dimensions([dims.jax_text(dim)], recorder.scope)[0]


def _dim(recorder: guards.Recorder, name: str, most: Dim | None) -> Dim:
    """What a symbol is, given what the trace assumes: another dimension, a number, or itself."""
    fixed = dict(recorder.assumptions.fixed).get(name)
    if fixed is not None:
        numbers: Any = {dims.symbol(other): size for other, size in recorder.numbers.items()}
        return fixed if isinstance(fixed, int) else dims.normalise(fixed.subs(numbers))
    known = {*recorder.region.names, name}
    limits = [c for c in recorder.assumptions.limits if name in c.symbols and c.symbols <= known]
    region = recorder.region.with_symbol(name, most, limits)
    low, high = region.range(name)
    if low == high:
        return low
    recorder.region = region
    return dims.symbol(name)


def exposed(jaxpr: Jaxpr) -> tuple[Any, tuple[Dim, ...]]:
    """The jaxpr with its data-dependent sizes as further outputs, and the dimensions they are of.

    Calls that make such sizes are inlined.

    Raises:
      DataDependentSizeError: a size is made in the body of a loop or a branch, or twice.
    """
    if not any(map(_makes_sizes, jaxpr.eqns)):
        return jaxpr, ()
    jaxpr = inlined(jaxpr, _makes_sizes, Copier())
    for eqn in jaxpr.eqns:
        if eqn.primitive is not value_as_dim_p and _makes_sizes(eqn):
            raise DataDependentSizeError(
                f"a size that depends on values is made inside '{eqn.primitive.name}' at "
                f"{_compat.source_line(eqn)}, where it differs from step to step: make it outside, "
                "or keep a mask in place of a shorter array"
            )
    made = [eqn for eqn in jaxpr.eqns if eqn.primitive is value_as_dim_p]
    computed = tuple(dims.from_jax(eqn.params["dim"]) for eqn in made)
    names = [eqn.params["name"] for eqn in made]
    for name in names:
        if names.count(name) > 1:
            raise DataDependentSizeError(
                f"a function under jax.jit makes the size '{name}', which depends on values, and "
                "is called twice: leave out that inner jax.jit"
            )
    sizes = [eqn.outvars[0] for eqn in made]
    return _compat.with_equations(jaxpr, jaxpr.eqns, [*jaxpr.outvars, *sizes]), computed


def _makes_sizes(eqn: JaxprEqn) -> bool:
    inner = (e for _, jaxpr in _compat.sub_jaxprs(eqn) for e in jaxpr.eqns)
    return eqn.primitive is value_as_dim_p or any(map(_makes_sizes, inner))
