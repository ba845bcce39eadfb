"""Products of which only slices are read, as products with slices of the weights.

Projections that a model has merged into one (queries, keys and values) are separate ones again:
each can be computed where it is needed, and none of the others with it.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence

from jax import lax

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn, Var
from sod2jax.ir.jaxprs import variables


def as_slices(eqns: Sequence[JaxprEqn]) -> list[JaxprEqn]:
    """The equations with a slice for each part that others cut an array into, all at once."""
    return [new for eqn in eqns for new in _parts(eqn)]


def _parts(eqn: JaxprEqn) -> list[JaxprEqn]:
    name = eqn.primitive.name
    if name not in ("split", "unstack"):
        return [eqn]
    axis, whole, start = eqn.params["axis"], eqn.invars[0], 0
    new = []
    for k, out in enumerate(eqn.outvars):
        limit = start + (eqn.params["sizes"][k] if name == "split" else 1)
        part, cut = _slice(whole, axis, start, limit, eqn)
        new.append(cut.replace(outvars=[out]) if name == "split" else cut)
        if name == "unstack":
            params = {"dimensions": (axis,)}
            new.append(_compat.new_equation(lax.squeeze_p, [part], [out], params, eqn))
        start = limit
    return new


def _slice(whole: Atom, axis: int, start: int, limit: int, like: JaxprEqn) -> tuple[Var, JaxprEqn]:
    """A variable for a part of an array along an axis, and the equation that cuts it."""
    shape = whole.aval.shape
    starts = tuple(start if k == axis else 0 for k in range(len(shape)))
    limits = tuple(limit if k == axis else n for k, n in enumerate(shape))
    sizes = tuple(b - a for a, b in zip(starts, limits, strict=True))
    part = _compat.new_variable(whole.aval.update(shape=sizes))
    params = {"start_indices": starts, "limit_indices": limits, "strides": None}
    return part, _compat.new_equation(lax.slice_p, [whole], [part], params, like)


def split_products(eqns: Sequence[JaxprEqn], outputs: Sequence[Atom]) -> list[JaxprEqn]:
    """The equations with a product for each slice, where nothing else of a product is read."""
    readers: dict[Var, list[JaxprEqn]] = collections.defaultdict(list)
    for eqn in eqns:
        for var in variables(eqn.invars):
            readers[var].append(eqn)
    kept = set(variables(outputs))
    gone: set[int] = set()
    instead: dict[int, list[JaxprEqn]] = {}
    for eqn in eqns:
        found = _slices(eqn, readers, kept) if eqn.primitive.name == "dot_general" else None
        if found is None:
            continue
        moves, slices, operand, axis = found
        gone |= {id(e) for e in (eqn, *moves)}
        for one in slices:
            instead[id(one)] = _product(eqn, moves, one, operand, axis)
    return [new for eqn in eqns if id(eqn) not in gone for new in instead.get(id(eqn), [eqn])]


def _slices(
    eqn: JaxprEqn, readers: dict[Var, list[JaxprEqn]], kept: set[Var]
) -> tuple[list[JaxprEqn], list[JaxprEqn], int, int] | None:
    """The transposes of a product, the slices of the last one, and the operand's axis they cut."""
    out, moves = eqn.outvars[0], list[JaxprEqn]()
    order = list(range(len(out.aval.shape)))
    while True:
        users = readers[out]
        if out in kept or not users:
            return None
        if len(users) == 1 and users[0].primitive.name == "transpose":
            moves.append(users[0])
            order = [order[k] for k in users[0].params["permutation"]]
            out = users[0].outvars[0]
            continue
        break
    cuts = [_cut_axis(user) for user in users]
    if len(users) < 2 or cuts[0] is None or set(cuts) != {cuts[0]}:
        return None
    at = _operand_axis(eqn, order[cuts[0]])
    return None if at is None else (moves, users, *at)


def _cut_axis(eqn: JaxprEqn) -> int | None:
    """The one axis that a slice cuts, without strides."""
    if eqn.primitive.name != "slice":
        return None
    params, shape = eqn.params, eqn.invars[0].aval.shape
    if params["strides"] is not None and any(s != 1 for s in params["strides"]):
        return None
    cuts = [k for k, n in enumerate(eqn.outvars[0].aval.shape) if n != shape[k]]
    return cuts[0] if len(cuts) == 1 else None


def _operand_axis(eqn: JaxprEqn, axis: int) -> tuple[int, int] | None:
    """The operand, and its free axis, that an axis of a product comes from."""
    contracted, batch = eqn.params["dimension_numbers"]
    at = len(batch[0])
    for operand in range(2):
        gone = {*contracted[operand], *batch[operand]}
        free = [k for k in range(len(eqn.invars[operand].aval.shape)) if k not in gone]
        if at <= axis < at + len(free):
            return operand, free[axis - at]
        at += len(free)
    return None


def _product(
    eqn: JaxprEqn, moves: Sequence[JaxprEqn], one: JaxprEqn, operand: int, axis: int
) -> list[JaxprEqn]:
    """The equations that give a slice of a product by a slice of one of its operands."""
    along = _cut_axis(one)
    assert along is not None
    start, limit = one.params["start_indices"][along], one.params["limit_indices"][along]
    part, cut = _slice(eqn.invars[operand], axis, start, limit, one)
    new = [cut]
    invars = [part if k == operand else atom for k, atom in enumerate(eqn.invars)]
    shapes = [one.outvars[0].aval.shape]
    for move in reversed(moves):
        order = move.params["permutation"]
        inverse = [order.index(k) for k in range(len(order))]
        shapes.append(tuple(shapes[-1][k] for k in inverse))
    last = [eqn, *moves]
    for step, size in zip(last, reversed(shapes), strict=True):
        is_end = step is last[-1]
        out = (
            one.outvars[0]
            if is_end
            else _compat.new_variable(step.outvars[0].aval.update(shape=size))
        )
        new.append(_compat.new_equation(step.primitive, invars, [out], step.params, step))
        invars = [out]
    return new
