"""How much contractions and convolutions compute: what decides whether a slice is worth moving."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from sod2jax import _compat, dims, region
from sod2jax.dims import Dim
from sod2jax.region import Region

_HEAVY = frozenset({"conv_general_dilated", "dot_general"})
UNBOUNDED = 64  # size at which work is counted along a symbol without an upper bound


@dataclasses.dataclass(frozen=True)
class Work:
    """Contractions of a slice, at the largest sizes.

    Attributes:
      flops: multiplications and additions.
      weights: elements of the smaller operands, of one group or batch, which each run reads once.
    """

    flops: float = 0
    weights: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.weights + other.weights)


def is_heavy(eqn: Any) -> bool:
    """Whether an equation contracts or convolves, itself or in a sub-jaxpr."""
    if eqn.primitive.name in _HEAVY:
        return True
    return any(is_heavy(inner) for _, body in _compat.sub_jaxprs(eqn) for inner in body.eqns)


def work_of(eqns: Iterable[Any], area: Region) -> Work:
    """The contractions of equations; a loop's body counts once for each known step."""
    total = Work()
    for eqn in eqns:
        if eqn.primitive.name in _HEAVY:
            total += _contraction(eqn, area)
            continue
        steps = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        times = _size(dims.from_jax(steps), area)
        for _, body in _compat.sub_jaxprs(eqn):
            inside = work_of(body.eqns, area)
            total += Work(inside.flops * times, inside.weights * times)
    return total


def _contraction(eqn: Any, area: Region) -> Work:
    left, right = (math.prod(_sizes(atom, area)) for atom in eqn.invars)
    out = math.prod(_sizes(eqn.outvars[0], area))
    shape = _sizes(eqn.invars[1], area)
    if eqn.primitive.name == "dot_general":
        (_, contracted), (_, batch) = eqn.params["dimension_numbers"]
        each = math.prod(shape[axis] for axis in contracted)
        groups = math.prod(shape[axis] for axis in batch)
    else:
        each = right / max(1, shape[eqn.params["dimension_numbers"].rhs_spec[0]])
        groups = _size(dims.from_jax(eqn.params["feature_group_count"]), area)
    return Work(2.0 * out * each, min(left, right) / max(1, groups))


def _sizes(atom: Any, area: Region) -> list[int]:
    return [_size(dims.from_jax(d), area) for d in atom.aval.shape]


def _size(dim: Dim, area: Region) -> int:
    if isinstance(dim, int):
        return dim
    found = region.bounds(dim, area)
    return found.high if found.high is not None else max(UNBOUNDED, found.low or 0)
