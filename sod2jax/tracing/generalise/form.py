"""The form of a concrete trace: what must be the same at all sizes, and what may vary.

Sizes reach a jaxpr as integers in shapes and parameters, and as constants that Python or NumPy
computed. A form keeps both apart from the structure, in one fixed order, so that the forms of two
traces can be compared and a program can be rebuilt with other integers and constants.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.ir.vocabulary import CALLS
from sod2jax.tracing import hooks

_NO_NUMBERS = (bool, np.bool_, enum.Enum)  # though some are integers, as ``lax.FftType``

_LARGEST = 1 << 16  # elements of an array that are compared


@dataclasses.dataclass(frozen=True, eq=False)
class Form:
    """A trace at concrete sizes, taken apart.

    Attributes:
      skeleton: hashable tokens that do not depend on sizes.
      ints: every integer of a shape or a parameter.
      values: every constant, literal or lifted.
      shapes: for each constant, the part of ``ints`` that is its shape.
      owners: for each of ``ints``, the equation that it stands in and those around it.
    """

    skeleton: tuple[Any, ...]
    ints: tuple[int, ...]
    values: tuple[Any, ...]
    shapes: tuple[slice, ...]
    owners: tuple[tuple[JaxprEqn, ...], ...]


def form_of(closed: Jaxpr) -> Form:
    """The form of a closed jaxpr that was traced at concrete sizes."""
    reader = _Reader()
    reader.jaxpr(closed)
    parts = (reader.skeleton, reader.ints, reader.values, reader.shapes, reader.owners)
    skeleton, ints, values, shapes, owners = map(tuple, parts)
    return Form(skeleton, ints, values, shapes, owners)  # type: ignore[arg-type]


def map_ints(param: Any, visit: Callable[[int], Any]) -> Any:
    """A parameter with every integer in it replaced, in the order in which forms list them."""
    if isinstance(param, (int, np.integer)) and not isinstance(param, _NO_NUMBERS):
        return visit(int(param))
    if isinstance(param, tuple) and hasattr(param, "_fields"):
        return type(param)(*(map_ints(item, visit) for item in param))
    if isinstance(param, (tuple, list)):
        return type(param)(map_ints(item, visit) for item in param)
    if isinstance(param, (ShapedArray, jax.ShapeDtypeStruct)):
        return param.update(shape=tuple(map(visit, map(int, param.shape))))
    return param


def params_of(eqn: JaxprEqn) -> Iterator[tuple[str, Any]]:
    """The parameters of an equation that belong to its form, in order.

    Of calls only the body: derivatives were taken before, so their other parameters mean nothing.
    """
    for name in sorted(eqn.params):
        if eqn.primitive.name not in CALLS or jaxprs_of(eqn.params[name]):
            yield name, eqn.params[name]


def jaxprs_of(param: Any) -> list[Any]:
    """The jaxprs that a parameter is, or holds."""
    items = param if isinstance(param, (tuple, list)) else (param,)
    return [item for item in items if _compat.is_jaxpr(item)]


def same_value(a: Any, b: Any) -> bool:
    """Whether two constants are the same array, by identity or bit by bit."""
    if a is b:
        return True
    x, y = _bits(a), _bits(b)
    return (x.shape, x.dtype) == (y.shape, y.dtype) and x.tobytes() == y.tobytes()


def _bits(value: Any) -> np.ndarray:
    if hasattr(value, "dtype") and _compat.is_key_array(value):
        return np.asarray(jax.random.key_data(value))
    return np.asarray(value)


class _Reader:
    def __init__(self) -> None:
        self.skeleton: list[Any] = []
        self.ints: list[int] = []
        self.values: list[Any] = []
        self.shapes: list[slice] = []
        self.owners: list[tuple[JaxprEqn, ...]] = []
        self._around: tuple[JaxprEqn, ...] = ()

    def jaxpr(self, jaxpr: Jaxpr) -> None:
        names: dict[Any, int] = {}
        consts = _compat.constants(jaxpr)
        self.skeleton.append(("jaxpr", len(consts), len(jaxpr.invars), len(jaxpr.eqns)))
        for var in (*jaxpr.constvars, *jaxpr.invars):
            shape = self._bind(var, names)
            if len(names) <= len(consts):
                self.shapes.append(shape)
        self.values += consts
        around = self._around
        for eqn in jaxpr.eqns:
            self._around = (eqn, *around)
            self._equation(eqn, names)
        self._around = around
        for atom in jaxpr.outvars:
            self.skeleton.append(getattr(atom.aval, "weak_type", False))
            self._operand(atom, names)

    def _equation(self, eqn: JaxprEqn, names: dict[Any, int]) -> None:
        self.skeleton.append(eqn.primitive.name)
        for name, param in params_of(eqn):
            self.skeleton.append(name)
            for body in (bodies := jaxprs_of(param)):
                self.jaxpr(body)
            if not bodies:
                self.skeleton.append(token(map_ints(param, self._integer)))
        for atom in eqn.invars:
            self._operand(atom, names)
        for var in eqn.outvars:
            self._bind(var, names)

    def _integer(self, value: int) -> int:
        self.ints.append(value)
        self.owners.append(self._around)
        return 0

    def _aval(self, aval: Any) -> slice:
        self.skeleton.append((str(aval.dtype), aval.ndim))
        start = len(self.ints)
        self.ints += map(int, aval.shape)
        self.owners += [self._around] * (len(self.ints) - start)
        return slice(start, len(self.ints))

    def _bind(self, var: Any, names: dict[Any, int]) -> slice:
        names[var] = len(names)
        return self._aval(var.aval)

    def _operand(self, atom: Atom, names: dict[Any, int]) -> None:
        if not _compat.is_literal(atom):
            self.skeleton.append(names[atom])
            return
        self.shapes.append(self._aval(atom.aval))
        self.skeleton.append("literal")
        self.values.append(_compat.literal_array(atom))


def token(param: Any, outer: tuple[Any, ...] = ()) -> Any:
    """A parameter as something to compare by ``==``; its integers are gone.

    Functions made anew by each trace, as those of callbacks are, are equal where their code is the
    same, and all that they close over.
    """
    if any(param is other for other in outer):
        return "itself"
    if isinstance(param, types.FunctionType) and hooks.original(param) is not param:
        return token(hooks.original(param), outer)
    inner = functools.partial(token, outer=(*outer, param))
    if isinstance(param, np.ndarray) and param.dtype.hasobject:
        return (param.shape, inner(param.tolist()))
    if isinstance(param, np.ndarray):
        return Elements(str(param.dtype), param.shape, param.tobytes())
    if isinstance(param, jax.Array):
        return _elements(param)
    if isinstance(param, dict):
        return tuple((key, inner(value)) for key, value in param.items())
    if isinstance(param, (tuple, list)):
        return tuple(map(inner, param))
    if isinstance(param, functools.partial):
        return (inner(param.func), inner(param.args), inner(param.keywords))
    if isinstance(param, types.MethodType):
        return (inner(param.__func__), param.__self__)
    if isinstance(param, types.FunctionType):
        closed_over = [_content(cell) for cell in param.__closure__ or ()]
        given = (param.__defaults__, param.__kwdefaults__)
        return (param.__code__, inner(closed_over), inner(given))
    if dataclasses.is_dataclass(param) and not isinstance(param, type):
        fields = [getattr(param, field.name) for field in dataclasses.fields(param)]
        return (type(param), inner(fields))
    return param


@dataclasses.dataclass(frozen=True)
class Elements:
    """What an array is, to compare by ``==``."""

    dtype: str
    shape: tuple[int, ...]
    data: Any


def _elements(array: jax.Array) -> Elements:
    """Those of an array of JAX; a large one is only what it is itself."""
    is_here = not _compat.is_unknown(array) and array.is_fully_addressable
    data = _bits(array).tobytes() if is_here and array.size <= _LARGEST else id(array)
    return Elements(str(array.dtype), array.shape, data)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "nothing yet"
