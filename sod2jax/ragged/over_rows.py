"""A function of one example, over the rows of a batch: in groups, or one by one.

Rows that one program serves run together; the others run with their exact shapes.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sod2jax import report, rewrite
from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import UnsupportedPrimitiveError
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.vocabulary import CALLBACKS
from sod2jax.options import Options
from sod2jax.planning.exact import Exact, Fallbacks
from sod2jax.planning.specialise import Specialisation
from sod2jax.ragged import arrays
from sod2jax.ragged.batch import Batch
from sod2jax.ragged.batched import RowAxes
from sod2jax.ragged.derivative import pullback, restacked
from sod2jax.ragged.plans import RowPlans
from sod2jax.ragged.programs import RowPrograms, RowSet
from sod2jax.runtime import plan
from sod2jax.runtime.dispatch import WholePlan
from sod2jax.stats import Counters

Member = tuple[int, WholePlan]  # a row of a group, and its plan


class OverRows:
    """Runs a function of one example over rows.

    Args:
      fun: the function.
      name: what to call it.
      options: shapes and constraints of one example.
      fallbacks: is told why rows run with exact shapes; may raise instead.
      counters: what there is to count.
      ladder: the numbers of rows to pad to; None for powers of two.

    Attributes:
      plans: which program serves a row.
      programs: runs one program over rows.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        name: str,
        options: Options,
        fallbacks: Fallbacks,
        counters: Counters,
        ladder: tuple[int, ...] | None = None,
    ):
        self._fun, self._name, self._options = fun, name, options
        self._fallbacks, self._counters, self._ladder = fallbacks, counters, ladder
        self._exact = jax.jit(fun)
        self.plans = RowPlans(fun, name, options, counters)
        self.programs = RowPrograms(self.plans, self._pull, counters)
        self._pullbacks: dict[Specialisation, OverRows] = {}
        self._bounded: dict[Any, OverRows] = {}

    def within(self, most: Mapping[str, int]) -> OverRows:
        """The function for sizes up to ``most`` only, for what must know bounds."""
        key = tuple(sorted(most.items()))
        if key not in self._bounded:
            bounds = tuple(Comparison.parse(f"{name} <= {size}") for name, size in key)
            constraints = (*self._options.constraints, *bounds)
            options = dataclasses.replace(self._options, constraints=constraints)
            self._bounded[key] = self._like(self._fun, self._name, options, self._ladder)
        return self._bounded[key]

    def _like(
        self,
        fun: Callable[..., Any],
        name: str,
        options: Options,
        ladder: tuple[int, ...] | None = None,
    ) -> OverRows:
        """Another function, whose runs are told of and counted with those of this one."""
        return OverRows(fun, name, options, self._fallbacks, self._counters, ladder)

    def described(self) -> list[str]:
        """A report of each program, and of those that gradients and bounds need."""
        own = [
            report.describe(s.analysis, s.regime, s.trust, s.ready, self.programs.buckets(s))
            for s in self.plans.specialisations
        ]
        others = (*self._bounded.values(), *self._pullbacks.values())
        return own + [text for other in others for text in other.described()]

    def results(self, batch: Batch, exact: Exact | None = None) -> list[tuple[Any, list[Any]]]:
        """(tree, leaves) of the result of every row, at its true shape; sizes must be concrete.

        Args:
          batch: the inputs.
          exact: why every row runs with its exact shape, if they do.

        Raises:
          ShapeError: the shape of a row breaks a spec or a constraint.
        """
        groups: dict[Specialisation, list[Member]] = collections.defaultdict(list)
        alone: dict[Exact, list[int]] = collections.defaultdict(list)
        if exact is not None:
            alone[exact] = list(range(batch.count))
        for row, made in enumerate(self.plans.of(batch) if exact is None else ()):
            if isinstance(made, Exact):
                alone[made].append(row)
            else:
                groups[made.specialisation].append((row, made.call))
        results: dict[int, tuple[Any, list[Any]]] = {}
        for specialisation, members in groups.items():
            for chunk in self._chunks(members):
                results |= self._run_group(batch, specialisation, chunk)
        for reason, rows in alone.items():
            results |= self._run_exactly(batch, rows, reason)
        return [results[row] for row in range(batch.count)]

    def padded(
        self, batch: Batch, specialisation: Specialisation, shapes: Sequence[arrays.Shape]
    ) -> list[Any]:
        """The outputs of all rows, which one program serves, [B, ...] as padded as ``shapes``.

        Raises:
          UnsupportedPrimitiveError: a primitive has no exact padded form.
        """
        members = list(enumerate(self.plans.served(batch)))
        chunks = [self._run_chunk(batch, specialisation, part) for part in self._chunks(members)]
        return [
            arrays.joined(pieces, batch.count, shape)
            for pieces, shape in zip(zip(*chunks, strict=True), shapes, strict=True)
        ]

    def every_row(
        self, batch: Batch, bucket: Bucket, axes: RowAxes, true: Any, present: Any
    ) -> list[Any]:
        """The outputs over all rows of padded arguments, padded or summed; see ``RowPrograms``.

        Raises:
          TraceError: the sizes are traced, and decide which program is the right one.
          UnsupportedPrimitiveError: they are traced, and a primitive has no exact padded form.
        """
        if batch.sizes is None:
            specialisation = self.plans.covering(batch, bucket)
        else:
            specialisation = self.plans.only(batch)
        if specialisation is not None and _symbols(specialisation) == set(bucket):
            every = RowSet(range(batch.count), batch.count, true, present)
            try:
                return self.programs.run(batch, specialisation, bucket, axes, every)
            except UnsupportedPrimitiveError:
                if batch.sizes is None:
                    raise
        return restacked([leaves for _, leaves in self.results(batch)], axes, present)

    def _run_exactly(
        self, batch: Batch, rows: Sequence[int], exact: Exact
    ) -> dict[int, tuple[Any, list[Any]]]:
        """The only way to an exact run."""
        return self._fallbacks.run(
            exact, lambda: {row: _flat(self._exact(*batch.row(row))) for row in rows}
        )

    def _run_group(
        self, batch: Batch, specialisation: Specialisation, members: Sequence[Member]
    ) -> dict[int, tuple[Any, list[Any]]]:
        rows = [row for row, _ in members]
        try:
            outputs = self._run_chunk(batch, specialisation, members)
        except UnsupportedPrimitiveError as error:
            return self._run_exactly(batch, rows, Exact(error))
        columns = [
            arrays.unstack(y, [made.out_shapes[k] for _, made in members])
            for k, y in enumerate(outputs)
        ]
        return {
            row: (made.out_tree, [column[at] for column in columns])
            for at, (row, made) in enumerate(members)
        }

    def _run_chunk(
        self, batch: Batch, specialisation: Specialisation, members: Sequence[Member]
    ) -> list[Any]:
        """The padded outputs of some rows, from the bucket that holds them."""
        program, ladders = specialisation.analysis.program, specialisation.analysis.ladders
        true = np.stack([row.sizes for _, row in members])
        most = dict(zip(program.symbols, map(int, true.max(0)), strict=True))
        bucket = ladders.bucket(most)
        rows = [row for row, _ in members]
        width = self._width(len(rows))
        called = {eqn.primitive.name for eqn in equations(program.jaxpr)} & CALLBACKS
        if called and not batch.is_traced:
            width = len(rows)  # a row added would call, too
        # Under a transformation every number of rows must lead to one and the same program.
        present = np.arange(width) < len(rows) if batch.is_traced else None
        axes = RowAxes.with_outputs(batch.mapped, len(program.out_shapes))
        chosen = RowSet(rows, width, true, present)
        outputs = self.programs.run(batch, specialisation, bucket, axes, chosen)
        if not batch.is_traced:
            shapes = rewrite.padded_shapes(program, program.region.below(bucket))
            padded = plan.elements(program, most, shapes)[1] * width
            self._counters.hit(bucket, sum(row.elements[0] for _, row in members), padded)
        return outputs

    def _chunks(self, members: Sequence[Member]) -> list[Sequence[Member]]:
        most = len(members) if self._ladder is None else self._ladder[-1]
        return [members[start : start + most] for start in range(0, len(members), most)]

    def _width(self, count: int) -> int:
        if self._ladder is None:
            return 1 << (count - 1).bit_length()
        return next(width for width in self._ladder if width >= count)

    def _pull(
        self,
        specialisation: Specialisation,
        bucket: Bucket,
        tree: Any,
        batch: Batch,
        axes: RowAxes,
        true: Any,
        present: Any,
    ) -> list[Any]:
        """Runs the pullback of a program, on ``batch``."""
        if specialisation not in self._pullbacks:
            pull, options = pullback(self._fun, specialisation, tree)
            name = f"the gradient of {self._name}"
            self._pullbacks[specialisation] = self._like(pull, name, options)
        return self._pullbacks[specialisation].every_row(batch, bucket, axes, true, present)


def _symbols(specialisation: Specialisation) -> set[str]:
    return set(specialisation.analysis.program.symbols)


def _flat(result: Any) -> tuple[Any, list[Any]]:
    leaves, tree = jax.tree.flatten(result)
    return tree, leaves
