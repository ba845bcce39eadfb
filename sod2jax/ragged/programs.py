"""Padded programs of one example, compiled over rows, and differentiable inside transformations."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sod2jax import _compat, rewrite
from sod2jax._compat import Jaxpr
from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import UnsupportedPrimitiveError
from sod2jax.ir.program import Program
from sod2jax.ir.vocabulary import CALLBACKS, CALLS
from sod2jax.planning.specialise import Specialisation
from sod2jax.ragged import arrays
from sod2jax.ragged.batch import Batch
from sod2jax.ragged.batched import RowAxes, batched
from sod2jax.ragged.derivative import Differentiable
from sod2jax.ragged.plans import RowPlans
from sod2jax.stats import Counters


@dataclasses.dataclass(frozen=True, eq=False)
class RowSet:
    """Rows that run together.

    Attributes:
      rows: which of the batch.
      width: the number of rows to pad to; the outputs of the rows added mean nothing.
      true: int32[len(rows), k], the true sizes in the order of the program's symbols.
      present: bool[width], the rows that count in derivatives and sums; None for all.
    """

    rows: Sequence[int]
    width: int
    true: Any
    present: Any


class RowPrograms:
    """Runs programs over rows, each compiled once for a bucket.

    Args:
      plans: of the rows.
      pull: runs the pullback of a program, on (the program, the bucket, structure of its arguments,
        arguments of the pullback, their axes, true sizes, rows that count).
      counters: what there is to count.
    """

    def __init__(self, plans: RowPlans, pull: Callable[..., list[Any]], counters: Counters):
        self._plans, self._pull, self._counters = plans, pull, counters
        self._compiled: dict[Any, Callable[..., list[Any]]] = {}
        self._unsupported: dict[Specialisation, UnsupportedPrimitiveError] = {}

    def run(
        self,
        batch: Batch,
        specialisation: Specialisation,
        bucket: Bucket,
        axes: RowAxes,
        chosen: RowSet,
    ) -> list[Any]:
        """The padded outputs [width, ...] of rows that one program serves; pad lanes hold zeros.

        Args:
          batch: the inputs.
          specialisation: the program.
          bucket: the sizes to pad to.
          axes: which arrays have rows.
          chosen: the rows to run.

        Raises:
          UnsupportedPrimitiveError: a primitive has no exact padded form.
        """
        if specialisation in self._unsupported:
            raise self._unsupported[specialisation]
        program, rows, width = specialisation.analysis.program, chosen.rows, chosen.width
        _check_calls(program.jaxpr)
        shapes = rewrite.padded_shapes(program, program.region.below(bucket))
        inputs = batch.stacked(rows, width, shapes[: len(batch.columns)])
        true, present = arrays.take(chosen.true, range(len(rows)), width), chosen.present
        others = shapes[len(inputs) :]
        if axes.checked and others:
            inputs += _on_host(program, bucket, true, others)
        else:
            inputs += self._by_size(batch, rows, width, others)
        constants = list(program.constants)

        def plain(true: Any, present: Any, inputs: list[Any]) -> list[Any]:
            compiled = self._compile(specialisation, bucket, axes)
            return compiled(true, present, constants, inputs)

        concrete = None if axes.checked else (true, present)
        pull = functools.partial(self._pull, specialisation, bucket, batch.tree)
        run = Differentiable(program, axes, plain, pull, concrete) if batch.is_traced else plain
        try:
            return run(true, present, inputs)
        except UnsupportedPrimitiveError as error:
            self._unsupported[specialisation] = error
            raise

    def _compile(self, specialisation: Specialisation, bucket: Bucket, axes: RowAxes) -> Any:
        key = (specialisation, bucket, axes)
        if key not in self._compiled:
            self._compiled[key] = jax.jit(batched(specialisation.analysis, bucket, axes))
            self._counters.add(compiles=1)
        return self._compiled[key]

    def buckets(self, specialisation: Specialisation) -> list[Bucket]:
        """Those that a program runs in over rows."""
        ran = {bucket for program, bucket, _ in self._compiled if program == specialisation}
        return sorted(ran, key=lambda bucket: bucket.sizes)

    def _by_size(
        self, batch: Batch, rows: Sequence[int], width: int, shapes: Sequence[arrays.Shape]
    ) -> list[Any]:
        """The inputs of a program beyond the call's own: constants that vary with the sizes."""
        if not shapes:
            return []
        constants = [plan.constants for plan in self._plans.served(batch, rows)]
        return [
            arrays.stack(column, np.asarray(column[0]).dtype, shape, width)
            for column, shape in zip(zip(*constants, strict=True), shapes, strict=True)
        ]


def _on_host(
    program: Program, bucket: Bucket, true: Any, shapes: Sequence[arrays.Shape]
) -> list[Any]:
    """What the host computes, where the sizes of the rows, int32[width, k], are known to it late.

    Rows with sizes out of range hold zeros.
    """
    region, width = program.region.below(bucket), len(true)
    dtypes = [var.aval.dtype for var in program.numbers_by_variable]

    def compute(rows: np.ndarray) -> list[np.ndarray]:
        out = [np.zeros((width, *s), d) for s, d in zip(shapes, dtypes, strict=True)]
        for k, row in enumerate(np.asarray(rows).tolist()):
            sizes = dict(zip(program.symbols, row, strict=True))
            if region.contains(sizes):
                for array, value in zip(out, program.numbers_at(sizes), strict=True):
                    array[(k, *map(slice, value.shape))] = value
        return out

    specs = [jax.ShapeDtypeStruct((width, *s), d) for s, d in zip(shapes, dtypes, strict=True)]
    return list(jax.pure_callback(compute, specs, true, vmap_method="sequential"))


def _check_calls(jaxpr: Jaxpr, looped: bool = False) -> None:
    """Refuses callbacks that rows which run together would not make as each row alone does."""
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name in CALLBACKS and (looped or _compat.is_ordered(eqn)):
            raise UnsupportedPrimitiveError(
                name,
                _compat.source_line(eqn),
                "rows that run together have no order among them, and go through loops and "
                "branches as one; call it outside of those, without ordered=True",
            )
        for _, body in _compat.sub_jaxprs(eqn):
            _check_calls(body, looped or name not in CALLS)
