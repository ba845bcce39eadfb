"""Masked reductions in blocks, with the mask in the one block where the true size ends.

XLA's CPU backend reduces by a kernel that takes elementwise functions with it, but no select: a
masked operand is an array of its own, written and read again. Here all lanes are reduced block by
block without the mask. Of these blocks those count that have true lanes only; the block where the
true lanes end, the edge, is cut out and reduced with its mask. Measured on jax 0.10: masked
reductions of 1 to 64 MB took 2 to 8 times as long as without a mask, and take 1.05 to 1.5 so.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import read, variables
from sod2jax.ir.surgery import Copier, pruned, replaced_in_turn, with_bodies
from sod2jax.ir.vocabulary import LAYOUT, TRANSCENDENTAL
from sod2jax.passes.remark import Remark
from sod2jax.rewrite.monoids import IDENTITY, OPERATORS
from sod2jax.schedule.masked import LANEWISE, Masked, Reader, lane_axes
from sod2jax.target import Target

WORTH = 1 << 20  # bytes: below, a mask costs no more than a few small operations
_SHORT = 32  # lanes behind the reduced axis: with so few, a mask breaks up a vectorised loop
_REUSED = 1 << 25  # bytes: larger arrays get new pages from the system in each call
_LONG = 64  # lanes of a block of a last axis: sums of fewer do not vectorise
LEAST = 16  # lanes of a block, and
_FEWEST = 4  # blocks: with less, the edge is too much of all


def at_edges(jaxpr: Jaxpr, target: Target) -> tuple[Jaxpr, tuple[Remark, ...]]:
    """A static program whose large masked reductions have their masks at the edge; and which.

    It is the same object if there are none, or the target's compiler fuses selects, or where the
    edge would be on one device, and all would have to get it.
    """
    remarks: list[Remark] = []
    if target.platform != "cpu" or target.spread > 1:
        return jaxpr, ()
    return _at_edges(jaxpr, remarks), tuple(remarks)


def _at_edges(jaxpr: Jaxpr, remarks: list[Remark]) -> Jaxpr:
    found = _worth_it(jaxpr)
    copier, changed = Copier(), bool(found)
    new: list[JaxprEqn] = []
    env: dict[Var, Any] = {}
    for old, eqn in zip(jaxpr.eqns, replaced_in_turn(jaxpr.eqns, env), strict=True):
        one = found.get(id(old))
        if one is None:
            new.append(with_bodies(eqn, lambda body: _at_edges(body, remarks)))
            changed |= new[-1] is not eqn
            continue
        leaves = _leaves(one)
        specs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in leaves]
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            traced = jax.make_jaxpr(functools.partial(_in_blocks, one, leaves))(*specs)
        body, (out,) = copier.body(traced, [read(env, v) for v in leaves], eqn)
        new += body
        env[eqn.outvars[0]] = out
        remarks.append(_remark(one))
    if not changed:
        return jaxpr
    outputs = [read(env, atom) for atom in jaxpr.outvars]
    return _compat.with_equations(jaxpr, pruned(new, outputs), outputs)


def _worth_it(jaxpr: Jaxpr) -> dict[int, Masked]:
    """The masked reductions to change, by their equations."""
    large = [e for e in jaxpr.eqns if e.invars and _nbytes(e.invars[0]) >= WORTH]
    reader = Reader(jaxpr)
    found = reader.masked(large) if large else []
    return {id(one.eqn): one for one in found if _is_better(one) and _is_of_arrays(one, reader)}


def _nbytes(atom: Atom) -> int:
    dtype = getattr(atom.aval, "dtype", None)
    return math.prod(atom.aval.shape) * dtype.itemsize if isinstance(dtype, np.dtype) else 0


def _is_better(one: Masked) -> bool:
    lanes = _block(one.size)
    if lanes is None or (one.behind == 1 and lanes < _LONG):
        return False
    elementary = any(eqn.primitive.name in TRANSCENDENTAL for eqn in one.eqns)
    reused = one.nbytes <= _REUSED and not 1 < one.behind <= _SHORT
    return not (elementary and reused)  # then one more pass over the array is of no matter


def _is_of_arrays(one: Masked, reader: Reader) -> bool:
    """Whether what it is made of are arrays in memory: else it is fused with what makes them."""
    large = (v for v in _leaves(one) if 2 * _nbytes(v) >= one.nbytes)
    makers = [eqn.primitive.name for v in large if (eqn := reader.maker(v)) is not None]
    return LANEWISE.isdisjoint(makers) and LAYOUT.isdisjoint(makers)


def _block(size: int) -> int | None:
    """Lanes of a block: few blocks are left to be masked, and the edge is small."""
    fits = (b for b in range(LEAST, size // _FEWEST + 1) if size % b == 0 and b * b >= 2 * size)
    return next(fits, None)


def _remark(one: Masked) -> Remark:
    count = one.size // (_block(one.size) or 1)
    return Remark(
        f"{one.eqn.primitive.name} in {count} blocks, masked at the edge",
        _compat.source_line(one.eqn),
        f"a mask on all {one.nbytes:,} B would be an array of its own",
    )


def _leaves(one: Masked) -> list[Var]:
    """What the lanewise equations read, and do not make."""
    operands = (v for eqn in one.eqns for v in variables(eqn.invars))
    return [v for v in dict.fromkeys([*operands, one.true]) if v not in one.axes]


def _in_blocks(one: Masked, leaves: Sequence[Var], *arrays: Any) -> Any:
    """The result of a masked reduction."""
    given = dict(zip(leaves, arrays, strict=True))
    size = _block(one.size) or one.size
    count = one.size // size
    true = lax.clamp(np.int32(0), given[one.true].astype(np.int32), np.int32(one.size))
    last = lax.min(lax.div(true, np.int32(size)), np.int32(count - 1))
    blocks = _computed(one, given, _Blocks(count, size))
    axes = one.eqn.params["axes"]
    inner = tuple(one.axis + 1 if k == one.axis else k + (k > one.axis) for k in axes)
    (parts,) = _compat.bind(one.eqn, blocks, axes=inner)
    at = one.axis - sum(k < one.axis for k in axes)
    whole = lax.broadcasted_iota(np.int32, parts.shape, at) < last
    identity = lax.full(parts.shape, IDENTITY[one.monoid](parts.dtype), parts.dtype)
    (total,) = _compat.bind(one.eqn, lax.select(whole, parts, identity), axes=(at,))
    (edge,) = _compat.bind(one.eqn, _computed(one, given, _Edge(last * np.int32(size), size)))
    return OPERATORS[one.monoid](total, edge)


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """An axis as two, blocks and their lanes, without masks."""

    count: int
    size: int
    masked = False

    def leaf(self, x: Any, axis: int) -> Any:
        # XLA would move the new shape behind what is computed next, and not fuse that any more.
        return lax.optimization_barrier(x.reshape(self.shape(x.shape, axis)))

    def whole(self, x: Any, axis: int) -> Any:
        """An array with one lane along the axis."""
        return x.reshape((*x.shape[:axis], 1, *x.shape[axis:]))

    def shape(self, shape: Sequence[int], axis: int) -> tuple[int, ...]:
        return (*shape[:axis], self.count, self.size, *shape[axis + 1 :])

    def places(self, axis: int) -> tuple[int, ...]:
        """Where an axis is."""
        return axis, axis + 1

    def place(self, other: int, axis: int) -> int:
        """Where another axis is."""
        return other + (other > axis)


@dataclasses.dataclass(frozen=True)
class _Edge:
    """Some lanes of an axis, from a start on, with masks."""

    start: Any
    size: int
    masked = True

    def leaf(self, x: Any, axis: int) -> Any:
        return lax.dynamic_slice_in_dim(x, self.start, self.size, axis)

    def whole(self, x: Any, axis: int) -> Any:
        return x

    def shape(self, shape: Sequence[int], axis: int) -> tuple[int, ...]:
        return (*shape[:axis], self.size, *shape[axis + 1 :])

    def places(self, axis: int) -> tuple[int, ...]:
        return (axis,)

    def place(self, other: int, axis: int) -> int:
        return other


def _computed(one: Masked, given: Mapping[Var, Any], view: _Blocks | _Edge) -> Any:
    """The reduction's operand, seen so."""
    made: dict[tuple[Var, int | None], Any] = {}

    def value(atom: Atom, axis: int | None) -> Any:
        if _compat.is_literal(atom):
            return _compat.literal_array(atom)
        if axis is None:
            return given[atom]
        if (atom, axis) not in made:
            made[atom, axis] = view.leaf(given[atom], axis)
        return made[atom, axis]

    for eqn in one.eqns:
        (out,), axis = eqn.outvars, one.axes[eqn.outvars[0]]
        if id(eqn) in one.masks and not view.masked:
            made[out, axis] = value(eqn.invars[2], axis)
            continue
        along = lane_axes(eqn, axis) or []
        operands = [value(v, k) for v, k in zip(eqn.invars, along, strict=True)]
        made[out, axis] = _done(eqn, axis, along, operands, view)
    return value(one.eqn.invars[0], one.axis)


def _done(
    eqn: JaxprEqn,
    axis: int,
    along: Sequence[int | None],
    operands: Sequence[Any],
    view: _Blocks | _Edge,
) -> Any:
    if eqn.primitive.name in LANEWISE:
        pairs = zip(operands, along, strict=True)
        seen = [view.whole(x, axis) if k is None and x.ndim else x for x, k in pairs]
        return _compat.bind(eqn, *seen)[0]
    if eqn.primitive.name == "broadcast_in_dim":
        shape = view.shape(eqn.outvars[0].aval.shape, axis)
        places: list[int] = []
        for k, to in enumerate(eqn.params["broadcast_dimensions"]):
            both = view.places(axis) if k == along[0] else (view.place(to, axis),)
            places += both
        return lax.broadcast_in_dim(operands[0], shape, places)
    axes = tuple(view.place(k, along[0] or 0) for k in eqn.params["axes"])
    return _compat.bind(eqn, *operands, axes=axes)[0]
