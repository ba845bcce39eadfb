"""Masked reductions of a static program: what is computed lane by lane before them, and its masks.

A mask is a select by ``iota < n`` along one axis. Lanes below n pass through it as they are.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import variables
from sod2jax.ir.vocabulary import CASTS, COPIES, ELEMENTWISE, FOREIGN, REDUCTIONS
from sod2jax.rewrite.fills import folded
from sod2jax.rewrite.monoids import IDENTITY
from sod2jax.rewrite.placement import keeps_zero

LANEWISE = (ELEMENTWISE - FOREIGN) | CASTS | COPIES
_MOST = 40  # equations: they are compiled twice more
_FEW = 16  # lanes reduced on the way: with more, a result is worth keeping

MONOIDS = {f"reduce_{name}": name for name in ("sum", "max", "min")}


@dataclasses.dataclass(frozen=True, eq=False)
class Masked:
    """A reduction along an axis whose lanes from n on hold the identity, by masks.

    Attributes:
      eqn: the reduction.
      axis: of its operand, masked and reduced.
      size: lanes of that axis.
      true: n, a scalar that the masks compare with.
      eqns: what is computed lane by lane along that axis, in order; nothing else reads it.
      axes: of each of their results, the axis.
      masks: those of the equations that are masks.
    """

    eqn: JaxprEqn
    axis: int
    size: int
    true: Atom
    eqns: tuple[JaxprEqn, ...]
    axes: Mapping[Var, int]
    masks: frozenset[int]

    @property
    def monoid(self) -> str:
        """Of the reduction."""
        return MONOIDS[self.eqn.primitive.name]

    @property
    def behind(self) -> int:
        """Lanes behind the axis, for each of its own."""
        return math.prod(self.eqn.invars[0].aval.shape[self.axis + 1 :])

    @property
    def nbytes(self) -> int:
        """Of the operand."""
        aval = self.eqn.invars[0].aval
        return math.prod(aval.shape) * aval.dtype.itemsize


def lane_axes(eqn: JaxprEqn, axis: int) -> list[int | None] | None:
    """Of each operand, the axis along which a result's lanes are computed from it, lane by lane.

    None in the list for operands that every lane has whole; None for other equations.
    """
    name, (out, *others) = eqn.primitive.name, (v.aval for v in eqn.outvars)
    if others:
        return None
    if name in LANEWISE:
        # Axes of one lane are repeated, as those of scalars.
        shapes = [v.aval.shape for v in eqn.invars]
        return [axis if shape and shape[axis] == out.shape[axis] else None for shape in shapes]
    if name == "broadcast_in_dim" and len(eqn.invars) == 1 and eqn.params.get("sharding") is None:
        places, shape = eqn.params["broadcast_dimensions"], eqn.invars[0].aval.shape
        at = places.index(axis) if axis in places else None
        return [None if at is None or shape[at] != out.shape[axis] else at]
    if name in REDUCTIONS and len(eqn.invars) == 1:
        shape, axes = eqn.invars[0].aval.shape, eqn.params["axes"]
        kept = [k for k in range(len(shape)) if k not in axes]
        return [kept[axis]] if math.prod(shape[k] for k in axes) <= _FEW else None
    return None


class Reader:
    """What stands before the reductions of a jaxpr, of which bodies are not looked into."""

    def __init__(self, jaxpr: Jaxpr):
        self._makers: dict[Var, JaxprEqn] = {v: e for e in jaxpr.eqns for v in e.outvars}
        self._place = {id(eqn): k for k, eqn in enumerate(jaxpr.eqns)}
        self._readers: dict[Var, set[int]] = collections.defaultdict(set)
        for eqn in jaxpr.eqns:
            for var in variables(eqn.invars):
                self._readers[var].add(id(eqn))
        for var in variables(jaxpr.outvars):
            self._readers[var].add(id(jaxpr))

    def maker(self, atom: Atom, *names: str) -> JaxprEqn | None:
        """The equation that makes a value, if it is one of these primitives, or any."""
        eqn = None if _compat.is_literal(atom) else self._makers.get(atom)
        return eqn if eqn is not None and (not names or eqn.primitive.name in names) else None

    def masked(self, eqns: Sequence[JaxprEqn]) -> list[Masked]:
        """Those of some equations that are masked reductions whose masks nothing else reads."""
        kept: set[Var] = set()
        while True:
            found = [one for eqn in eqns if (one := self._masked(eqn, kept)) is not None]
            inside = {id(eqn) for one in found for eqn in (one.eqn, *one.eqns)}
            masks = (eqn for one in found for eqn in one.eqns if id(eqn) in one.masks)
            others = {e.outvars[0] for e in masks if not self._readers[e.outvars[0]] <= inside}
            if not others:
                return found
            kept |= others

    def _masked(self, eqn: JaxprEqn, kept: Set[Var]) -> Masked | None:
        if eqn.primitive.name not in MONOIDS or not _is_summed(eqn):
            return None
        found = (self._along(eqn, axis, set(kept)) for axis in eqn.params["axes"])
        return next((one for one in found if one is not None), None)

    def _along(self, eqn: JaxprEqn, axis: int, kept: set[Var]) -> Masked | None:
        while True:
            axes, otherwise = self._before(eqn.invars[0], axis, kept)
            inside = {id(self._makers[var]) for var in axes} | {id(eqn)}
            otherwise |= {v for v, k in axes.items() if not self._may_repeat(v, k, inside)}
            if otherwise.isdisjoint(axes):
                break
            kept |= otherwise
        eqns = sorted((self._makers[var] for var in axes), key=lambda e: self._place[id(e)])
        trues = {id(e): self._true(e, axes[e.outvars[0]]) for e in eqns}
        true = next((n for n in reversed(trues.values()) if n is not None), None)
        if true is None or len(eqns) > _MOST:
            return None
        masks = frozenset(key for key, n in trues.items() if n is true)
        size = eqn.invars[0].aval.shape[axis]
        found = Masked(eqn, axis, size, true, tuple(eqns), axes, masks)
        identity = IDENTITY[found.monoid](eqn.invars[0].aval.dtype)
        return found if self._behind(found) == identity else None

    def _before(self, operand: Atom, axis: int, kept: set[Var]) -> tuple[dict[Var, int], set[Var]]:
        """The values that are computed lane by lane on the way to an operand, with their axes.

        And those that are read whole, or along another axis.
        """
        axes: dict[Var, int] = {}
        otherwise: set[Var] = set()
        waiting: list[tuple[Atom, int | None]] = [(operand, axis)]
        while waiting:
            var, along = waiting.pop()
            if _compat.is_literal(var) or var in kept:
                continue
            if along is None or axes.get(var, along) != along:
                otherwise.add(var)
                continue
            eqn = None if var in axes else self.maker(var)
            operands = None if eqn is None else lane_axes(eqn, along)
            if eqn is None or operands is None:
                continue
            axes[var] = along
            waiting += zip(eqn.invars, operands, strict=True)
        return axes, otherwise

    def _may_repeat(self, var: Var, axis: int, inside: set[int]) -> bool:
        if self._readers[var] <= inside or self.maker(var, "broadcast_in_dim") is not None:
            return True
        return self._true(self._makers[var], axis) is not None

    def _true(self, eqn: JaxprEqn, axis: int) -> Atom | None:
        """The n of a mask along an axis; None for other equations."""
        if eqn.primitive.name != "select_n" or len(eqn.invars) != 3:
            return None
        which = eqn.invars[0]
        repeated = self.maker(which, "broadcast_in_dim")
        if repeated is not None:
            if tuple(repeated.params["broadcast_dimensions"]) != (axis,):
                return None
            which = repeated.invars[0]
        below = self.maker(which, "lt")
        if below is None or len(which.aval.shape) != 1:
            return None
        lanes, number = self.maker(below.invars[0], "iota"), below.invars[1]
        repeated = self.maker(number, "broadcast_in_dim")
        number = repeated.invars[0] if repeated is not None else number
        same = which.aval.shape[0] == eqn.outvars[0].aval.shape[axis]
        is_number = not number.aval.shape and not _compat.is_literal(number)
        return number if lanes is not None and same and is_number else None

    def _behind(self, found: Masked) -> Any:
        """What the operand holds in lanes from n on; None if that is not known."""
        held: dict[Var, Any] = {}

        def constant(atom: Atom) -> Any:
            if _compat.is_literal(atom):
                return _compat.literal_array(atom).item()
            if atom in held:
                return held[atom]
            repeated = self.maker(atom, "broadcast_in_dim")
            return None if repeated is None else constant(repeated.invars[0])

        for eqn in found.eqns:
            out = eqn.outvars[0]
            if id(eqn) in found.masks:
                held[out] = constant(eqn.invars[1])
            elif eqn.primitive.name in LANEWISE:
                held[out] = _folded(eqn, list(map(constant, eqn.invars)))
        return held.get(found.eqn.invars[0])


def _folded(eqn: JaxprEqn, values: Sequence[Any]) -> Any:
    if any(value is None for value in values):
        return None
    if keeps_zero(eqn) and all(value == 0 for value in values):
        return 0
    return folded(eqn.primitive.name, values, eqn.outvars[0].aval.dtype)


def _is_summed(eqn: JaxprEqn) -> bool:
    """Whether blocks of a reduction may be reduced first: sums of 16 bits would be rounded."""
    dtype = eqn.invars[0].aval.dtype
    if not isinstance(dtype, np.dtype) or not jnp.issubdtype(dtype, np.number):
        return False
    real = not jnp.issubdtype(dtype, np.complexfloating)
    return real and (MONOIDS[eqn.primitive.name] != "sum" or dtype.itemsize >= 4)
