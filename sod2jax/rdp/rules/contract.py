"""Contractions: sums of products over common axes."""

from __future__ import annotations

from sod2jax._compat import JaxprEqn
from sod2jax.ir.jaxprs import dims_of
from sod2jax.rdp.rule import Dims, Places, register_local


def _dot_axes(eqn: JaxprEqn) -> tuple[list[tuple[int, ...]], list[list[int]]]:
    """(batch axes, free axes) of each operand; the result has batch, left free, right free."""
    contracting, batch = eqn.params["dimension_numbers"]
    free = [
        [k for k in range(len(dims_of(atom))) if k not in (*c, *b)]
        for atom, c, b in zip(eqn.invars, contracting, batch, strict=True)
    ]
    return [tuple(map(int, b)) for b in batch], free


def _dot_lanes(eqn: JaxprEqn) -> list[Places]:
    batch, free = _dot_axes(eqn)
    orders = [[*batch[0], *free[0]], [*batch[1], *(None,) * len(free[0]), *free[1]]]
    return [
        tuple(order.index(k) if k in order else None for k in range(len(dims_of(atom))))
        for order, atom in zip(orders, eqn.invars, strict=True)
    ]


def _dot_shape(eqn: JaxprEqn, left: Dims, right: Dims) -> list[Dims]:
    """Contracted dimensions must agree; they leave no trace in the result."""
    batch, free = _dot_axes(eqn)
    for a, b in zip(*eqn.params["dimension_numbers"][0], strict=True):
        left[a].refine(right[b])
    shared = [left[a].refine(right[b]) for a, b in zip(*batch, strict=True)]
    return [(*shared, *(left[k] for k in free[0]), *(right[k] for k in free[1]))]


def _conv_lanes(eqn: JaxprEqn) -> list[Places]:
    """Examples stay apart, and so do the filters; space and input features mix."""
    lhs, rhs, out = eqn.params["dimension_numbers"]
    groups = eqn.params["batch_group_count"]
    example = (lhs[0], out[0] if groups == 1 else None)
    places = []
    for atom, (axis, at) in zip(eqn.invars, (example, (rhs[0], out[1])), strict=True):
        places.append(tuple(at if k == axis else None for k in range(len(dims_of(atom)))))
    return places


register_local("dot_general", lanes=_dot_lanes, shape=_dot_shape)
register_local("conv_general_dilated", lanes=_conv_lanes)
