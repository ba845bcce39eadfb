"""Programs of a mesh: one body for each device, and what the devices tell each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import sympy

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.vocabulary import LANEWISE_COLLECTIVES, MOVING_COLLECTIVES
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import Extent, Padded, extent


@register_pad_rule("shard_map")
def _shard_map(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Runs the rewritten body on each device, with the axes of its arrays in prefix layout.

    An axis that devices have whole is padded inside as outside, and true sizes are the same on all.
    One that the mesh divides must have no pad lanes, or be the product of the number of parts and
    the size of one, as what JAX keeps for derivatives is: then each part has its own pad lanes.
    """
    params, body = eqn.params, eqn.params["jaxpr"]
    layouts = [
        _layout(ctx, outside, inside, spec)
        for outside, inside, spec in zip(
            (*eqn.invars, *eqn.outvars),
            (*body.invars, *body.outvars),
            (*params["in_specs"], *params["out_specs"]),
            strict=True,
        )
    ]
    given = [_laid_out(ctx, p, layout) for p, layout in zip(operands, layouts, strict=False)]

    def run(*arrays: Any) -> list[jax.Array]:
        with ctx.scope():
            pairs = zip(arrays, body.invars, strict=True)
            args = [Padded.prefix(array, dims_of(var)) for array, var in pairs]
            outs = [ctx.compact(out) for out in ctx.run(body, args)]
            ctx.note_reads(outs)
            return [
                _compat.with_weak_type(out.array, atom.aval)
                for out, atom in zip(outs, body.outvars, strict=True)
            ]

    arrays: Sequence[Any] = _compat.over_mesh(run, eqn)(*(p.array for p in given))
    return [Padded(a, layout) for a, layout in zip(arrays, layouts[len(given) :], strict=True)]


def _layout(ctx: Context, outside: Any, inside: Any, spec: Any) -> tuple[Extent, ...]:
    """The layout of an array of which each device has a part, or all.

    Raises:
      UnsupportedPrimitiveError: the parts of a padded axis would be others.
    """
    extents: list[Extent] = []
    for k, (whole, part) in enumerate(zip(dims_of(outside), dims_of(inside), strict=True)):
        if k >= len(spec) or spec[k] is None or not dims.is_symbolic(whole):
            extents.append(extent((whole,)))
            continue
        count = _count(ctx, spec[k])
        if dims.normalise(count * sympy.sympify(part)) != whole:
            raise ctx.refuse(
                "it divides an axis of symbolic size among devices, whose parts would have other "
                "true sizes than the body was traced with; give that axis a fixed size"
            )
        extents.append(extent((count, part)))
    return tuple(extents)


def _count(ctx: Context, names: Any) -> int:
    """Into how many parts some axes of the mesh divide an axis."""
    mesh = ctx.eqn.params["mesh"]
    return math.prod(mesh.shape[name] for name in (names if isinstance(names, tuple) else (names,)))


def _laid_out(ctx: Context, operand: Padded, layout: tuple[Extent, ...]) -> Padded:
    """An operand in a layout: it has that already on axes that the mesh divides."""
    if operand.extents == layout:
        return operand
    for axis, wanted in enumerate(layout):
        if len(wanted) > 1 and operand.extents[axis] != wanted:
            raise ctx.refuse("it divides an axis of symbolic size that is padded at its end")
    return ctx.compact(operand, [k for k, wanted in enumerate(layout) if len(wanted) == 1])


@register_pad_rule(*LANEWISE_COLLECTIVES)
def _lanewise(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Binds the primitive as it is: a lane of one device meets the same lane of others."""
    if any(isinstance(axis, int) for axis in eqn.params.get("axes", ())):
        raise ctx.refuse("it reduces over a position; name the axis, or use jnp.sum and the like")
    arrays = ctx.bind(*(p.array for p in operands))
    return [Padded(a, p.extents) for a, p in zip(arrays, operands, strict=True)]


# Parameters that name the axes whose lanes move among devices.
_MOVED = {
    "all_gather": ("all_gather_dimension",),
    "all_gather_invariant": ("all_gather_dimension",),
    "all_to_all": ("split_axis", "concat_axis"),
    "reduce_scatter": ("scatter_dimension",),
}


@register_pad_rule(*MOVING_COLLECTIVES)
def _moved(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Binds the primitive as it is, where the axes whose lanes move have no pad lanes."""
    moved = {eqn.params[name] for name in _MOVED[eqn.primitive.name]}
    if not eqn.params["tiled"]:
        raise ctx.refuse("it makes or takes away an axis; use tiled=True")
    if moved & set(operand.padded_axes):
        raise ctx.refuse("lanes of a padded axis would move to other devices; use another axis")
    (array,) = ctx.bind(operand.array)
    sizes = ctx.out_shape()
    extents = [(sizes[k],) if k in moved else e for k, e in enumerate(operand.extents)]
    return [Padded(array, tuple(extents))]
