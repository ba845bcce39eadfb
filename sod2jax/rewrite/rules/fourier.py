"""Fourier transforms: along a padded axis, by a chirp."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.chirp import LONGEST, along_last, chirp_transform
from sod2jax.rewrite.padded import Padded, is_padded


@register_pad_rule("fft")
def _fft(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Transforms one axis at a time where any length is symbolic; other axes may be padded."""
    kind = lax.FftType(eqn.params["fft_type"])
    lengths = tuple(map(dims.from_jax, eqn.params["fft_lengths"]))
    first = operand.rank - len(lengths)
    extents = (*operand.extents[:first], *((d,) for d in ctx.out_shape()[first:]))
    if not any(map(is_padded, (*operand.extents[first:], *extents[first:]))):
        return [Padded(ctx.bind(operand.array)[0], extents)]
    if 0 in map(ctx.size, lengths):  # there is nothing to transform
        shape = tuple(map(ctx.extent_size, extents))
        return [Padded(lax.full(shape, 0, eqn.outvars[0].aval.dtype), extents)]
    if max(map(ctx.size, lengths)) > LONGEST:
        raise ctx.refuse(f"a padded axis may be at most {LONGEST} long; give it a fixed size")
    array = ctx.compact(operand, range(first, operand.rank)).array
    inverse = kind in (lax.FftType.IFFT, lax.FftType.IRFFT)
    outer = range(first, operand.rank - 1)
    if kind == lax.FftType.IRFFT:
        for axis in outer:
            array = _along(ctx, array, axis, lengths[axis - first], inverse)
        return [Padded(_to_real(ctx, array, lengths[-1]), extents)]
    if kind == lax.FftType.RFFT:
        array = lax.complex(array, lax.full_like(array, 0))
    for axis in (operand.rank - 1, *outer):
        array = _along(ctx, array, axis, lengths[axis - first], inverse)
    return [Padded(array[..., : ctx.size(extents[-1][0])], extents)]


def _along(ctx: Context, array: Any, axis: int, length: Dim, inverse: bool) -> Any:
    """The complex transform of one axis."""
    array = jnp.swapaxes(array, axis, -1)
    if isinstance(length, int):
        array = jnp.fft.ifft(array) if inverse else jnp.fft.fft(array)
    else:
        array = chirp_transform(array, ctx.true(length), inverse)
    return jnp.swapaxes(array, axis, -1)


def _to_real(ctx: Context, half: Any, length: Dim) -> Any:
    """The real inverse transform of the last axis, from the non-negative half of its spectrum.

    The other half is its conjugate, backwards. What must be real in a spectrum of a real signal but
    is not, at 0 and n/2, only adds to the imaginary part, which is dropped.
    """
    if isinstance(length, int):
        return jnp.fft.irfft(half, length)
    true = ctx.true(length)
    position = lax.iota(np.int32, ctx.size(length))
    mirrored = lax.gt(position, lax.broadcast(true // 2, position.shape))
    source = lax.select(mirrored, true - position, position)
    whole = jnp.take(half, source, axis=-1, mode="clip")
    whole = lax.select(along_last(mirrored, whole), lax.conj(whole), whole)
    return lax.real(chirp_transform(whole, true, inverse=True))
