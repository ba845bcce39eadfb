"""Value numbering: which variables hold the same value, and which conds have the same index."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn, Var


class Numbering:
    """Numbers of the values that some equations, in order, compute.

    Two variables have one number if the same primitive computes them, with the same parameters,
    from operands of the same numbers.
    """

    def __init__(self, eqns: Sequence[JaxprEqn]):
        self._makers = {var: eqn for eqn in eqns for var in eqn.outvars}
        self._numbers: dict[Var, Hashable] = {}
        self._by_key: dict[Hashable, int] = {}
        for eqn in eqns:
            self._number(eqn)

    def _number(self, eqn: JaxprEqn) -> None:
        try:
            key = (
                eqn.primitive,
                tuple(sorted(eqn.params.items())),
                tuple(map(self.of, eqn.invars)),
                tuple(var.aval.dtype for var in eqn.outvars if hasattr(var.aval, "dtype")),
            )
            hash(key)
        except TypeError:  # parameters that cannot be hashed or ordered: a value of its own
            key = id(eqn)
        if eqn.effects:
            key = id(eqn)
        number = self._by_key.setdefault(key, len(self._by_key))
        self._numbers.update((var, (number, k)) for k, var in enumerate(eqn.outvars))

    def of(self, atom: Atom) -> Hashable:
        """The number of an operand."""
        if _compat.is_literal(atom):
            value = _compat.literal_array(atom)
            return ("literal", value.dtype, value.shape, value.tobytes())
        return self._numbers.get(atom, atom)

    def index(self, eqn: JaxprEqn) -> tuple[Hashable, bool]:
        """What decides a cond, and whether it is the predicate's negation.

        Conversions of booleans, clamps that the cond does itself, and ``not`` are looked through.
        """
        atom, count = eqn.invars[0], len(eqn.params["branches"])
        atom = self._converted(self._unclamped(atom, count))
        if _is_bool(atom) and count == 2:
            atom, negated = self._positive(atom)
            return (self.of(atom), "predicate"), negated
        return (self.of(atom), count), False

    def predicate(self, eqn: JaxprEqn) -> Var | None:
        """The boolean that the index of a cond of two branches is converted from."""
        atom = self._converted(eqn.invars[0])
        return atom if _is_bool(atom) and len(eqn.params["branches"]) == 2 else None

    def _maker(self, atom: Atom, primitive: str) -> JaxprEqn | None:
        eqn = None if _compat.is_literal(atom) else self._makers.get(atom)
        return eqn if eqn is not None and eqn.primitive.name == primitive else None

    def _converted(self, atom: Atom) -> Atom:
        eqn = self._maker(atom, "convert_element_type")
        return eqn.invars[0] if eqn is not None and _is_bool(eqn.invars[0]) else atom

    def _unclamped(self, atom: Atom, count: int) -> Atom:
        eqn = self._maker(atom, "clamp")
        if eqn is None or not (
            _is_number(eqn.invars[0], 0) and _is_number(eqn.invars[2], count - 1)
        ):
            return atom
        return eqn.invars[1]

    def _positive(self, atom: Atom) -> tuple[Atom, bool]:
        negated = False
        while (eqn := self._maker(atom, "not")) is not None:
            atom, negated = eqn.invars[0], not negated
        return atom, negated


def _is_bool(atom: Atom) -> bool:
    return atom.aval.dtype == bool


def _is_number(atom: Atom, number: int) -> bool:
    return _compat.is_literal(atom) and _compat.literal_array(atom) == number
