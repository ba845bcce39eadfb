"""Fourier transforms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness

S = Arg("s")
BS = Arg("b, s")
COMPLEX = Arg("b, s", np.complex64)
ROWS = Arg("b, 12")
COMPLEX_ROWS = Arg("b, 12", np.complex64)
BUCKET = {"s": 37}


def _real_inverse(x: jax.Array, *lengths: int) -> jax.Array:
    """``jnp.fft.irfftn`` takes no symbolic lengths."""
    return lax.fft(x, lax.FftType.IRFFT, lengths)


def _filter(x: jax.Array, h: jax.Array) -> jax.Array:
    return _real_inverse(jnp.fft.rfft(x, axis=1) * jnp.fft.rfft(h, axis=1), x.shape[1])


HARNESSES = [
    Harness("fft_rows", lambda x: (jnp.fft.fft(x), jnp.fft.ifft(x)), (COMPLEX_ROWS,)),
    Harness("fft_rows_real", lambda x: jnp.fft.irfft(jnp.fft.rfft(x), 12), (ROWS,)),
    Harness("fft_rows_merged", lambda x: jnp.fft.fft(x.reshape(-1, 5)), (Arg("b, s, 5"),)),
    Harness("fft", lambda x: jnp.fft.fft(x), (COMPLEX,), bucket=BUCKET),
    Harness("fft_first_axis", lambda x: jnp.fft.fft(x, axis=0), (COMPLEX,), bucket={"b": 19}),
    Harness("fft_inverse", lambda x: jnp.fft.ifft(x), (COMPLEX,), bucket=BUCKET),
    Harness("fft_real", lambda x: jnp.fft.rfft(x), (BS,), bucket=BUCKET),
    Harness(
        "fft_real_inverse",
        lambda x, y: _real_inverse(x, y.shape[0]),
        (Arg("s//2 + 1", np.complex64), S),
        bucket=BUCKET,
    ),
    Harness("fft_real_inverse_even", lambda x: jnp.fft.irfft(jnp.fft.rfft(x)), (S,)),
    Harness(
        "fft_of_none_or_one",  # which is its own transform, infinite or not
        lambda x: (jnp.fft.fft(x[: x.shape[0] // 2]), jnp.fft.rfft(x[:1] / 0)),
        (S,),
    ),
    Harness("fft_merged", lambda x: jnp.fft.fft(x.reshape(-1)), (BS,)),
    Harness("fft_two_axes", lambda x: (jnp.fft.fft2(x), jnp.fft.ifft2(x)), (COMPLEX,)),
    Harness("fft_two_axes_real", lambda x: jnp.fft.rfft2(x), (Arg("2, b, s"),)),
    Harness(
        "fft_exact_and_padded", lambda x: _real_inverse(jnp.fft.rfft2(x), *x.shape), (Arg("6, s"),)
    ),
    Harness(
        "fft_padded_and_exact", lambda x: _real_inverse(jnp.fft.rfft2(x), *x.shape), (Arg("s, 6"),)
    ),
    Harness("fft_filter", _filter, (BS, BS), bucket=BUCKET),
    Harness("fft_shift", lambda x: jnp.fft.fftshift(jnp.fft.fft(x, axis=1), axes=1), (BS,)),
    Harness("fft_frequencies", lambda x: jnp.fft.fftfreq(x.shape[0]) * x, (S,)),
    Harness("fft_gradient", jax.grad(lambda x: (jnp.abs(jnp.fft.fft(x)) ** 4).sum()), (BS,)),
]
