"""What jaxprs say at fixed sizes of their symbols: shapes and parameters, each read once."""

from __future__ import annotations

import dataclasses
import types
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

# Of JAX's own primitives: what it prefers or promises, names, and what is told of the results
# themselves.
_HINTS = frozenset(
    """
    indices_are_sorted is_stable name out_sharding result_avals sharding unique_indices
    """.split()
)

# Objects that all traces find at the same place.
_ONE_FOR_ALL = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fixed:
    """An equation at fixed sizes.

    Attributes:
      eqn: the equation.
      bodies: the jaxprs among its parameters.
      params: its other parameters that decide on results.
      token: equal for parameters that are alike.
      doing: equal for callbacks whose functions do the same, as far as can be told.
    """

    eqn: JaxprEqn
    bodies: Sequence[Jaxpr]
    params: Mapping[str, Any]
    token: Any
    doing: Any = None

    def __repr__(self) -> str:
        return f"Fixed({self.eqn.primitive.name})"


class AtSizes:
    """Reads avals, parameters and equations at fixed sizes.

    Args:
      sizes: of the symbols.
      exactly: whether all counts that callbacks close over, texts and objects of their own, too.
    """

    def __init__(self, sizes: Mapping[str, int], exactly: bool = False):
        self._sizes, self._exactly = dict(sizes), exactly
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
            params = {
                k: self.static(_beside_bodies(v))
                for k, v in eqn.params.items()
                if not _is_hint(eqn, k)
            }
            called = self._called(eqn)
            if called is not None:
                rest = {k: v for k, v in params.items() if "callback" in params}
                params = rest | {"callback": called}
            told = tuple((k, _hashable(v)) for k, v in sorted(params.items()))
            known = self._equations[id(eqn)] = Fixed(eqn, bodies, params, told, called)
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

    def _called(self, eqn: JaxprEqn) -> Any:
        """What a callback's function is, whichever trace made it, at the sizes; None of others."""
        if eqn.primitive.name not in CALLBACKS:
            return None
        try:
            call = token(closures.at(_compat.called(eqn), self._sizes))
        except HiddenSize:  # which the rewrite refuses
            return "hidden"
        return _hashable(call if self._exactly else _as_written(call))

    def __repr__(self) -> str:
        return f"AtSizes({self._sizes})"


def _is_hint(eqn: JaxprEqn, name: str) -> bool:
    """Whether a parameter decides on no results."""
    # Others' primitives may mean anything by its name.
    return name in _HINTS and not _compat.is_others(eqn.primitive)


def _beside_bodies(param: Any) -> Any:
    """A parameter, of whose jaxprs, which are the equation's bodies, only the places are told."""
    if isinstance(param, tuple | list) and any(map(_compat.is_jaxpr, param)):
        return tuple("jaxpr" if _compat.is_jaxpr(item) else item for item in param)
    return "jaxpr" if _compat.is_jaxpr(param) else param


def is_of_sizes(eqn: JaxprEqn) -> bool:
    """Whether an equation makes numbers of symbolic sizes, if its operands do not say so."""
    made = (*(d for var in eqn.outvars for d in getattr(var.aval, "shape", ())),)
    return any(map(_compat.is_symbolic, (*made, eqn.params.get("dim"))))


def _as_written(call: Any) -> Any:
    """What tells a callback's function, but for texts that it closes over, and its own objects.

    They may tell of the trace itself, as where it was called from, or be made by each. What is made
    of a size is no secret: the recorder doubts it, and then all is compared.
    """
    if isinstance(call, str | bytes):
        return "text"
    if not isinstance(call, tuple):
        is_own = type(call).__eq__ is object.__eq__ and not isinstance(call, _ONE_FOR_ALL)
        return type(call) if is_own else call
    items = tuple(map(_as_written, call))
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
