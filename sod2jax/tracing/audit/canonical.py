"""Programs in canonical form at given sizes, to tell whether two of them are the same.

Every value gets a number: equal numbers, equal values. Calls are read through, what depends on
sizes only is evaluated, and elements that are only moved are followed to where they come from. So
neither the order of equations, nor dead code, nor the way in which an index is written makes a
difference. What has an effect, as a callback, counts in its order, whether or not it has results.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.ir.vocabulary import CALLS
from sod2jax.tracing.audit import loops, moves
from sod2jax.tracing.audit.at_sizes import AtSizes, Fixed, is_of_sizes
from sod2jax.tracing.audit.folding import evaluated
from sod2jax.tracing.audit.numbering import Canonical, Effect, Numbering, Value


def canonical(
    numbering: Numbering,
    jaxpr: Jaxpr,
    sizes: Mapping[str, int],
    exactly: bool = False,
    known: Sequence[Any] = (),
) -> Canonical:
    """The canonical form of a closed jaxpr at given sizes of its symbols.

    Args:
      numbering: of all that it is compared with.
      jaxpr: closed.
      sizes: of its symbols.
      exactly: whether all counts that callbacks close over, texts and objects of their own, too.
      known: the last inputs, which the sizes give.
    """
    reader = _Reader(numbering, sizes, exactly)
    results = tuple(value.number for value in reader.program(jaxpr, known))
    return Canonical(results, tuple(reader.effects))


class _Reader:
    """Reads jaxprs at fixed sizes into a numbering."""

    def __init__(self, numbering: Numbering, sizes: Mapping[str, int], exactly: bool):
        self._numbering, self._sizes = numbering, AtSizes(sizes, exactly)
        self.effects: list[Effect] = []  # of the body that is being read, in order
        self.static, self._aval = self._sizes.static, self._sizes.aval
        self._depth = 0  # of loops that are being read

    def program(self, jaxpr: Jaxpr, known: Sequence[Any]) -> list[Value]:
        """The values of the results, from numbered inputs and, after these, known ones."""
        free = jaxpr.invars[: len(jaxpr.invars) - len(known)]
        given = self.arguments(free, "input")
        return self.run(jaxpr, [*given, *map(self._numbering.constant, known)])

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
        if eqn.effects:
            return self._effectful(eqn, fixed, operands)
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

    def _effectful(self, eqn: JaxprEqn, fixed: Fixed, operands: list[Value]) -> list[Value]:
        inner, within = [], []
        for body in fixed.bodies:
            with self.apart() as effects:
                inner.append(self._scalars(body))
            within.append(tuple(effects))
        what = (eqn.primitive, fixed.token, tuple(inner))
        shapes = tuple(map(self._aval, eqn.invars))
        numbers = [value.number for value in operands]
        return self.acting(eqn, (*what, *numbers), (what[0], shapes, fixed.doing), sum(within, ()))

    def acting(
        self,
        eqn: JaxprEqn,
        token: Any,
        kind: Any,
        within: Sequence[Effect],
        which: Sequence[int] | None = None,
    ) -> list[Value]:
        """The results of an equation with effects, which is one of the program's own.

        Args:
          eqn: the equation.
          token: what describes its results.
          kind: what describes what it does, whatever its operands are.
          within: the effects of its bodies.
          which: of the results; all if None.
        """
        token = ("effect", token, tuple(effect.number for effect in within))
        kinds = ("kind", kind, tuple(effect.kind for effect in within))
        numbers = self._numbering.number(token, eqn), self._numbering.number(kinds, eqn)
        self.effects.append(Effect(*numbers, tuple(within)))
        return self.results(eqn, token, which)

    @contextlib.contextmanager
    def apart(self) -> Iterator[list[Effect]]:
        """Keeps the effects of a body apart from those of the bodies around it."""
        outer, self.effects = self.effects, []
        try:
            yield self.effects
        finally:
            self.effects = outer

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
        aval = eqn.outvars[0].aval
        result = evaluated(eqn.primitive.name, params, known, shape, aval.dtype)
        of_sizes = any(operand.of_sizes for operand in operands) or is_of_sizes(eqn)
        return None if result is None else self._numbering.constant(result, of_sizes)

    def _moved(
        self, eqn: JaxprEqn, params: Mapping[str, Any], operands: Sequence[Value]
    ) -> Value | None:
        """The value if the equation only moves elements of its first operand."""
        if not operands:
            return None
        name, first = eqn.primitive.name, operands[0]
        shape, dtype = self._aval(eqn.outvars[0])
        if name in _PLACING:
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
        """The value of updates that are put into, or added to, zeros, each at its own place."""
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
        outputs, within = [], []
        for branch in branches:
            with self.apart() as effects:
                outputs.append(tuple(value.number for value in self.run(branch, rest)))
            within.append(tuple(effects))
        token = ("cond", index.number, tuple(outputs))
        if not any(within):
            return self.results(eqn, token)
        counts = tuple(map(len, within))
        return self.acting(eqn, (*token, counts), ("cond", counts), sum(within, ()))


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
_PLACING = frozenset(("scatter", "scatter-add"))
_COMMUTATIVE = frozenset("add add_any and max min mul or xor".split())
