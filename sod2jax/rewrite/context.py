"""What a rewrite rule may ask for: sizes, masks, and moves of padded lanes."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax._compat import Jaxpr
from sod2jax.errors import UnsupportedPrimitiveError
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region, upper
from sod2jax.rewrite import padded
from sod2jax.rewrite.padded import Extent, Padded
from sod2jax.target import Target


@dataclasses.dataclass(frozen=True)
class MaskRecord:
    """One mask that a program needs, or one that the fill lattice made unnecessary.

    Attributes:
      primitive: the consumer that could have seen the pad lanes.
      source: the user's line that bound it.
      axes: true sizes of the axes concerned.
      fill: what the consumer needs the pad lanes to hold.
      reason: why they would be seen.
      emitted: False if the pad lanes were known to hold the fill already.
    """

    primitive: str
    source: str
    axes: tuple[Dim, ...]
    fill: Any
    reason: str
    emitted: bool

    def __str__(self) -> str:
        axes = ", ".join(map(str, self.axes))
        done = f"filled with {self.fill}" if self.emitted else f"hold {self.fill} already"
        return f"{self.primitive} at {self.source}: pad lanes of {axes} {done}; {self.reason}"


class Context:
    """Services for rewrite rules, over one region of sizes and one vector of true sizes.

    Values computed from true sizes are cached, and the cache is scoped: what was computed inside
    the body of a loop or a branch belongs to that trace and is dropped when ``scope`` ends.

    Args:
      sizes: true size of each symbol, a traced int32 scalar.
      region: the sizes that the executable must serve; it fixes every padded size.
      interpret: runs a jaxpr on padded values (the engine).
      value_range: (smallest, largest) true element of an operand, where the analysis knows it.
      target: what the program is compiled for.
      shared: arguments that stand for constants, by the constants' ids.
    """

    def __init__(
        self,
        sizes: Mapping[str, Any],
        region: Region,
        interpret: Callable[[Context, Any, Sequence[Any], Sequence[Padded]], list[Padded]],
        value_range: Callable[[Any], tuple[Dim, Dim] | None],
        target: Target,
        shared: Mapping[int, Any] | None = None,
    ):
        self.region = region
        self.value_range = value_range
        self.target = target
        self.records: list[MaskRecord] = []
        self.eqns: tuple[Any, ...] = ()
        self._sizes = dict(sizes)
        self._interpret = interpret
        self._shared = shared or {}
        self._cache: collections.ChainMap[Any, Any] = collections.ChainMap()

    @property
    def eqn(self) -> Any:
        """The current equation; ``eqns`` has it first, then those that it stands in."""
        return self.eqns[0]

    # Sizes

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
        return self._cached(("true", dim), lambda: dims.evaluate(dim, self._sizes))

    def measure(self, name: str, count: Any) -> None:
        """From here on, ``count`` is the true size of a symbol.

        A count outside the region of the program means nothing: the run is discarded.
        """
        low, high = self.region.range(name)
        self._sizes[name] = jnp.clip(count, low, high)

    # Traces

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Brackets the tracing of a body (loop, branch): its values must not leak out of it."""
        outer = self._cache
        self._cache = outer.new_child()
        try:
            yield
        finally:
            self._cache = outer

    def run(self, jaxpr: Jaxpr, args: Sequence[Padded]) -> list[Padded]:
        """Rewrites a jaxpr inline; a closed one brings its constants."""
        constants = [self._shared.get(id(c), c) for c in _compat.constants(jaxpr)]
        return self._interpret(self, jaxpr, constants, args)

    def _cached(self, key: Any, compute: Callable[[], Any], alive: Any = None) -> Any:
        """``compute()`` once per key and trace; ``alive`` keeps what the key has the id of."""
        if key not in self._cache:
            self._cache[key] = (alive, compute())
        return self._cache[key][1]

    # Masks

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

    def coordinates(self, layout: Extent) -> list[Any]:
        """int32[N] for each factor of an axis: its index at every lane of the array."""
        rest = lax.iota(np.int32, self.extent_size(layout))
        out = []
        for factor in reversed(layout[1:]):
            size = np.int32(self.size(factor))
            out.append(lax.rem(rest, size))
            rest = lax.div(rest, size)
        return [rest, *reversed(out)]

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
                index = index + self.along(coordinate * jnp.int32(stride), axis, shape)
                stride = stride * self.true(factor)
        return index

    def along(self, vector: Any, axis: int, shape: Sequence[int]) -> Any:
        """Broadcasts a vector so that it runs along one axis of ``shape``."""
        return lax.broadcast_in_dim(vector, tuple(shape), (axis,))

    def mask(
        self, value: Padded, axes: Iterable[int], fill: Any, reason: str, *, strict: bool = False
    ) -> Padded:
        """``value`` with ``fill`` in the pad lanes of ``axes``, unless it is known to be there.

        Rows of NaN (see ``Fill.or_nan_row``) pass unless ``strict``: say so where they do harm.
        """
        axes = tuple(k for k in axes if padded.is_padded(value.extents[k]))
        known = [k for k in axes if value.fill(k).is_known(fill)]
        settled = [k for k in known if not (strict and value.fill(k).or_nan_row)]
        missing = tuple(k for k in axes if k not in settled)
        for group, emitted in (
            (missing, True),
            (tuple(k for k in axes if k not in missing), False),
        ):
            if group:
                self._record(value, group, fill, reason, emitted)
        return self.overwrite(value, missing, fill) if missing else value

    def overwrite(self, value: Padded, axes: Sequence[int], fill: Any) -> Padded:
        """``value`` with ``fill`` in the pad lanes of ``axes``, once per value and fill."""
        key = ("mask", value.key, id(value.array), tuple(axes), repr(fill))
        masked = self._cached(key, lambda: self._overwrite(value, axes, fill), value.array)
        self._cache["latest", value.key] = (None, masked)
        return masked

    def _overwrite(self, value: Padded, axes: Sequence[int], fill: Any) -> Padded:
        new = padded.constant_fill(fill)
        # Lanes that are pad lanes on a masked and on a kept axis hold the new fill.
        kept = {k: padded.either(f, new) for k, f in value.fills.items() if k not in axes}
        kept = {k: f for k, f in kept.items() if f != padded.ANYTHING}
        source = value.array if kept or value.unmasked is None else value.unmasked
        shape = source.shape
        valid = self.valid(value.extents, axes)
        filler = lax.full(shape, fill, source.dtype)
        array = lax.select(valid, source, filler)
        return value.replace(
            array=array,
            fills={**kept, **dict.fromkeys(axes, new)},
            row=None,
            unmasked=source,
            constant=None,
            nonnegative=value.nonnegative and fill >= 0,
        )

    def valid(self, extents: Sequence[Extent], axes: Iterable[int]) -> Any:
        """Bool array over ``extents``: lanes that are true ones on all of ``axes``."""
        key = ("valid", tuple(extents), tuple(axes))
        return self._cached(key, lambda: self._valid(extents, axes))

    def _valid(self, extents: Sequence[Extent], axes: Iterable[int]) -> Any:
        shape = tuple(map(self.extent_size, extents))
        lanes = [
            self.along(self.lanes(extents[axis]), axis, shape)
            for axis in axes
            if padded.is_padded(extents[axis])
        ]
        return functools.reduce(lax.bitwise_and, lanes) if lanes else lax.full(shape, True)

    def latest(self, value: Padded) -> Padded:
        """The value with the pad lanes that some consumer has had overwritten already."""
        return self._cache.get(("latest", value.key), (None, value))[1]

    def _record(
        self, value: Padded, axes: Sequence[int], fill: Any, reason: str, emitted: bool
    ) -> None:
        sizes = tuple(value.shape[k] for k in axes)
        source = _compat.source_line(*self.eqns)
        name = self.eqn.primitive.name
        self.records.append(MaskRecord(name, source, sizes, fill, reason, emitted))

    # Moves

    def compact(self, value: Padded, axes: Iterable[int] | None = None) -> Padded:
        """The value with a prefix layout on ``axes`` (all by default)."""
        for axis in range(value.rank) if axes is None else axes:
            if not padded.is_prefix(value.extents[axis]):
                value = self.relayout(value, axis, axis + 1, (value.shape[axis],))
        return value

    def unify(self, operands: Sequence[tuple[Padded, int]]) -> list[Padded]:
        """Gives the named axis of every operand one common layout; true sizes must agree."""
        layouts = {value.extents[axis] for value, axis in operands}
        if len(layouts) == 1:
            return [value for value, _ in operands]
        return [self.compact(value, (axis,)) for value, axis in operands]

    def relayout(self, value: Padded, start: int, stop: int, shape: Sequence[Dim]) -> Padded:
        """Lays the true elements of axes ``start:stop``, in order, out on new axes of ``shape``."""
        key = ("relayout", value.key, id(value.array), start, stop, tuple(shape))
        return self._cached(key, lambda: self._relayout(value, start, stop, shape), value.array)

    def _relayout(self, value: Padded, start: int, stop: int, shape: Sequence[Dim]) -> Padded:
        layouts = value.extents[start:stop]
        target = tuple((d,) for d in shape)
        source = self._position(self.flat_index(target), layouts)
        lanes = math.prod(value.array.shape[start:stop])
        merged = (*value.array.shape[:start], lanes, *value.array.shape[stop:])
        moved = padded.pick(lax.reshape(value.array, merged), source, start)
        shift = len(target) - (stop - start)
        fills = {
            k if k < start else k + shift: f
            for k, f in value.fills.items()
            if not start <= k < stop
        }
        extents = (*value.extents[:start], *target, *value.extents[stop:])
        return Padded(moved, extents, fills, constant=value.constant, nonnegative=value.nonnegative)

    def _position(self, index: Any, layouts: Sequence[Extent]) -> Any:
        """Lane number, among the flattened axes, of the true element with a row-major index."""
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

    def take(self, value: Padded, axis: int, index: Any, dim: Dim) -> Padded:
        """Lanes ``index`` (int32[N(dim)]) of a prefix axis, as a prefix axis of true size ``dim``.

        Indices of pad lanes may be anything.
        """
        value = self.compact(value, (axis,))
        moved = padded.pick(value.array, index, axis)
        extents = (*value.extents[:axis], (dim,), *value.extents[axis + 1 :])
        fills = {k: f for k, f in value.fills.items() if k != axis}
        return Padded(moved, extents, fills, constant=value.constant, nonnegative=value.nonnegative)

    def grow(self, value: Padded, axis: int, size: int) -> Any:
        """The array of ``value`` with at least ``size`` lanes on an axis; new lanes hold zeros."""
        missing = size - value.array.shape[axis]
        if missing <= 0:
            return value.array
        widths = [(0, missing if k == axis else 0, 0) for k in range(value.rank)]
        return lax.pad(value.array, jnp.zeros((), value.array.dtype), widths)

    # Equations

    def bind(self, *arrays: Any, **changed: Any) -> list[Any]:
        """Binds the current equation's primitive on arrays, with some parameters changed."""
        return _compat.bind(self.eqn, *arrays, **changed)

    def out_shape(self, index: int = 0) -> tuple[Dim, ...]:
        """True shape of an output of the current equation."""
        return tuple(map(dims.from_jax, self.eqn.outvars[index].aval.shape))

    def refuse(self, remedy: str) -> UnsupportedPrimitiveError:
        """The error for an equation that cannot be made exact on padded arrays."""
        return UnsupportedPrimitiveError(
            self.eqn.primitive.name, _compat.source_line(*self.eqns), remedy
        )
