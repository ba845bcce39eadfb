"""Masks where they are cheapest: a demand on pad lanes travels back to smaller arrays.

A sum over rows of ``x[:, :, None] * y[:, None, :]`` needs zeros in the pad rows of a product that
is hundreds of times as large as x and y; zeros in the pad rows of both give them. A mask between an
elementary function and a sum keeps XLA's CPU backend from doing both in one loop; before the
function it costs less. A rewrite notes where other masks would be cheaper, and is made again with
those: then the fill lattice finds that what was demanded holds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sod2jax._compat import JaxprEqn
from sod2jax.ir.vocabulary import TRANSCENDENTAL
from sod2jax.rewrite import masks, padded
from sod2jax.rewrite.masks import MaskRecord
from sod2jax.rewrite.padded import Padded

_INF = math.inf
_SHORT = 32  # lanes behind the reduced axis: with so few, a mask breaks up a fused loop
_BROKEN = 4  # what that costs, in passes over the array
_BETTER = 0.7  # of the bytes that a mask in place would touch
WORTH = 1 << 16  # bytes, for which a rewrite is made again
_DEEPEST = 12  # equations

_KEEP_ZERO = frozenset(
    "abs add_any asin atan cbrt ceil conj convert_element_type copy erf expm1 floor imag log1p neg "
    "real reduce_precision round sign sin sinh sqrt square stop_gradient tan tanh".split()
)
_ZERO_FROM_LEAST = frozenset("exp exp2 logistic".split())


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """What made a value.

    Attributes:
      eqn: the equation; of calls, the one in their bodies.
      operands: what it was done on.
      outermost: the outermost call that gave it, or the equation; bodies may run more than once.
      result: which result of that it is.
    """

    eqn: JaxprEqn
    operands: tuple[Padded, ...]
    outermost: JaxprEqn
    result: int


@dataclasses.dataclass(frozen=True)
class Demand:
    """A fill that an operand's axis must have."""

    operand: int
    axis: int
    fill: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Wish:
    """A mask on an operand of an equation.

    Attributes:
      eqn: the equation.
      demand: the operand, its axis, and the fill.
    """

    eqn: JaxprEqn
    demand: Demand


@dataclasses.dataclass(frozen=True, eq=False)
class Birth:
    """A mask on a result of an equation, for all that read it.

    Attributes:
      eqn: the equation.
      result: which result.
      axes: its axes to mask.
      fill: what the pad lanes shall hold.
    """

    eqn: JaxprEqn
    result: int
    axes: tuple[int, ...]
    fill: Any


@dataclasses.dataclass(eq=False)
class Notes:
    """What a rewrite noted of its masks.

    Attributes:
      masks: every mask, and those that were not needed.
      wishes: masks that would be cheaper.
      births: masks that would leave one array where there are two.
      cost: bytes that the masks touch.
    """

    masks: list[MaskRecord] = dataclasses.field(default_factory=list)
    wishes: list[Wish] = dataclasses.field(default_factory=list)
    births: list[Birth] = dataclasses.field(default_factory=list)
    cost: float = 0.0


OriginOf = Callable[[Padded], Origin | None]


def wishes(origin_of: OriginOf, value: Padded, axis: int, fill: Any) -> list[Wish]:
    """The masks to have in place of one on a value, if they are that much cheaper."""
    here = cost(value, axis, is_reduced=True)
    total, found = _cheapest(origin_of, value, axis, fill, True, 0)
    return found if here - total >= WORTH else []


def _cheapest(
    origin_of: OriginOf, value: Padded, axis: int, fill: Any, is_reduced: bool, depth: int
) -> tuple[float, list[Wish]]:
    """Bytes that are touched for a fill, and masks before the value; none for one in place.

    ``is_reduced``: no elementary function lies between the value and the reduction.
    """
    if masks.holds(value, axis, fill, strict=True):
        return 0.0, []
    here = cost(value, axis, is_reduced)
    origin = origin_of(value)
    if origin is None or depth == _DEEPEST:
        return here, []
    demands = demanded(origin.eqn, origin.operands, value, axis, fill)
    if demands is None:
        return here, []
    total, found = 0.0, []
    parts = is_reduced and origin.eqn.primitive.name not in TRANSCENDENTAL
    for d in demands:
        operand = origin.operands[d.operand]
        part, before = _cheapest(origin_of, operand, d.axis, d.fill, parts, depth + 1)
        total += part
        found += before or ([Wish(origin.eqn, d)] if part else [])
    return (total, found) if total < _BETTER * here else (here, [])


