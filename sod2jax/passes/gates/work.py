"""How much contractions and convolutions compute: what decides whether a slice is worth moving."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.region import Region, upper

_HEAVY = frozenset({"conv_general_dilated", "dot_general"})


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


def is_heavy(eqn: JaxprEqn) -> bool:
    """Whether an equation contracts or convolves, itself or in a sub-jaxpr."""
    if eqn.primitive.name in _HEAVY:
        return True
    return any(is_heavy(inner) for _, body in _compat.sub_jaxprs(eqn) for inner in body.eqns)


def work_of(eqns: Iterable[JaxprEqn], region: Region) -> Work:
    """The contractions of equations at the largest sizes of a region, which must be bounded.

    A loop's body counts once for each known step.
    """
    total = Work()
    for eqn in eqns:
        if eqn.primitive.name in _HEAVY:
            total += _contraction(eqn, region)
            continue
        steps = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        times = upper(dims.from_jax(steps), region)
        for _, body in _compat.sub_jaxprs(eqn):
            inside = work_of(body.eqns, region)
            total += Work(inside.flops * times, inside.weights * times)
    return total


def _contraction(eqn: JaxprEqn, region: Region) -> Work:
    left, right = (math.prod(_sizes(atom, region)) for atom in eqn.invars)
    out = math.prod(_sizes(eqn.outvars[0], region))
    shape = _sizes(eqn.invars[1], region)
    if eqn.primitive.name == "dot_general":
        (_, contracted), (_, batch) = eqn.params["dimension_numbers"]
        each = math.prod(shape[axis] for axis in contracted)
        groups = math.prod(shape[axis] for axis in batch)
    else:
        each = right / max(1, shape[eqn.params["dimension_numbers"].rhs_spec[0]])
        groups = upper(dims.from_jax(eqn.params["feature_group_count"]), region)
    return Work(2.0 * out * each, min(left, right) / max(1, groups))


def _sizes(atom: Atom, region: Region) -> list[int]:
    return [upper(dims.from_jax(d), region) for d in atom.aval.shape]
