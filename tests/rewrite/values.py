"""Values with pad lanes of every layout, for the tests of sizes, masks and moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st

from sod2jax.ir import dims
from sod2jax.ir.dims import Dim, parse
from sod2jax.ir.region import Region
from sod2jax.rewrite import padded
from sod2jax.rewrite.padded import Extent
from sod2jax.rewrite.sizes import Sizes

A, B = parse("a"), parse("b")
FULL = {"a": 4, "b": 3}
REGION = Region(tuple((name, 1, size) for name, size in FULL.items()))

SIZES = st.fixed_dictionaries({n: st.integers(1, size) for n, size in FULL.items()})
DIMS = st.sampled_from([A, B, 2, 3, A + 1, A * B, dims.floordiv(A + 1, 2), dims.mod(A, 3) + 1])
LAYOUTS = st.lists(DIMS, min_size=1, max_size=3).map(padded.extent)


def sizes_of(true: Mapping[str, Any]) -> Sizes:
    """Sizes over the region of these tests."""
    return Sizes(true, REGION)


def traced(function: Callable[..., Any], true: Mapping[str, int], *arrays: Any) -> Any:
    """``function(true sizes, *arrays)``, compiled for all sizes, at some sizes."""

    def run(vector: Any, *inputs: Any) -> Any:
        return function({"a": vector[0], "b": vector[1]}, *inputs)

    return jax.jit(run)(np.array([true["a"], true["b"]], np.int32), *arrays)


def true_shape(shape: Sequence[Dim], true: Mapping[str, int]) -> tuple[int, ...]:
    """A shape at some sizes."""
    return tuple(int(dims.evaluate(d, true)) for d in shape)


def laid_out(layouts: Sequence[Extent], true: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """(array with NaN in its pad lanes, its true elements) for axes with these layouts."""
    sizes = sizes_of(FULL)
    factors = [f for layout in layouts for f in layout]
    elements = np.random.default_rng(0).normal(size=true_shape(factors, true)).astype(np.float32)
    array = np.full(sizes.sizes(factors), np.nan, np.float32)
    array[tuple(map(slice, elements.shape))] = elements
    shape = true_shape([dims.product(layout) for layout in layouts], true)
    return array.reshape([sizes.extent_size(layout) for layout in layouts]), elements.reshape(shape)


def corner(array: Any, shape: Sequence[int]) -> np.ndarray:
    """The true lanes of an array whose axes are prefixes."""
    return np.asarray(array)[tuple(map(slice, shape))]
