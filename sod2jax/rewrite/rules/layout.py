"""Primitives that only rearrange or repeat lanes: broadcast, transpose, reshape."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.rewrite import padded
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.layouts import transposed
from sod2jax.rewrite.padded import Extent, Padded, RowReduction


@register_pad_rule("broadcast_in_dim")
def _broadcast_in_dim(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Maps axis k of the operand to ``broadcast_dimensions[k]``; other output axes repeat it."""
    mapping = eqn.params["broadcast_dimensions"]
    extents: list[Extent] = [(d,) for d in ctx.out_shape()]
    for axis, to in enumerate(mapping):
        if operand.extents[axis] != (1,):
            extents[to] = operand.extents[axis]
    out = lax.broadcast_in_dim(operand.array, tuple(map(ctx.extent_size, extents)), mapping)
    fills = {to: operand.fills[axis] for axis, to in enumerate(mapping) if axis in operand.fills}
    row = _broadcast_row(operand.row, mapping, len(extents))
    return [operand.with_array(out, extents, fills, row)]


def _broadcast_row(
    row: RowReduction | None, mapping: Sequence[int], rank: int
) -> RowReduction | None:
    if row is None:
        return None
    layout: list[int | None] = [None] * rank
    for axis, to in enumerate(mapping):
        layout[to] = row.layout[axis]
    return RowReduction(row.kind, row.array, row.axes, row.nonnegative, tuple(layout))


