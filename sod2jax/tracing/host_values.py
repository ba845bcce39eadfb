"""What the host computes from sizes, as inputs of the program.

Under ``jax.jit``, numbers made of sizes are Python's and NumPy's own, and XLA sees what comes out.
A program that computed them anew would round each step in another way, or XLA would. So the host
computes them for the sizes of each call, and the program takes them as inputs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.errors import TraceError
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import used_in
from sod2jax.ir.primitives import host_value_p
from sod2jax.tracing import hooks
from sod2jax.tracing.host_numbers import HostNumber


class NotComputed(TraceError):
    """The host does not compute a number at some sizes as the trace took it for granted."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class HostValue:
    """A number or an array that the host computes from sizes, as JAX takes it.

    Attributes:
      number: how it is computed.
      kind: the class of the Python number, or the dtype of what NumPy gives.
      convert: to the array that JAX makes of it.
      shape: of that.
      source: the user's line.
    """

    number: HostNumber
    kind: Any
    convert: Callable[[Any], jax.Array]
    shape: tuple[Dim, ...]
    source: str

    @property
    def symbols(self) -> frozenset[str]:
        """The sizes that it is computed from."""
        return frozenset(dims.symbols_in(list(self.number.dims)))

    def at(self, sizes: Mapping[str, int]) -> np.ndarray:
        """The array at some sizes.

        Raises:
          NotComputed: Python raises there, or gives a number of another kind.
        """
        values = {d: int(dims.evaluate(d, sizes)) for d in self.number.dims}
        try:
            with np.errstate(all="ignore"), jax.ensure_compile_time_eval():
                number = self.number.at(values)
                if not self._is_expected(number, sizes):
                    raise NotComputed(f"the number at {self.source} is of another kind")
                return np.asarray(self.convert(number))
        except NotComputed:
            raise
        except (ArithmeticError, TypeError, ValueError, IndexError) as error:
            what = f"{type(error).__name__}: {error}"
            raise NotComputed(f"the number at {self.source} is none: {what}") from error

    def _is_expected(self, number: Any, sizes: Mapping[str, int]) -> bool:
        if isinstance(self.kind, type):
            return type(number) is self.kind or (self.kind is bool and type(number) is np.bool_)
        shape = tuple(int(dims.evaluate(d, sizes)) for d in self.shape)
        is_array = isinstance(number, np.ndarray | np.generic)
        return is_array and (number.dtype, number.shape) == (self.kind, shape)

    def __repr__(self) -> str:
        return f"HostValue([{', '.join(map(str, self.shape))}] at {self.source})"


def as_input(
    number: HostNumber, kind: Any, convert: Callable[[Any], Any], like: Any, source: str
) -> Any:
    """What the host computes, as an array of the trace that goes on.

    It stands outside of all that the function itself transforms.

    Args:
      number: what it is.
      kind: as that of ``HostValue``.
      convert: as that of ``HostValue``.
      like: its shape, dtype and weak type.
      source: the user's line.
    """
    recorder = hooks.active()
    key = (number, like.dtype, like.weak_type)
    if key not in recorder.delivered:
        shape = tuple(map(dims.from_jax, like.shape))
        aval = _compat.array_aval(like.shape, like.dtype, like.weak_type)
        value = HostValue(number, kind, convert, shape, source)
        with _compat.in_trace(recorder.outermost):
            recorder.delivered[key] = host_value_p.bind(value=value, aval=aval)
    return recorder.delivered[key]


def hoisted(jaxpr: Jaxpr) -> tuple[Any, tuple[HostValue, ...]]:
    """The closed jaxpr with what the host computes as its last inputs, and what that is."""
    made = {
        eqn.outvars[0]: eqn.params["value"] for eqn in jaxpr.eqns if eqn.primitive is host_value_p
    }
    if not made:
        return jaxpr, ()
    rest = []
    for eqn in jaxpr.eqns:
        if _converts_number(eqn) and eqn.invars[0] in made:  # from all its digits
            convert = functools.partial(_in_dtype, eqn.params["new_dtype"])
            made[eqn.outvars[0]] = dataclasses.replace(made[eqn.invars[0]], convert=convert)
        elif eqn.primitive is not host_value_p:
            rest.append(eqn)
    read = used_in(rest, jaxpr.outvars)
    kept = {var: value for var, value in made.items() if var in read}
    return _compat.with_equations(jaxpr, rest, invars=[*jaxpr.invars, *kept]), tuple(kept.values())


def _converts_number(eqn: JaxprEqn) -> bool:
    """Whether an equation gives a Python number the dtype of the array that it is used with."""
    if eqn.primitive.name != "convert_element_type" or _compat.is_literal(eqn.invars[0]):
        return False
    aval = eqn.invars[0].aval
    return getattr(aval, "weak_type", False) and aval.dtype != eqn.params["new_dtype"]


def _in_dtype(dtype: Any, number: Any) -> np.ndarray:
    return np.asarray(number).astype(dtype)
