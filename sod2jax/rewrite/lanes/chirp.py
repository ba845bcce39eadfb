"""Fourier transforms of a length known at run time: a convolution with a chirp (Bluestein).

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

LONGEST = 1 << 22  # size of a padded axis; its positions are squared in 32 bits, byte by byte


def along_last(vector: Any, like: Any) -> Any:
    """Broadcasts a vector along the last axis of an array."""
    return lax.broadcast_in_dim(vector, like.shape, (like.ndim - 1,))


def chirp_transform(x: Any, n: Any, inverse: bool) -> Any:
    """The discrete Fourier transform of the first lanes of the last axis.

    Args:
      x: complex[..., N]; lanes from ``n`` on may hold anything.
      n: int32 scalar, from 0 to N.
      inverse: whether to compute the inverse transform.

    Returns:
      complex[..., N]: the transform, of length ``n``, in the first lanes; anything in the others.
    """
    if inverse:
        count = lax.max(n, np.int32(1)).astype(lax.real(x).dtype)
        return lax.conj(chirp_transform(lax.conj(x), n, False)) / count
    size = x.shape[-1]
    chirp = _chirp(size, n, lax.real(x).dtype)
    inside = along_last(lax.lt(lax.iota(np.int32, size), lax.broadcast(n, (size,))), x)
    zeros = lax.full_like(x, 0)
    signal = lax.select(inside, x * along_last(chirp, x), zeros)
    length = 1 << (2 * size - 1).bit_length()
    kernel = lax.conj(chirp)
    gap = lax.full((length - 2 * size + 1,), 0, kernel.dtype)
    kernel = lax.concatenate([kernel, gap, lax.rev(kernel[1:], (0,))], 0)
    spectrum = jnp.fft.fft(signal, length)
    product = spectrum * along_last(jnp.fft.fft(kernel), spectrum)
    transform = jnp.fft.ifft(product)[..., :size] * along_last(chirp, x)
    # The chirp of no lanes is no number, and one lane is its own transform, infinite or not.
    return lax.select(n <= 1, lax.select(inside, x, zeros), transform)


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
