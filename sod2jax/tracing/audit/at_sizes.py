"""What jaxprs say at fixed sizes of their symbols: shapes and parameters, each read once."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.ir import closures, dims
from sod2jax.ir.closures import HiddenSize
from sod2jax.ir.vocabulary import CALLBACKS
from sod2jax.tracing.generalise.form import token

Shape = tuple[int, ...]

# What JAX prefers or promises, names, and what is told of the results themselves.
_HINTS = frozenset(
    """
    indices_are_sorted is_stable jaxpr name out_sharding result_avals sharding unique_indices
    """.split()
)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fixed:
    """An equation at fixed sizes.

    Attributes:
      eqn: the equation.
      bodies: the jaxprs among its parameters.
      params: its other parameters that decide on results.
      token: equal for parameters that are alike.
    """

    eqn: JaxprEqn
    bodies: Sequence[Jaxpr]
    params: Mapping[str, Any]
    token: Any

    def __repr__(self) -> str:
        return f"Fixed({self.eqn.primitive.name})"


class AtSizes:
    """Reads avals, parameters and equations at fixed sizes.

    Args:
      sizes: of the symbols.
    """

    def __init__(self, sizes: Mapping[str, int]):
        self._sizes = dict(sizes)
        self._dims: dict[Any, int] = {}
        # By identity, with what is identified.
        self._avals: dict[int, tuple[Any, tuple[Shape, str]]] = {}
        self._equations: dict[int, Fixed] = {}

    def aval(self, atom: Any) -> tuple[Shape, str]:
        """(shape, dtype) of an atom."""
        aval = atom.aval
        known = self._avals.get(id(aval))
        if known is None:
            shape = self.static(tuple(getattr(aval, "shape", ())))
            known = self._avals[id(aval)] = aval, (shape, str(getattr(aval, "dtype", "")))
        return known[1]

    def equation(self, eqn: JaxprEqn) -> Fixed:
        """The parameters of an equation."""
        known = self._equations.get(id(eqn))
        if known is None:
            bodies = [body for _, body in _compat.sub_jaxprs(eqn)]
            params = {k: self.static(v) for k, v in eqn.params.items() if k not in _HINTS}
            params |= self._called(eqn)
            told = tuple((k, _hashable(v)) for k, v in sorted(params.items()))
            known = self._equations[id(eqn)] = Fixed(eqn, bodies, params, told)
        return known

    def static(self, param: Any) -> Any:
        """A parameter with sizes for its dimensions."""
        if isinstance(param, tuple) and hasattr(param, "_fields"):
            return type(param)(*map(self.static, param))
        if isinstance(param, tuple | list):
            return tuple(map(self.static, param))
        if _compat.is_symbolic(param):
            if param not in self._dims:
                self._dims[param] = int(dims.evaluate(dims.from_jax(param), self._sizes))
            return self._dims[param]
        return param

    def _called(self, eqn: JaxprEqn) -> dict[str, Any]:
        """What a callback's function is, whichever trace made it, at the sizes."""
        if eqn.primitive.name not in CALLBACKS or "callback" not in eqn.params:
            return {}
        with contextlib.suppress(HiddenSize):  # which the rewrite refuses
            call = token(closures.at(eqn.params["callback"], self._sizes))
            return {"callback": _without_texts(call)}
        return {}

    def __repr__(self) -> str:
        return f"AtSizes({self._sizes})"


def _without_texts(call: Any) -> Any:
    """What tells a callback's function, but for texts that it closes over.

    They may tell of the trace itself, as where it was called from. One that is made of a size is
    no secret: the recorder doubts it.
    """
    if isinstance(call, str | bytes):
        return "text"
    if not isinstance(call, tuple):
        return call
    items = tuple(map(_without_texts, call))
    alike = bool(items) and all(isinstance(item, str) for item in items)
    return "text" if alike else items  # however many they are


def _hashable(param: Any) -> Any:
    """A parameter as something that is equal to its like."""
    if isinstance(param, np.ndarray):
        return (str(param.dtype), param.shape, param.tobytes())
    if isinstance(param, Mapping):
        return tuple((k, _hashable(v)) for k, v in param.items())
    if isinstance(param, tuple | list):
        return tuple(map(_hashable, param))
    try:
        hash(param)
    except TypeError:
        return repr(param)
    return param
