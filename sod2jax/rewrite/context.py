"""What a rewrite rule may ask for: sizes, masks, moves of padded lanes, and the equation itself."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.errors import UnsupportedPrimitiveError
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region
from sod2jax.rdp import ValueRange
from sod2jax.rewrite import masks, moves, padded, placement
from sod2jax.rewrite.births import Readers
from sod2jax.rewrite.masks import MaskRecord
from sod2jax.rewrite.padded import Padded
from sod2jax.rewrite.placement import Birth, Demand, Notes, Origin, Wish
from sod2jax.rewrite.poison import poisoned
from sod2jax.rewrite.sizes import Sizes
from sod2jax.target import Target

_PLACED = "what reads it later needs them so, and there they would be dearer"
_BORN = "what reads it later needs them so, and would have an array of its own"


class Context(Sizes):
    """Services for rewrite rules: those of ``Sizes``, and what takes values and equations.

    Args:
      true: true size of each symbol, a traced int32 scalar.
      region: the sizes that the executable must serve; it fixes every padded size.
      interpret: runs a jaxpr on padded values (the engine).
      value_range: what the analysis knows of an operand's integers.
      target: what the program is compiled for.
      shared: arguments that stand for constants, by the constants' ids.
      deep_poison: whether pad lanes that nothing is known of are overwritten, for tests.
      wished: masks to have, from an earlier rewrite.
    """

    def __init__(
        self,
        true: Mapping[str, Any],
        region: Region,
        interpret: Callable[[Context, Jaxpr, Sequence[Any], Sequence[Padded]], list[Padded]],
        value_range: ValueRange,
        target: Target,
        shared: Mapping[int, Any] | None = None,
        *,
        deep_poison: bool = False,
        wished: Sequence[Wish | Birth] = (),
    ):
        super().__init__(true, region)
        self.value_range = value_range
        self.target = target
        self.notes = Notes()
        self.eqns: tuple[JaxprEqn, ...] = ()
        self._interpret = interpret
        self._shared = shared or {}
        self._deep_poison = deep_poison
        self._origins: dict[int, Origin] = {}
        self._readers = Readers()
        self._is_first = not wished
        self._wished: dict[int, dict[Demand, None]] = collections.defaultdict(dict)
        self._born: dict[int, list[Birth]] = collections.defaultdict(list)
        for wish in wished:
            if isinstance(wish, Birth):
                self._born[id(wish.eqn)].append(wish)
            else:
                self._wished[id(wish.eqn)][wish.demand] = None

    # Masks

    def mask(
        self, value: Padded, axes: Iterable[int], fill: Any, reason: str, *, strict: bool = False
    ) -> Padded:
        """``value`` with ``fill`` in the pad lanes of ``axes``, unless it is known to be there.

        Rows of NaN (see ``Fill.or_nan_row``) pass unless ``strict``: say so where they do harm.
        """
        axes = tuple(k for k in axes if padded.is_padded(value.extents[k]))
        settled = tuple(k for k in axes if masks.holds(value, k, fill, strict))
        missing = tuple(k for k in axes if k not in settled)
        self._record(value, missing, fill, reason, emitted=True)
        self._record(value, settled, fill, reason, emitted=False)
        if not missing:
            return value
        if len(missing) == 1 and self._is_first:  # wishes are fulfilled once
            self.notes.wishes += placement.wishes(self._origin, value, missing[0], fill)
        here = reason not in (_PLACED, _BORN)
        self.notes.cost += placement.cost(value, missing[-1], is_reduced=here)
        self._readers.note_mask(self.eqn, value, missing, fill)
        return self._overwrite(value, missing, fill)

    def placed(self, eqn: JaxprEqn, operands: Sequence[Padded]) -> list[Padded]:
        """An equation's operands with the masks that were wished for."""
        operands = list(operands)
        for demand in self._wished.get(id(eqn), ()):
            operands[demand.operand] = self.mask(
                operands[demand.operand], (demand.axis,), demand.fill, _PLACED
            )
        return operands

    def born(self, eqn: JaxprEqn, results: Sequence[Padded]) -> list[Padded]:
        """An equation's results with the masks that they shall have from the start."""
        results = list(results)
        for birth in self._born.get(id(eqn), ()):
            value = results[birth.result]
            axes = tuple(k for k in birth.axes if not masks.holds(value, k, birth.fill, True))
            masked = self.mask(value, axes, birth.fill, _BORN, strict=True)
            # Nobody shall read the array without.
            results[birth.result] = dataclasses.replace(masked, unmasked=None)
        return results

    def note_reads(self, values: Sequence[Padded], eqn: JaxprEqn | None = None) -> None:
        """Remembers that an equation, or the end of a body, reads values as they are."""
        self._readers.note_reads(eqn, values)

    def note_births(self) -> None:
        """Notes which values had better be masked at birth."""
        if self._is_first:
            self.notes.births += self._readers.births(self._origin)

    def _origin(self, value: Padded) -> Origin | None:
        return self._origins.get(value.key)

    def note_origin(
        self, value: Padded, eqn: JaxprEqn, operands: Sequence[Padded], result: int
    ) -> None:
        """Remembers what made a value."""
        inner = self._origins.get(value.key)
        if inner is not None and any(p.key == value.key for p in operands):
            return  # it was there before
        by = (eqn, tuple(operands)) if inner is None else (inner.eqn, inner.operands)
        self._origins[value.key] = Origin(*by, eqn, result)

    def _overwrite(self, value: Padded, axes: Sequence[int], fill: Any) -> Padded:
        """The mask, once per value and fill."""
        key = ("mask", value.key, id(value.array), tuple(axes), repr(fill))
        masked = self._cached(key, lambda: masks.overwritten(self, value, axes, fill), value.array)
        self._cache["latest", value.key] = (None, masked)
        return masked

    def latest(self, value: Padded) -> Padded:
        """The value with the pad lanes that some consumer has had overwritten already."""
        return self._cache.get(("latest", value.key), (None, value))[1]

    def ready(self, value: Padded) -> Padded:
        """A value as others may read it: with poison in unknown pad lanes, if asked for."""
        return poisoned(self, value) if self._deep_poison else value

    def _record(
        self, value: Padded, axes: Sequence[int], fill: Any, reason: str, *, emitted: bool
    ) -> None:
        if not axes:
            return
        shape = tuple(value.shape[k] for k in axes)
        source = _compat.source_line(*self.eqns)
        name = self.eqn.primitive.name
        self.notes.masks.append(
            MaskRecord(name, source, shape, fill, reason, value.nbytes, emitted)
        )

    # Moves

    def relayout(self, value: Padded, start: int, stop: int, shape: Sequence[Dim]) -> Padded:
        """Lays the true elements of axes ``start:stop``, in order, out on new axes of ``shape``."""
        key = ("relayout", value.key, id(value.array), start, stop, tuple(shape))
        fuses = self.target.fuses_gathers
        return self._cached(
            key, lambda: moves.relayout(self, value, start, stop, shape, fuses), value.array
        )

    def compact(self, value: Padded, axes: Iterable[int] | None = None) -> Padded:
        """The value with a prefix layout on ``axes`` (all by default)."""
        for axis in range(value.rank) if axes is None else axes:
            if not padded.is_prefix(value.extents[axis]):
                value = self.relayout(value, axis, axis + 1, (value.shape[axis],))
        return value

    def align(self, places: Sequence[tuple[Padded, int]]) -> list[Padded]:
        """Gives the named axis of every operand one common layout; true sizes must agree."""
        layouts = {value.extents[axis] for value, axis in places}
        if len(layouts) == 1:
            return [value for value, _ in places]
        return [self.compact(value, (axis,)) for value, axis in places]

    # Equations

    @property
    def eqn(self) -> JaxprEqn:
        """The current equation; ``eqns`` has it first, then those that it stands in."""
        return self.eqns[0]

    def run(self, jaxpr: Jaxpr, args: Sequence[Padded]) -> list[Padded]:
        """Rewrites a jaxpr inline; a closed one brings its constants."""
        constants = [self._shared.get(id(c), c) for c in _compat.constants(jaxpr)]
        return self._interpret(self, jaxpr, constants, args)

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
