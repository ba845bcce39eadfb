"""Programs in canonical form at given sizes, to tell whether two of them are the same.

Every value gets a number: equal numbers, equal values. Calls are read through, what depends on
sizes only is evaluated, and elements that are only moved are followed to where they come from. So
neither the order of equations, nor dead code, nor the way in which an index is written makes a
difference.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.ir.vocabulary import CALLS
from sod2jax.tracing.audit import loops, moves
from sod2jax.tracing.audit.at_sizes import AtSizes
from sod2jax.tracing.audit.folding import evaluated


@dataclasses.dataclass(frozen=True)
class Value:
    """A value of a program.

    Attributes:
      number: equal for what is computed in the same way.
      known: its elements, where they depend on sizes only.
      places: where its elements stand in the value ``base``, flat; -1 where they are ``fill``.
      base: the number of the value that its elements are of.
      fill: the number of a scalar.
    """

    number: int
    known: np.ndarray | None = None
    places: np.ndarray | None = None
    base: int | None = None
    fill: int | None = None


class Numbering:
    """Numbers the values of several programs, so that these can be compared.

    Attributes:
      equations: the first equation that each number was given to.
    """

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._constants: dict[Any, list[Value]] = {}
        self._exact: dict[Any, Value] = {}
        self.equations: dict[int, JaxprEqn] = {}

    def outputs(self, jaxpr: Jaxpr, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The numbers of the results of a closed jaxpr at given sizes of its symbols."""
        return tuple(value.number for value in _Reader(self, sizes).program(jaxpr))

    def number(self, token: Any, eqn: JaxprEqn | None = None) -> int:
        """The number of what a hashable token describes."""
        number = self._numbers.setdefault(token, len(self._numbers))
        if eqn is not None:
            self.equations.setdefault(number, eqn)
        return number

    def constant(self, array: Any) -> Value:
        """A constant: the same number for equal elements, but for rounding."""
        if np.size(array) > moves.LARGEST or _compat.is_key_array(array):
            return Value(self.number(("object", id(array))))
        array = np.asarray(array)
        kind = array.dtype.name, array.shape
        exact = (*kind, array.tobytes())
        if exact not in self._exact:
            self._exact[exact] = self._alike(kind, array)
        return self._exact[exact]

    def _alike(self, kind: Any, array: np.ndarray) -> Value:
        alike = self._constants.setdefault(kind, [])
        if jnp.issubdtype(array.dtype, np.inexact):
            same = next((value for value in alike if _is_same(value.known, array)), None)
            if same is not None:
                return same
        alike.append(Value(self.number(("constant", *kind, len(alike))), array))
        return alike[-1]


