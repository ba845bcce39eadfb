"""Primitives that move elements without computing: the same elements under other axes."""

from __future__ import annotations

from typing import Any

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import dims_of
from sod2jax.rdp.lattice import DimFact
from sod2jax.rdp.rule import Context, Dims, Places, register_local, same_range
from sod2jax.rdp.values import ValueFact


def param_dims(values: Any) -> Dims:
    """The dimensions in a parameter."""
    return tuple(DimFact.of(dims.from_jax(d)) for d in values)


def _broadcast_lanes(eqn: JaxprEqn) -> list[Places]:
    """An axis that keeps its dimension is not broadcast."""
    shape, placed = dims_of(eqn.outvars[0]), eqn.params["broadcast_dimensions"]
    operand = dims_of(eqn.invars[0])
    return [
        tuple(
            int(at) if dim == shape[at] else None for dim, at in zip(operand, placed, strict=True)
        )
    ]


def _broadcast_shape(eqn: JaxprEqn, operand: Dims) -> list[Dims]:
    shape = list(param_dims(eqn.params["shape"]))
    for dim, at in zip(operand, eqn.params["broadcast_dimensions"], strict=True):
        shape[at] = shape[at] if dim == DimFact(1) else shape[at].refine(dim)
    return [tuple(shape)]


def _same_vector(ctx: Context, eqn: JaxprEqn, operand: ValueFact) -> list[ValueFact]:
    """Elements stay in order, so a vector that stays a vector keeps them one by one."""
    shapes = [dims_of(atom) for atom in (*eqn.invars, *eqn.outvars)]
    is_same = len(shapes[0]) == 1 and shapes[0] == shapes[1]
    return [operand] if is_same else same_range(ctx, eqn, operand)


def _transpose_lanes(eqn: JaxprEqn) -> list[Places]:
    permutation = [int(axis) for axis in eqn.params["permutation"]]
    return [tuple(permutation.index(axis) for axis in range(len(permutation)))]


def _transpose_shape(eqn: JaxprEqn, operand: Dims) -> list[Dims]:
    return [tuple(operand[axis] for axis in eqn.params["permutation"])]


def _kept(eqn: JaxprEqn) -> list[int]:
    rank = len(dims_of(eqn.invars[0]))
    dropped = {int(axis) % rank for axis in eqn.params["dimensions"]}
    return [axis for axis in range(rank) if axis not in dropped]


def _squeeze_lanes(eqn: JaxprEqn) -> list[Places]:
    kept = _kept(eqn)
    rank = len(dims_of(eqn.invars[0]))
    return [tuple(kept.index(axis) if axis in kept else None for axis in range(rank))]


def _squeeze_shape(eqn: JaxprEqn, operand: Dims) -> list[Dims]:
    return [tuple(operand[axis] for axis in _kept(eqn))]


def _reshape_lanes(eqn: JaxprEqn) -> list[Places]:
    """An axis survives iff its dimension and the number of elements before it are unchanged.

    The flat index is ``(before * dim + lane) * after + inner``; with ``before`` and ``dim`` equal,
    ``after`` is equal too, and so is the lane.
    """
    source, target = dims_of(eqn.invars[0]), dims_of(eqn.outvars[0])
    if eqn.params.get("dimensions") is not None:
        return [(None,) * len(source)]
    free = {}
    for axis, dim in enumerate(target):
        free.setdefault((dims.product(target[:axis]), dim), []).append(axis)
    places: list[int | None] = []
    for axis, dim in enumerate(source):
        left = free.get((dims.product(source[:axis]), dim))
        places.append(left.pop(0) if left else None)
    return [tuple(places)]


def _reshape_shape(eqn: JaxprEqn, operand: Dims) -> list[Dims]:
    del operand
    return [param_dims(eqn.params["new_sizes"])]


def _rev_lanes(eqn: JaxprEqn) -> list[Places]:
    rank = len(dims_of(eqn.invars[0]))
    turned = {int(axis) for axis in eqn.params["dimensions"]}
    return [tuple(None if axis in turned else axis for axis in range(rank))]


def _same_shape(eqn: JaxprEqn, operand: Dims) -> list[Dims]:
    del eqn
    return [operand]


register_local(
    "broadcast_in_dim", lanes=_broadcast_lanes, shape=_broadcast_shape, value=_same_vector
)
register_local("transpose", lanes=_transpose_lanes, shape=_transpose_shape, value=_same_vector)
register_local("squeeze", lanes=_squeeze_lanes, shape=_squeeze_shape, value=_same_vector)
register_local("reshape", lanes=_reshape_lanes, shape=_reshape_shape, value=_same_vector)
register_local("rev", lanes=_rev_lanes, shape=_same_shape, value=same_range)
