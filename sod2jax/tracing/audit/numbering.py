"""Numbers for the values and the effects of programs, so that these can be compared."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.tracing.audit import moves

# Roundings of numbers made of sizes: jaxprs round each operation, and Python does not. Of types of
# two bytes, one tells numbers apart by more than chance.
_ROUNDINGS = 4


@dataclasses.dataclass(frozen=True)
class Value:
    """A value of a program.

    Attributes:
      number: equal for what is computed in the same way.
      known: its elements, where they depend on sizes only.
      places: where its elements stand in the value ``base``, flat; -1 where they are ``fill``.
      base: the number of the value that its elements are of.
      fill: the number of a scalar.
      of_sizes: whether its elements were computed from symbolic sizes, and rounded on the way.
    """

    number: int
    known: np.ndarray | None = None
    places: np.ndarray | None = None
    base: int | None = None
    fill: int | None = None
    of_sizes: bool = False


@dataclasses.dataclass(frozen=True)
class Effect:
    """Something that a program does besides computing its results.

    Attributes:
      number: equal for what is done in the same way, with the same values.
      kind: the number of the same, whatever the values are.
      within: what it consists of, as those of a loop.
    """

    number: int
    kind: int
    within: tuple[Effect, ...] = dataclasses.field(default=(), compare=False)

    @property
    def innermost(self) -> tuple[int, ...]:
        """The kinds of the effects in all loops and branches of it."""
        inner = tuple(kind for effect in self.within for kind in effect.innermost)
        return inner or (self.kind,)


@dataclasses.dataclass(frozen=True)
class Canonical:
    """A program in canonical form: the numbers of its results, and its effects in order."""

    results: tuple[int, ...]
    effects: tuple[Effect, ...]

    @property
    def kinds(self) -> list[int]:
        """Those of the effects, each once: some traces do one by one what others do in a loop."""
        return list(dict.fromkeys(k for effect in self.effects for k in effect.innermost))


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

    def number(self, token: Any, eqn: JaxprEqn | None = None) -> int:
        """The number of what a hashable token describes."""
        number = self._numbers.setdefault(token, len(self._numbers))
        if eqn is not None:
            self.equations.setdefault(number, eqn)
        return number

    def constant(self, array: Any, of_sizes: bool = False) -> Value:
        """A constant: the same number for equal elements.

        What was computed from sizes is equal but for rounding: Python computed it with more digits.
        """
        if np.size(array) > moves.LARGEST or _compat.is_key_array(array):
            return Value(self.number(("object", id(array))))
        array = np.asarray(array)
        kind = array.dtype.name, array.shape
        exact = (*kind, array.tobytes(), of_sizes)
        if exact not in self._exact:
            number = self._alike(kind, array, of_sizes)
            self._exact[exact] = Value(number, array, of_sizes=of_sizes)
        return self._exact[exact]

    def _alike(self, kind: Any, array: np.ndarray, of_sizes: bool) -> int:
        alike = self._constants.setdefault(kind, [])
        for value in alike:
            is_near = (of_sizes or value.of_sizes) and _is_same(value.known, array)
            if is_near or value.known.tobytes() == array.tobytes():  # type: ignore[union-attr]
                return value.number
        number = self.number(("constant", *kind, len(alike)))
        alike.append(Value(number, array, of_sizes=of_sizes))
        return number


def _is_same(a: Any, b: np.ndarray) -> bool:
    """Whether elements are equal, but for rounding."""
    if not jnp.issubdtype(b.dtype, np.inexact):
        return bool((a == b).all())
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    roundings = _ROUNDINGS if b.dtype.itemsize > 2 else 1
    tolerance = roundings * float(jnp.finfo(b.dtype).eps)
    x, y = a.astype(wide), b.astype(wide)
    with np.errstate(invalid="ignore"):
        near = (np.abs(x - y) <= tolerance * np.abs(y)) & np.isfinite(y)
    return bool((near | (x == y) | (np.isnan(x) & np.isnan(y))).all())
