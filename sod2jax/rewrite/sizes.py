"""True and padded sizes while a program runs, and what follows from them for the lanes of axes."""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region, upper
from sod2jax.rewrite import padded
from sod2jax.rewrite.padded import Extent


def broadcast_along(vector: Any, axis: int, shape: Sequence[int]) -> Any:
    """Broadcasts a vector so that it runs along one axis of ``shape``."""
    return lax.broadcast_in_dim(vector, tuple(shape), (axis,))


class Sizes:
    """Sizes over one region, with one vector of true sizes.

    Values computed from true sizes are cached, and the cache is scoped: what was computed inside
    the body of a loop or a branch belongs to that trace and is dropped when ``scope`` ends.

    Args:
      true: true size of each symbol, a traced int32 scalar.
      region: the sizes that the executable must serve; it fixes every padded size.
    """

    def __init__(self, true: Mapping[str, Any], region: Region):
        self.region = region
        # XLA folds what is made of a size that is always the same, NaN included, as jit does.
        always = {name: low for name, low, high in region.ranges if low == high}
        self._true = {
            name: jnp.asarray(always[name], np.int32) if name in always else size
            for name, size in true.items()
        }
        self._cache: collections.ChainMap[Any, Any] = collections.ChainMap()

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Brackets the tracing of a body (loop, branch): its values must not leak out of it."""
        outer = self._cache
        self._cache = outer.new_child()
        try:
            yield
        finally:
            self._cache = outer

    def _cached(self, key: Any, compute: Callable[[], Any], alive: Any = None) -> Any:
        """``compute()`` once per key and trace; ``alive`` keeps what the key has the id of."""
        if key not in self._cache:
            self._cache[key] = (alive, compute())
        return self._cache[key][1]

    def size(self, dim: Dim) -> int:
        """N(d): the padded size of an axis of dimension ``dim``."""
        return dim if isinstance(dim, int) else upper(dim, self.region)

    def sizes(self, shape: Iterable[Dim]) -> tuple[int, ...]:
        """N(d) of several dimensions."""
        return tuple(map(self.size, shape))

    def extent_size(self, layout: Extent) -> int:
        """Size of an array axis with this layout."""
        return int(np.prod([self.size(factor) for factor in layout], dtype=np.int64))

    def true(self, dim: Dim) -> Any:
        """The true size of a dimension: an ``int``, or an int32 scalar computed at run time."""
        if isinstance(dim, int):
            return dim
        return self._cached(("true", dim), lambda: dims.evaluate(dims.wrapped(dim), self._true))

    def set_true_size(self, name: str, count: Any) -> None:
        """From here on, ``count`` is the true size of a symbol.

        A count outside the region of the program means nothing: the run is discarded.
        """
        low, high = self.region.range(name)
        self._true[name] = jnp.clip(count, low, high)

    def coordinates(self, layout: Extent) -> list[Any]:
        """int32[N] for each factor of an axis: its index at every lane of the array."""
        rest = lax.iota(np.int32, self.extent_size(layout))
        out = []
        for factor in reversed(layout[1:]):
            size = np.int32(self.size(factor))
            out.append(lax.rem(rest, size))
            rest = lax.div(rest, size)
        return [rest, *reversed(out)]

    def lanes(self, layout: Extent) -> Any:
        """bool[N]: which lanes of an axis are true ones."""
        return self._cached(("lanes", layout), lambda: self._lanes(layout))

    def _lanes(self, layout: Extent) -> Any:
        inside = [
            lax.lt(coordinate, lax.broadcast(self.true(factor), coordinate.shape))
            for coordinate, factor in zip(self.coordinates(layout), layout, strict=True)
            if dims.is_symbolic(factor)
        ]
        return functools.reduce(lax.bitwise_and, inside)

    def valid(self, extents: Sequence[Extent], axes: Iterable[int]) -> Any:
        """Bool array over ``extents``: lanes that are true ones on all of ``axes``."""
        shape = tuple(map(self.extent_size, extents))
        # Only the lanes of each axis are remembered: a branch that shared all of this with others
        # would be given it as an array as large as what it masks.
        lanes = [
            broadcast_along(self.lanes(extents[axis]), axis, shape)
            for axis in axes
            if padded.is_padded(extents[axis])
        ]
        return functools.reduce(lax.bitwise_and, lanes) if lanes else lax.full(shape, True)

    def flat_index(self, layouts: Sequence[Extent]) -> Any:
        """int32[N0, N1, ...]: row-major index among the *true* elements, at every lane of the axes.

        At pad lanes the number means nothing.
        """
        shape = tuple(self.extent_size(layout) for layout in layouts)
        index, stride = jnp.zeros(shape, np.int32), 1
        for axis in reversed(range(len(layouts))):
            layout = layouts[axis]
            for factor, coordinate in zip(
                reversed(layout), reversed(self.coordinates(layout)), strict=True
            ):
                index = index + broadcast_along(coordinate * jnp.int32(stride), axis, shape)
                stride = stride * self.true(factor)
        return index

    def position(self, index: Any, layouts: Sequence[Extent]) -> Any:
        """Lane number, among the flattened axes, of the true element with a row-major index.

        The inverse of ``flat_index``.
        """
        factors = [factor for layout in layouts for factor in layout]
        position, stride, rest = jnp.zeros_like(index), 1, index
        for factor in reversed(factors[1:]):
            count = jnp.int32(self.true(factor))
            position = position + lax.rem(rest, jnp.broadcast_to(count, rest.shape)) * jnp.int32(
                stride
            )
            rest = lax.div(rest, jnp.broadcast_to(count, rest.shape))
            stride *= self.size(factor)
        return position + rest * jnp.int32(stride)
