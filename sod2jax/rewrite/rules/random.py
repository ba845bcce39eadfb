"""Random keys and bits: the numbers of the true shape, whichever axes are padded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.vocabulary import CIPHERS
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes import bitstreams
from sod2jax.rewrite.lanes.layouts import align_axes, broadcast_extents
from sod2jax.rewrite.padded import Extent, Padded

_GENERATORS = ("rbg", "unsafe_rbg")


@register_pad_rule("random_wrap")
def _random_wrap(ctx: Context, eqn: JaxprEqn, data: Padded) -> list[Padded]:
    """Key data to keys: the last axis disappears."""
    (keys,) = ctx.bind(data.array)
    return [Padded(keys, data.extents[:-1])]


@register_pad_rule("random_unwrap")
def _random_unwrap(ctx: Context, eqn: JaxprEqn, keys: Padded) -> list[Padded]:
    """Keys to key data: a last axis appears."""
    (data,) = ctx.bind(keys.array)
    return [Padded(data, (*keys.extents, data.shape[-1:]))]


@register_pad_rule("random_seed", "random_clone")
def _each_key(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Every key comes from its own lane."""
    (keys,) = ctx.bind(operand.array)
    return [Padded(keys, operand.extents)]


@register_pad_rule(*CIPHERS, "random_fold_in")
def _hash(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Elementwise, but for unsafe_rbg: a batch of its keys is one stream, in row-major order."""
    operands = align_axes(ctx, operands)
    if eqn.primitive.name == "random_fold_in" and _implementation(operands[0]) == "unsafe_rbg":
        operands = _in_one_stream(ctx, operands)
    extents = broadcast_extents(operands)
    return [Padded(out, extents) for out in ctx.bind(*(p.array for p in operands))]


def _in_one_stream(ctx: Context, operands: Sequence[Padded]) -> tuple[Padded, ...]:
    if max(p.rank for p in operands) > 1:
        raise ctx.refuse(
            "a batch of unsafe_rbg keys has one stream; fold in one axis of numbers at a time"
        )
    return tuple(map(ctx.compact, operands))


def _implementation(keys: Padded) -> str:
    return str(jax.random.key_impl(keys.array))


def _positions(ctx: Context, layouts: Sequence[Extent], words: int = 1) -> Any:
    """uint32: row-major index of each lane among the true lanes of some axes.

    ``words`` is the number of words that each of them takes from its stream.
    """
    if words * math.prod(map(ctx.extent_size, layouts)) >= bitstreams.LARGEST:
        raise ctx.refuse(
            "it makes more numbers than a 32-bit counter can number; use smaller buckets"
        )
    return lax.convert_element_type(ctx.flat_index(layouts), np.uint32)


def _prefixes(shape: Sequence[Any]) -> tuple[Extent, ...]:
    return tuple((dims.from_jax(d),) for d in shape)


@register_pad_rule("random_bits")
def _random_bits(ctx: Context, eqn: JaxprEqn, keys: Padded) -> list[Padded]:
    """Numbers the elements of ``shape`` as if nothing were padded.

    Every threefry key numbers its own elements. XLA's generator does so for one key; from a batch
    of keys it takes the first, and numbers the elements of the whole batch.
    """
    name, width = _implementation(keys), eqn.params["bit_width"]
    layouts = _prefixes(eqn.params["shape"])
    data = jax.random.key_data(keys.array)
    extents = (*keys.extents, *layouts)
    if name in _GENERATORS:
        dtype = np.dtype(f"uint{width}")
        return [Padded(_generated(ctx, data, extents, dtype), extents)]
    _require_threefry(ctx, name)
    position, count = _positions(ctx, layouts, words=2), ctx.true(_product(layouts))
    scheme = eqn.ctx.threefry_partitionable
    bits = bitstreams.over_keys(
        lambda key: bitstreams.threefry_bits(key, position, count, width, scheme), data
    )
    return [Padded(bits, extents)]


@register_pad_rule("random_split")
def _random_split(ctx: Context, eqn: JaxprEqn, keys: Padded) -> list[Padded]:
    """New keys are numbered like random numbers; an rbg key is a pair of threefry keys."""
    name = _implementation(keys)
    layouts = _prefixes(eqn.params["shape"])
    data = jax.random.key_data(keys.array)
    extents = (*keys.extents, *layouts)
    if name == "unsafe_rbg":
        return [
            Padded(jax.random.wrap_key_data(_tenth_rows(ctx, data, extents), impl=name), extents)
        ]
    if name != "rbg":
        _require_threefry(ctx, name)
    position, count = _positions(ctx, layouts, words=2), ctx.true(_product(layouts))
    scheme = eqn.ctx.threefry_partitionable

    def split(key: Any) -> Any:
        halves = lax.split(key, [2] * (key.shape[0] // 2))
        parts = [bitstreams.threefry_split(half, position, count, scheme) for half in halves]
        return lax.concatenate(parts, position.ndim)

    return [Padded(jax.random.wrap_key_data(bitstreams.over_keys(split, data), impl=name), extents)]


def _product(layouts: Sequence[Extent]) -> Dim:
    return dims.product(factor for layout in layouts for factor in layout)


def _require_threefry(ctx: Context, name: str) -> None:
    if name != "threefry2x32":
        raise ctx.refuse(
            f"how '{name}' keys number their elements is not known; use threefry2x32 or rbg keys"
        )


def _generated(ctx: Context, data: Any, extents: Sequence[Extent], dtype: Any) -> Any:
    """Bits of XLA's generator from the first key, by true position."""
    _require_stable_generator(ctx)
    position = _positions(ctx, extents)
    return bitstreams.generator_bits(_first(data), position, position.size, dtype)


def _tenth_rows(ctx: Context, data: Any, extents: Sequence[Extent]) -> Any:
    """uint32[..., 4]: every tenth row of four words, which unsafe_rbg takes for its new keys."""
    _require_stable_generator(ctx)
    row = _positions(ctx, extents, words=40)
    word = lax.broadcasted_iota(np.uint32, (*row.shape, 4), row.ndim)
    position = lax.expand_dims(row * np.uint32(40), (row.ndim,)) + word
    return bitstreams.generator_bits(_first(data), position, 40 * row.size, np.uint32)


def _first(data: Any) -> Any:
    rows = lax.reshape(data, (data.size // data.shape[-1], data.shape[-1]))
    return lax.index_in_dim(rows, 0, keepdims=False)


def _require_stable_generator(ctx: Context) -> None:
    if ctx.target.platform not in ("cpu", "gpu"):
        raise ctx.refuse(
            "this backend's own generator may depend on the shape; use threefry2x32 keys"
        )


@register_pad_rule("rng_bit_generator")
def _rng_bit_generator(ctx: Context, eqn: JaxprEqn, key: Padded) -> list[Padded]:
    """Bits by true position; the key's counter advances by the true number of steps."""
    if eqn.params["algorithm"] == lax.RandomAlgorithm.RNG_THREE_FRY:
        raise ctx.refuse("its threefry algorithm depends on the shape; use the default algorithm")
    if key.array.shape != (4,):
        raise ctx.refuse("a key of two 64-bit words is not supported; use four 32-bit words")
    layouts = _prefixes(eqn.params["shape"])
    dtype = np.dtype(eqn.params["dtype"])
    bits = _generated(ctx, key.array, layouts, dtype)
    per_step = 2 if dtype.itemsize == 8 else 4
    steps = lax.div(
        jnp.uint32(ctx.true(_product(layouts))) + np.uint32(per_step - 1), np.uint32(per_step)
    )
    low = key.array[2] + steps
    high = key.array[3] + lax.convert_element_type(lax.lt(low, steps), np.uint32)
    return [Padded.exact(jnp.stack([key.array[0], key.array[1], low, high])), Padded(bits, layouts)]


@register_pad_rule("random_gamma")
def _random_gamma(ctx: Context, eqn: JaxprEqn, keys: Padded, alpha: Padded) -> list[Padded]:
    """Lays the true elements out flat: then element i has the i-th split of its key, as unpadded.

    Pad lanes hold 1, so that no rejection loop waits for them.
    """
    if not eqn.ctx.threefry_partitionable or _implementation(keys) == "unsafe_rbg":
        raise ctx.refuse("how it splits keys depends on the shape; use partitionable threefry keys")
    keys, alpha = align_axes(ctx, (keys, alpha), range(keys.rank))
    own = alpha.shape[keys.rank :]
    flat = _laid_out(ctx, alpha, keys.rank, (dims.product(own),))
    flat = ctx.mask(flat, flat.padded_axes, 1, "their rejection loops could run on")
    (out,) = ctx.bind(keys.array, flat.array)
    return [_laid_out(ctx, Padded(out, flat.extents), keys.rank, own)]


def _laid_out(ctx: Context, value: Padded, start: int, shape: tuple[Dim, ...]) -> Padded:
    """The axes from ``start`` on as prefix axes of ``shape``, unless they are that already."""
    if value.shape[start:] == shape or start == value.rank:
        return ctx.compact(value, range(start, value.rank))
    return ctx.relayout(value, start, value.rank, shape)


@register_pad_rule("rng_uniform")
def _rng_uniform(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Stateful: no two runs agree, so there is nothing to be exact about."""
    raise ctx.refuse("it keeps a state of its own; use jax.random.uniform")


@register_pad_rule("iota_2x32_shape")
def _iota_2x32_shape(ctx: Context, eqn: JaxprEqn) -> list[Padded]:
    """Row-major positions in two words."""
    layouts = _prefixes(eqn.params["shape"])
    position = _positions(ctx, layouts)
    return [Padded(lax.full_like(position, 0), layouts), Padded(position, layouts)]
