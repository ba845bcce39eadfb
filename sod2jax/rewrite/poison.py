"""Pad lanes that nothing is known of, overwritten: what reads them shows in the results.

For tests and debugging. Results must not change by a bit, whatever unknown pad lanes hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax.rewrite.padded import Padded
from sod2jax.rewrite.sizes import Sizes
from sod2jax.transfer import poison_value


def poisoned(sizes: Sizes, value: Padded) -> Padded:
    """``value`` with poison in every pad lane that its fills leave open: NaN, or what is finite.

    True lanes stay, and so does what is known of pad lanes.
    """
    dtype = value.array.dtype
    if (
        value.constant is not None
        or dtype == jax.dtypes.float0
        or _compat.is_key_array(value.array)
    ):
        return value
    fills = value.pad_fills
    known = [axis for axis, fill in fills.items() if fill.value is not None]
    finite = [axis for axis, fill in fills.items() if fill.value is None and fill.finite]
    unknown = [axis for axis in fills if axis not in known and axis not in finite]
    array = _filled(sizes, value, value.array, finite, known, _largest(dtype))
    array = _filled(sizes, value, array, unknown, [*known, *finite], poison_value(dtype))
    return value if array is value.array else dataclasses.replace(value, array=array, unmasked=None)


def _filled(
    sizes: Sizes,
    value: Padded,
    array: Any,
    axes: Sequence[int],
    kept: Sequence[int],
    number: Any,
) -> Any:
    """``array`` with a number in the pad lanes of ``axes`` that are true ones on ``kept``."""
    if not axes:
        return array
    stays = sizes.valid(value.extents, axes)
    if kept:
        stays |= ~sizes.valid(value.extents, kept)
    return lax.select(stays, array, lax.full(array.shape, number, array.dtype))


def _largest(dtype: np.dtype) -> Any:
    """The largest finite number; for complex ones, in both parts."""
    if not jnp.issubdtype(dtype, np.inexact):
        return poison_value(dtype)
    most = jnp.finfo(dtype).max
    if jnp.issubdtype(dtype, np.complexfloating):
        return np.array(complex(most, most), dtype)
    return np.array(most, dtype)