def cost(value: Padded, axis: int, is_reduced: bool) -> float:
    """Bytes that a mask touches; more where it parts a reduction from what it reduces."""
    behind = math.prod(value.array.shape[axis + 1 :])
    return float(value.nbytes * (_BROKEN if is_reduced and behind <= _SHORT else 1))


def demanded(
    eqn: JaxprEqn, operands: Sequence[Padded], result: Padded, axis: int, fill: Any
) -> list[Demand] | None:
    """What gives the result of an equation a fill along an axis; None if nothing simple does."""
    name = eqn.primitive.name
    if name in _PLACES:
        return _PLACES[name](eqn, operands, result, axis, fill)
    if any(p.rank not in (0, result.rank) for p in operands):
        return None
    if fill == 0 and keeps_zero(eqn):
        return [Demand(k, axis, 0) for k in range(len(operands))]
    if fill == 0 and name in _ZERO_FROM_LEAST:
        return [Demand(0, axis, -_INF)]
    if name == "neg" and fill in (_INF, -_INF):
        return [Demand(0, axis, -fill)]
    if fill == 0 and name in ("mul", "add", "sub"):
        return _of_all(name, operands, axis)
    if fill == 0 and name == "select_n":
        return _of_all("add", operands[1:], axis, first=1)
    return None


def _of_all(
    name: str, operands: Sequence[Padded], axis: int, first: int = 0
) -> list[Demand] | None:
    """Zero in all operands that have pad lanes there; the others must do no harm."""
    demands = []
    for k, operand in enumerate(operands):
        if operand.constant is not None:
            harmless = operand.constant == 0 or (name == "mul" and np.isfinite(operand.constant))
            if not harmless:
                return None
        elif operand.rank == 0 or not padded.is_padded(operand.extents[axis]):
            return None
        else:
            demands.append(Demand(first + k, axis, 0))
    return demands or None


def keeps_zero(eqn: JaxprEqn) -> bool:
    """Whether an elementwise equation gives 0 where all its operands are 0."""
    is_power = eqn.primitive.name == "integer_pow" and eqn.params["y"] > 0
    return is_power or eqn.primitive.name in _KEEP_ZERO


def _broadcast(
    eqn: JaxprEqn, operands: Sequence[Padded], result: Padded, axis: int, fill: Any
) -> list[Demand] | None:
    places = tuple(eqn.params["broadcast_dimensions"])
    if axis not in places or len(operands) != 1:
        return None
    at = places.index(axis)
    same = operands[0].extents[at] == result.extents[axis]
    return [Demand(0, at, fill)] if same else None


def _transpose(
    eqn: JaxprEqn, operands: Sequence[Padded], result: Padded, axis: int, fill: Any
) -> list[Demand] | None:
    return [Demand(0, int(eqn.params["permutation"][axis]), fill)]


def _reshape(
    eqn: JaxprEqn, operands: Sequence[Padded], result: Padded, axis: int, fill: Any
) -> list[Demand] | None:
    """The axis that has the same layout, and as many lanes before it."""
    operand, layout = operands[0], result.extents[axis]
    before = math.prod(result.array.shape[:axis])
    for at, extent in enumerate(operand.extents):
        if extent == layout and math.prod(operand.array.shape[:at]) == before:
            return [Demand(0, at, fill)]
    return None


def _reduce_sum(
    eqn: JaxprEqn, operands: Sequence[Padded], result: Padded, axis: int, fill: Any
) -> list[Demand] | None:
    kept = [k for k in range(operands[0].rank) if k not in eqn.params["axes"]]
    return [Demand(0, kept[axis], 0)] if fill == 0 else None


def _dot_general(
    eqn: JaxprEqn, operands: Sequence[Padded], result: Padded, axis: int, fill: Any
) -> list[Demand] | None:
    """Along an axis of batches, zeros in both operands."""
    _, (left, right) = eqn.params["dimension_numbers"]
    if fill != 0 or axis >= len(left):
        return None
    return [Demand(0, left[axis], 0), Demand(1, right[axis], 0)]


_PLACES: dict[str, Callable[..., list[Demand] | None]] = {
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "reshape": _reshape,
    "squeeze": _reshape,
    "reduce_sum": _reduce_sum,
    "dot_general": _dot_general,
}