@register_pad_rule("transpose")
def _transpose(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Permutes axes and, with them, what is known of their pad lanes."""
    return [transposed(operand, eqn.params["permutation"])]


@register_pad_rule("squeeze")
def _squeeze(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Drops axes of true size 1."""
    gone = {k % operand.rank for k in eqn.params["dimensions"]}
    kept = [k for k in range(operand.rank) if k not in gone]
    return [_regrouped(ctx, operand, [operand.extents[k] for k in kept], kept)]


@register_pad_rule("reshape")
def _reshape(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Regroups the factors of the axes where that is enough; moves the true elements where not.

    ``[b, s, 4] -> [b*s, 4]`` gives axis 0 the product layout (b, s) and moves nothing;
    ``[b*s] -> [b, s]`` undoes it; a prefix axis of ``b*s`` is gathered instead.
    """
    if eqn.params.get("dimensions") is not None:
        operand = transposed(operand, eqn.params["dimensions"])
    shape = ctx.out_shape()
    for source, target in _groups(operand.shape, shape):
        moved = _split(ctx, [operand.extents[k] for k in source], [shape[k] for k in target])
        if moved is None:
            return [_gathered(ctx, operand, shape)]
    extents: list[Extent] = []
    origin: list[int | None] = []
    for source, target in _groups(operand.shape, shape):
        parts = _split(ctx, [operand.extents[k] for k in source], [shape[k] for k in target])
        extents += parts or []
        same = len(source) == len(target) == 1
        origin += [source[0] if same else None] * len(target)
    return [_regrouped(ctx, operand, extents, origin)]


def _regrouped(
    ctx: Context, operand: Padded, extents: Sequence[Extent], origin: Sequence[int | None]
) -> Padded:
    """Reshapes without moving a lane; ``origin`` has the operand's axis of each unchanged axis."""
    out = lax.reshape(operand.array, tuple(map(ctx.extent_size, extents)))
    row = operand.row
    if row is not None:
        lost = [k for k in range(operand.rank) if k not in origin and operand.extents[k] != (1,)]
        layout = tuple(None if at is None else row.layout[at] for at in origin)
        row = None if lost else RowReduction(row.kind, row.array, row.axes, row.nonnegative, layout)
    return operand.with_array(out, extents, operand.fills_from(origin), row)


def _gathered(ctx: Context, operand: Padded, shape: Sequence[Dim]) -> Padded:
    """Lays all true elements out anew, leading and trailing equal axes aside."""
    head = _equal_ends(operand.shape, shape)
    tail = _equal_ends(operand.shape[head:][::-1], shape[head:][::-1])
    return ctx.relayout(operand, head, operand.rank - tail, shape[head : len(shape) - tail])


def _equal_ends(a: Sequence[Dim], b: Sequence[Dim]) -> int:
    """How many leading dimensions two shapes share."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((k for k, (x, y) in pairs if x != y), min(len(a), len(b)))


def _groups(source: Sequence[Dim], target: Sequence[Dim]) -> list[tuple[list[int], list[int]]]:
    """Smallest runs of axes on both sides that hold the same number of elements.

    Sizes are compared at one generic point of the symbols; ``_split`` verifies them.
    """
    groups, i, j = [], 0, 0
    while i < len(source) or j < len(target):
        left, right = [], []
        a = b = 1
        while True:
            if a <= b and i < len(source):
                a, i = a * _generic(source[i]), i + 1
                left.append(i - 1)
            elif j < len(target):
                b, j = b * _generic(target[j]), j + 1
                right.append(j - 1)
            else:
                break
            if a == b and left and right:
                break
        groups.append((left, right))
    return groups


def _generic(dim: Dim) -> int:
    """The value of a dimension with a large number of its own for each symbol."""
    if isinstance(dim, int):
        return dim
    sizes = {name: 1_000_003 + zlib.crc32(name.encode()) for name in dims.symbols_of(dim)}
    return dims.evaluate(dim, sizes)


def _split(ctx: Context, layouts: Sequence[Extent], shape: Sequence[Dim]) -> list[Extent] | None:
    """Deals the factors of axes out to new axes of ``shape``, in order; None if lanes must move."""
    factors = [f for layout in layouts for f in layout if f != 1]
    out: list[Extent] = []
    for dim in shape:
        taken: list[Dim] = []
        while (have := dims.product(taken)) != dim:
            if not factors:
                return None
            factor = factors.pop(0)
            if dims.product((have, factor)) == dim or _divides(have, factor, dim):
                taken.append(factor)
                continue
            cut = _cut(ctx, factor, dims.quotient(dim, have))
            if cut is None:
                return None
            taken.append(cut[0])
            factors.insert(0, cut[1])
        out.append(padded.extent(taken))
    return out if not factors else None


def _divides(have: Dim, factor: Dim, dim: Dim) -> bool:
    """Whether ``dim`` needs all of ``factor`` and more."""
    return dims.quotient(dim, dims.product((have, factor))) is not None


def _cut(ctx: Context, factor: Dim, outer: Dim | None) -> tuple[Dim, Dim] | None:
    """Splits a factor into ``outer`` and an integer inside it, as its lanes lie already."""
    if outer is None or outer == 1:
        return None
    inner = dims.quotient(factor, outer)
    if not isinstance(inner, int) or ctx.size(outer) * inner != ctx.size(factor):
        return None
    return outer, inner


@register_pad_rule("dim_as_value")
def _dim_as_value(ctx: Context, eqn: JaxprEqn) -> list[Padded]:
    """The true size of a dimension, as a number."""
    value = ctx.true(dims.from_jax(eqn.params["dim"]))
    return [Padded.exact(lax.convert_element_type(value, eqn.outvars[0].aval.dtype))]


@register_pad_rule("value_as_dim")
def _value_as_dim(ctx: Context, eqn: JaxprEqn, count: Padded) -> list[Padded]:
    """From here on the true size of a symbol is known, as a number that the program computes."""
    if str(dims.from_jax(eqn.params["dim"])) == eqn.params["name"]:
        ctx.set_true_size(eqn.params["name"], count.array)
    return [count]


@register_pad_rule("empty")
def _empty(ctx: Context, eqn: JaxprEqn) -> list[Padded]:
    """Makes the padded array: true lanes hold anything, too."""
    shape = ctx.out_shape()
    (array,) = ctx.bind(shape=ctx.sizes(shape))
    return [Padded.prefix(array, shape)]


@register_pad_rule("iota")
def _iota(ctx: Context, eqn: JaxprEqn) -> list[Padded]:
    """Counts along a prefix axis: pad lanes count on."""
    shape = ctx.out_shape()
    sizes = ctx.sizes(shape)
    out = lax.broadcasted_iota(eqn.params["dtype"], sizes, eqn.params["dimension"])
    fills = dict.fromkeys(range(len(shape)), padded.FINITE)
    return [Padded.prefix(out, shape, nonnegative=True, fills=fills)]
