"""Fourier transforms: along a padded axis, as a convolution with a chirp (Bluestein's algorithm).

With jk = (j^2 + k^2 - (k - j)^2) / 2, a transform of any length n is a product with a chirp, a
convolution with its conjugate, and a product again. Only the chirp depends on n, so that n may be
known at run time; the convolution has the static length of the padded axis and uses ordinary
transforms.

Leo I. Bluestein, "A linear filtering approach to the computation of discrete Fourier transform",
IEEE Transactions on Audio and Electroacoustics 18(4), 1970.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import Padded, is_padded

LONGEST = 1 << 22  # size of a padded axis; its positions are squared in 32 bits, byte by byte


@register_pad_rule("fft")
def _fft(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Transforms one axis at a time where any length is symbolic; other axes may be padded."""
    kind = lax.FftType(eqn.params["fft_type"])
    lengths = tuple(map(dims.from_jax, eqn.params["fft_lengths"]))
    first = operand.rank - len(lengths)
    extents = (*operand.extents[:first], *((d,) for d in ctx.out_shape()[first:]))
    if not any(map(is_padded, (*operand.extents[first:], *extents[first:]))):
        return [Padded(ctx.bind(operand.array)[0], extents)]
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
    whole = lax.select(_along_last(mirrored, whole), lax.conj(whole), whole)
    return lax.real(chirp_transform(whole, true, inverse=True))


def _along_last(vector: Any, like: Any) -> Any:
    return lax.broadcast_in_dim(vector, like.shape, (like.ndim - 1,))


def chirp_transform(x: Any, n: Any, inverse: bool) -> Any:
    """The discrete Fourier transform of the first lanes of the last axis.

    Args:
      x: complex[..., N]; lanes from ``n`` on may hold anything.
      n: int32 scalar, at most N.
      inverse: whether to compute the inverse transform.

    Returns:
      complex[..., N]: the transform, of length ``n``, in the first lanes; anything in the others.
    """
    if inverse:
        return lax.conj(chirp_transform(lax.conj(x), n, False)) / n.astype(lax.real(x).dtype)
    size = x.shape[-1]
    chirp = _chirp(size, n, lax.real(x).dtype)
    inside = lax.lt(lax.iota(np.int32, size), lax.broadcast(n, (size,)))
    signal = lax.select(_along_last(inside, x), x * _along_last(chirp, x), lax.full_like(x, 0))
    length = 1 << (2 * size - 1).bit_length()
    kernel = lax.conj(chirp)
    gap = lax.full((length - 2 * size + 1,), 0, kernel.dtype)
    kernel = lax.concatenate([kernel, gap, lax.rev(kernel[1:], (0,))], 0)
    spectrum = jnp.fft.fft(signal, length)
    product = spectrum * _along_last(jnp.fft.fft(kernel), spectrum)
    return jnp.fft.ifft(product)[..., :size] * _along_last(chirp, x)


def _chirp(size: int, n: Any, dtype: Any) -> Any:
    """complex[size]: exp(-i pi m^2 / n) at every position m."""
    period = lax.broadcast(2 * n.astype(np.uint32), (size,))
    square = square_modulo(lax.iota(np.uint32, size), period)
    angle = -math.pi * (square.astype(dtype) / n.astype(dtype))
    return lax.complex(lax.cos(angle), lax.sin(angle))


def square_modulo(m: Any, period: Any) -> Any:
    """m^2 modulo a period below 2^24 without overflow: m = 256 h + l, one byte at a time."""
    byte = lax.full_like(m, 256)
    high, low = lax.div(m, byte), lax.rem(m, byte)
    square = lax.rem(lax.rem(high * high, period) * byte, period) + lax.rem(2 * high * low, period)
    return lax.rem(lax.rem(square, period) * byte + low * low, period)
