"""Contractions whose result is only transposed, with their operands the other way round.

``einsum("bhst,bthd->bshd", p, v)`` becomes v times p and a transpose, and XLA's CPU backend then
copies p. As p times v it needs no copy. Measured on jax 0.10: one product 0.5 to 0.65, an encoder
0.7 to 0.9. Where p has other readers, as in gradients, it is no faster, and the product stays. To
divide by the sums of a softmax after the product, in loops alone, was no gain: 0.98 to 1.05.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping

import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import variables
from sod2jax.passes.remark import Remark

_LEAST_TERMS = 8  # of each sum: with fewer, no matrix kernel is called
_LEAST_BYTES = 1 << 15  # of what would be copied: less stays in the cache


def readers(jaxpr: Jaxpr) -> collections.Counter[Var]:
    """How often each variable is read."""
    reads = collections.Counter(var for eqn in jaxpr.eqns for var in variables(eqn.invars))
    reads.update(variables(jaxpr.outvars))
    return reads


def exchanged(jaxpr: Jaxpr) -> tuple[Jaxpr, list[Remark]]:
    """A jaxpr with the operands of such contractions exchanged; bodies stay as they are."""
    reads = readers(jaxpr)
    transposes = {
        eqn.invars[0]: eqn
        for eqn in jaxpr.eqns
        if eqn.primitive.name == "transpose" and not _compat.is_literal(eqn.invars[0])
    }
    makers = {eqn.outvars[0]: eqn for eqn in jaxpr.eqns if eqn.primitive.name == "select_n"}
    remarks: list[Remark] = []
    new: dict[int, JaxprEqn] = {}
    for eqn in jaxpr.eqns:
        after = transposes.get(eqn.outvars[0]) if eqn.primitive.name == "dot_general" else None
        if after is None or not _is_better_exchanged(eqn, after, reads, makers):
            continue
        new[id(eqn)], new[id(after)] = _exchange(eqn, after)
        remarks.append(
            Remark(
                "operands of a contraction exchanged",
                _compat.source_line(eqn),
                "its result is transposed so that the second one's axes come first",
            )
        )
    if not new:
        return jaxpr, []
    return _compat.with_equations(jaxpr, [new.get(id(eqn), eqn) for eqn in jaxpr.eqns]), remarks


def _is_better_exchanged(
    eqn: JaxprEqn, after: JaxprEqn, reads: Mapping[Var, int], masks: Mapping[Var, JaxprEqn]
) -> bool:
    """Whether the second operand's free axes come first in the end, and nothing else reads it.

    Nor may anything but the transpose read the product.
    """
    batch, left, right = _axes(eqn)
    if not _is_read_once(eqn.invars[1], reads, masks) or reads[eqn.outvars[0]] != 1:
        return False
    copied = eqn.invars[1].aval
    if math.prod(copied.shape) * copied.dtype.itemsize < _LEAST_BYTES:
        return False
    (contracted, _), _ = eqn.params["dimension_numbers"]
    terms = math.prod(eqn.invars[0].aval.shape[k] for k in contracted)
    if not (batch and left and right) or terms < _LEAST_TERMS:
        return False
    places = np.argsort(after.params["permutation"])
    return max(places[k] for k in right) < min(places[k] for k in left)


def _is_read_once(atom: Atom, reads: Mapping[Var, int], masks: Mapping[Var, JaxprEqn]) -> bool:
    """Whether nothing else reads a value, or what was masked to give it."""
    while not _compat.is_literal(atom) and reads[atom] == 1:
        if atom not in masks:
            return True
        atom = masks[atom].invars[-1]
    return False


def _axes(eqn: JaxprEqn) -> tuple[list[int], list[int], list[int]]:
    """Of the result: axes of batches, of the first operand alone, and of the second alone."""
    (left_sum, _), (left_batch, _) = eqn.params["dimension_numbers"]
    rank = len(eqn.outvars[0].aval.shape)
    batch = len(left_batch)
    left = len(eqn.invars[0].aval.shape) - batch - len(left_sum)
    axes = list(range(rank))
    return axes[:batch], axes[batch : batch + left], axes[batch + left :]


def _exchange(eqn: JaxprEqn, after: JaxprEqn) -> tuple[JaxprEqn, JaxprEqn]:
    batch, left, right = _axes(eqn)
    order = [*batch, *right, *left]  # of the old axes in the new result
    (contracted, batches) = eqn.params["dimension_numbers"]
    aval = eqn.outvars[0].aval
    product = _compat.new_variable(aval.update(shape=tuple(aval.shape[k] for k in order)))
    swapped = _compat.new_equation(
        eqn.primitive,
        eqn.invars[::-1],
        [product],
        {**eqn.params, "dimension_numbers": (contracted[::-1], batches[::-1])},
        like=eqn,
    )
    permutation = tuple(order.index(k) for k in after.params["permutation"])
    moved = _compat.new_equation(
        after.primitive,
        [product],
        after.outvars,
        {**after.params, "permutation": permutation},
        like=after,
    )
    return swapped, moved