def _is_same(a: Any, b: np.ndarray) -> bool:
    """Whether elements are equal, but for rounding."""
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    tolerance = {8: 1e-12, 4: 3e-6}.get(a.dtype.itemsize // (1 + (a.dtype.kind == "c")), 1e-2)
    x, y = a.astype(wide), b.astype(wide)
    with np.errstate(invalid="ignore"):
        near = (np.abs(x - y) <= tolerance * np.abs(y)) & np.isfinite(y)
    return bool((near | (x == y) | (np.isnan(x) & np.isnan(y))).all())


class _Reader:
    """Reads jaxprs at fixed sizes into a numbering."""

    def __init__(self, numbering: Numbering, sizes: Mapping[str, int]):
        self._numbering, self._sizes = numbering, AtSizes(sizes)
        self.static, self._aval = self._sizes.static, self._sizes.aval
        self._depth = 0  # of loops that are being read

    def program(self, jaxpr: Jaxpr) -> list[Value]:
        """The values of the results, from numbered inputs."""
        return self.run(jaxpr, self.arguments(jaxpr.invars, "input"))

    def run(self, jaxpr: Jaxpr, args: Sequence[Value]) -> list[Value]:
        """The values of the outputs of a jaxpr."""
        return self.outputs(jaxpr, self.environment(jaxpr, args))

    def outputs(self, jaxpr: Jaxpr, env: Mapping[Any, Value]) -> list[Value]:
        """The values of the outputs of a jaxpr among all its values."""
        return [self.read(env, atom) for atom in jaxpr.outvars]

    def environment(self, jaxpr: Jaxpr, args: Sequence[Value]) -> Mapping[Any, Value]:
        """The values of all variables of a jaxpr."""
        env = dict(zip(jaxpr.invars, args, strict=True))
        constants = map(self._numbering.constant, _compat.constants(jaxpr))
        env.update(zip(jaxpr.constvars, constants, strict=True))
        for eqn in jaxpr.eqns:
            results = self._equation(eqn, [self.read(env, atom) for atom in eqn.invars])
            env.update(zip(eqn.outvars, results, strict=True))
        return env

    def read(self, env: Mapping[Any, Value], atom: Atom) -> Value:
        if _compat.is_literal(atom):
            return self._numbering.constant(_compat.literal_array(atom))
        return env[atom]

    def arguments(self, variables: Sequence[Any], kind: str) -> list[Value]:
        """New values for what a body takes."""
        tokens = [(kind, self._depth, k, self._aval(var)) for k, var in enumerate(variables)]
        return [Value(self._numbering.number(token)) for token in tokens]

    def _equation(self, eqn: JaxprEqn, operands: list[Value]) -> list[Value]:
        name = eqn.primitive.name
        if name in CALLS:
            bodies = [body for _, body in _compat.sub_jaxprs(eqn)]
            if bodies and len(bodies[0].invars) == len(operands):
                return self.run(bodies[0], operands)
        if name in _STRUCTURED:
            return _STRUCTURED[name](self, eqn, operands)
        fixed = self._sizes.equation(eqn)
        bodies, params = fixed.bodies, fixed.params
        if len(eqn.outvars) == 1:
            if 0 in self._aval(eqn.outvars[0])[0]:
                return [Value(self._numbering.number(("empty", self._aval(eqn.outvars[0]))))]
            result = self._known(eqn, params, operands) or self._moved(eqn, params, operands)
            if result is not None:
                return [result]
        numbers = [value.number for value in operands]
        if name in _COMMUTATIVE:
            numbers.sort()
        inner = tuple(map(self._scalars, bodies))
        return self.results(eqn, (eqn.primitive, fixed.token, inner, *numbers))

    def results(self, eqn: JaxprEqn, token: Any, which: Sequence[int] | None = None) -> list[Value]:
        """The results of an equation, or some of them, by what describes them together."""
        chosen = eqn.outvars if which is None else [eqn.outvars[k] for k in which]
        together = self._numbering.number(token)  # hashed once, however long it is
        tokens = [("result", together, k, aval) for k, aval in enumerate(map(self._aval, chosen))]
        return [Value(self._numbering.number(each, eqn)) for each in tokens]

    def _scalars(self, body: Jaxpr) -> Any:
        """What a jaxpr of scalars computes, as that of a reducer."""
        with self.inside():
            return tuple(v.number for v in self.run(body, self.arguments(body.invars, "scalar")))

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Numbers what a body takes apart from what the bodies around it take."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    # Values that need no equation

    def _known(
        self, eqn: JaxprEqn, params: Mapping[str, Any], operands: Sequence[Value]
    ) -> Value | None:
        shape, _ = self._aval(eqn.outvars[0])
        known = [operand.known for operand in operands]
        if any(array is None for array in known) or math.prod(shape) > moves.LARGEST:
            return None
        result = evaluated(eqn.primitive.name, params, known, shape, eqn.outvars[0].aval.dtype)
        return None if result is None else self._numbering.constant(result)

    def _moved(
        self, eqn: JaxprEqn, params: Mapping[str, Any], operands: Sequence[Value]
    ) -> Value | None:
        """The value if the equation only moves elements of its first operand."""
        if not operands:
            return None
        name, first = eqn.primitive.name, operands[0]
        shape, dtype = self._aval(eqn.outvars[0])
        if name == "scatter-add":
            return self._placed(eqn, params, operands)
        whole, before = self._aval(eqn.invars[0])
        if name in _COPYING and before == dtype:
            return first
        if max(math.prod(shape), math.prod(whole)) > moves.LARGEST:
            return None
        fill = operands[1].number if name == "pad" else first.fill
        if first.fill not in (None, fill):
            return None
        origin = first if first.places is not None else _whole(first, whole)
        places = _followed(name, origin.places, params, operands, shape)
        if places is None:
            return None
        fill = None if (places >= 0).all() else fill
        if fill is None and origin is not first and np.array_equal(places, origin.places):  # type: ignore[arg-type]
            return first
        token = ("taken", origin.base, fill, shape, dtype, places.astype(np.int32).tobytes())
        return Value(self._numbering.number(token, eqn), None, places, origin.base, fill)

    def _placed(
        self, eqn: JaxprEqn, params: Mapping[str, Any], operands: Sequence[Value]
    ) -> Value | None:
        """The value of updates that are added to zeros, each at a place of its own."""
        onto, indices, updates = operands
        (shape, dtype), (small, _) = self._aval(eqn.outvars[0]), self._aval(eqn.invars[2])
        if onto.known is None or indices.known is None or onto.known.any():
            return None
        if updates.fill is not None or max(math.prod(shape), math.prod(small)) > moves.LARGEST:
            return None
        origin = updates if updates.places is not None else _whole(updates, small)
        places = moves.scatter(origin.places, indices.known, params, shape)  # type: ignore[arg-type]
        if places is None:
            return None
        fill = (
            None if (places >= 0).all() else self._numbering.constant(onto.known.ravel()[0]).number
        )
        token = ("taken", origin.base, fill, shape, dtype, places.astype(np.int32).tobytes())
        return Value(self._numbering.number(token, eqn), None, places, origin.base, fill)

    # Branches

    def _cond(self, eqn: JaxprEqn, operands: list[Value]) -> list[Value]:
        index, *rest = operands
        branches = eqn.params["branches"]
        if index.known is not None and index.known.ndim == 0:
            chosen = min(max(int(index.known), 0), len(branches) - 1)
            return self.run(branches[chosen], rest)
        outputs = [tuple(value.number for value in self.run(b, rest)) for b in branches]
        return self.results(eqn, ("cond", index.number, tuple(outputs)))


def _whole(value: Value, shape: tuple[int, ...]) -> Value:
    """A value as the elements of itself."""
    places = np.arange(math.prod(shape)).reshape(shape)
    return dataclasses.replace(value, places=places, base=value.number)


def _followed(
    name: str,
    places: Any,
    params: Mapping[str, Any],
    operands: Sequence[Value],
    shape: tuple[int, ...],
) -> np.ndarray | None:
    """Where the elements of a result come from, if the equation only moves some."""
    if name in moves.MOVES and not (name == "reshape" and params.get("dimensions")):
        return moves.MOVES[name](places, params, shape)
    known = [operand.known for operand in operands[1:]]
    if any(array is None for array in known):
        return None
    if name == "dynamic_slice":
        return moves.dynamic_slice(places, known, params["slice_sizes"])
    if name == "gather":
        return moves.gather(places, known[0], params, shape)  # type: ignore[arg-type]
    return None


_STRUCTURED = {"scan": loops.scan, "while": loops.loop, "cond": _Reader._cond}
_COPYING = frozenset("convert_element_type copy stop_gradient".split())
_COMMUTATIVE = frozenset("add add_any and max min mul or xor".split())
