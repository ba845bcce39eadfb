"""A function of one example, over the rows of a batch: plans, groups of rows, exact shapes.

Rows that one program serves run together, see ``batched``; their derivatives are in ``derivative``.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sod2jax import rewrite
from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import (
    DataDependentSizeError,
    InvariantError,
    ShapeError,
    TraceError,
    UnsupportedPrimitiveError,
)
from sod2jax.ir import dims
from sod2jax.options import Options
from sod2jax.planning.planner import Planner
from sod2jax.planning.specialise import Specialisation
from sod2jax.ragged import arrays, sizes
from sod2jax.ragged.batch import Batch
from sod2jax.ragged.batched import Layout, batched
from sod2jax.ragged.derivative import Differentiable, pullback, restacked
from sod2jax.runtime.dispatch import WholePlan
from sod2jax.stats import Counters
from sod2jax.tracing import regimes


@dataclasses.dataclass(frozen=True, eq=False)
class RowPlan:
    """The program that serves a row, and the plan of the row alone."""

    specialisation: Specialisation
    call: WholePlan


class Rows:
    """Runs a function of one example over rows.

    Args:
      fun: the function.
      name: what to call it.
      options: shapes and constraints of one example.
      fall_back: is told why rows run with exact shapes; may raise instead.
      ladder: the numbers of rows to pad to; None for powers of two.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        name: str,
        options: Options,
        fall_back: Callable[[str], None],
        ladder: tuple[int, ...] | None = None,
    ):
        self._fun, self._name, self._options = fun, name, options
        self._fall_back, self._ladder = fall_back, ladder
        self._refusals: list[str] = []
        self._planner = Planner(
            fun, name, options, Counters(), lambda error: self._refusals.append(str(error))
        )
        self._exact = jax.jit(fun)
        self._plans: dict[Any, dict[Any, RowPlan | None]] = {}
        self._bases: dict[Any, regimes.Regime] = {}
        self._references: dict[Any, Specialisation] = {}
        self._batched: dict[Any, Callable[..., list[Any]]] = {}
        self._pullbacks: dict[Specialisation, Rows] = {}
        self._unsupported: dict[Specialisation, UnsupportedPrimitiveError] = {}

    # Plans

    def base(self, tree: Any, avals: tuple[Any, ...]) -> regimes.Regime:
        """What the specs alone say of one example, given its structure and abstract leaves."""
        if (tree, avals) not in self._bases:
            structs = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in avals]
            args = jax.tree.unflatten(tree, structs)
            self._bases[tree, avals] = self._planner.base(self._planner.read(args, {}))[0]
        return self._bases[tree, avals]

    def plans(self, batch: Batch) -> list[RowPlan | None]:
        """The plan for every row; None to run it with exact shapes.

        Raises:
          ShapeError: its shape breaks a spec or a constraint.
        """
        known = self._plans.setdefault(batch.key, {})
        out = []
        for row in range(batch.count):
            key = batch.row_key(row)
            if key not in known:
                try:
                    known[key] = self._plan(batch, batch.shapes(row))
                except ShapeError as error:
                    raise ShapeError(f"example {row}: {error}") from error
            out.append(known[key])
        return out

    def _plan(self, batch: Batch, shapes: Sequence[arrays.Shape]) -> RowPlan | None:
        args = jax.tree.unflatten(batch.tree, batch.specs(shapes))
        choice = self._planner.choose(self._planner.read(args, {}))
        if choice is None:
            return None
        if not isinstance(choice.plan, WholePlan):
            raise DataDependentSizeError(
                f"{self._name} makes sizes that depend on values, which differ from row to row: "
                "decorate it with sod2jax.optimize and call it row by row"
            )
        return RowPlan(choice.specialisation, choice.plan)

    def reference(self, batch: Batch, most: Mapping[str, int]) -> Specialisation:
        """The program for the largest sizes below ``most``.

        Raises:
          TraceError: it cannot be traced with symbolic sizes.
          ShapeError: no size is in range.
        """
        key = (batch.key, tuple(sorted(most.items())))
        if key not in self._references:
            self._references[key] = self._reference(batch, most)
        return self._references[key]

    def _reference(self, batch: Batch, most: Mapping[str, int]) -> Specialisation:
        base = regimes.base(batch.leaves, self._options.constraints)
        point = sizes.largest(base.region.below(most))
        if point is None:
            raise ShapeError(
                f"no size of {self._name} is both within the padded arrays, {dict(most)}, and in "
                f"the range {base.region}"
            )
        shapes = [tuple(int(dims.evaluate(d, point)) for d in x.shape) for x in batch.leaves]
        plan = self._plan(batch, shapes)
        if plan is None:
            raise TraceError(
                f"{self._name} has no padded form: {'; '.join(self._refusals)}. With a list of "
                "examples outside jit, grad and vmap it runs row by row"
            )
        return plan.specialisation

    def covering(self, batch: Batch, most: Mapping[str, int]) -> Specialisation:
        """The program for all sizes below ``most``.

        Raises:
          TraceError: there is no such program; the message has the decision that splits it.
        """
        found = self.reference(batch, most)
        decision = self._split_by(batch, found, most)
        if decision is None:
            return found
        raise TraceError(
            f"{self._name} decides by size: {decision}. Rows that decide otherwise need a program "
            "of their own, which traced sizes cannot choose: exclude them by constraints=(...), "
            "pass the sizes as NumPy arrays, or decide by jnp.where"
        )

    def _split_by(self, batch: Batch, found: Specialisation, most: Mapping[str, int]) -> str | None:
        """A decision of the trace that some sizes below ``most`` answer otherwise."""
        base = regimes.base(batch.leaves, self._options.constraints)
        if found.analysis.program.varying is not None:
            return "it needs sizes as Python numbers"
        if [x.shape for x in base.leaves] != [x.shape for x in found.regime.leaves]:
            return found.regime.reasons[-1]
        region = base.region.below(most)
        for constraint in found.regime.constraints:
            if constraint not in base.constraints and not region.proves(constraint):
                return found.regime.reasons[-1]
        for guard in found.analysis.program.guards:
            if not region.proves(guard):
                return str(guard.negated)
        return None

    # Runs

    def over_rows(self, batch: Batch, exact: bool = False) -> list[tuple[Any, list[Any]]]:
        """(tree, leaves) of the result of every row, at its true shape; sizes must be known.

        Args:
          batch: the inputs.
          exact: runs every row with its exact shape.

        Raises:
          ShapeError: the shape of a row breaks a spec or a constraint.
        """
        if exact:
            return [_flat(self._exact(*batch.row(row))) for row in range(batch.count)]
        groups: dict[Specialisation | None, list[tuple[int, Any]]] = collections.defaultdict(list)
        for row, plan in enumerate(self.plans(batch)):
            groups[plan and plan.specialisation].append((row, plan and plan.call))
        results: dict[int, tuple[Any, list[Any]]] = {}
        for found, members in groups.items():
            for chunk in self._chunks(members):
                results |= self._run_group(batch, found, chunk)
        return [results[row] for row in range(batch.count)]

    def only(self, batch: Batch) -> Specialisation | None:
        """The program that serves every row, if one does."""
        founds = {plan and plan.specialisation for plan in self.plans(batch)}
        return founds.pop() if len(founds) == 1 else None

    def _run_group(
        self, batch: Batch, found: Specialisation | None, members: Sequence[tuple[int, Any]]
    ) -> dict[int, tuple[Any, list[Any]]]:
        rows = [row for row, _ in members]
        if found is not None:
            try:
                outputs = self._run_padded(batch, found, members)
            except UnsupportedPrimitiveError as error:
                self._fall_back(str(error))
            else:
                tree = found.analysis.program.out_tree
                return {row: (tree, leaves) for row, leaves in zip(rows, outputs, strict=True)}
        elif self._refusals:
            self._fall_back("; ".join(dict.fromkeys(self._refusals)))
        return {row: _flat(self._exact(*batch.row(row))) for row in rows}

    def _run_padded(
        self, batch: Batch, found: Specialisation, members: Sequence[tuple[int, Any]]
    ) -> list[list[Any]]:
        """The outputs of rows that one program serves."""
        calls = [call for _, call in members]
        columns = [
            arrays.unstack(y, [call.out_shapes[k] for call in calls])
            for k, y in enumerate(self._chunk(batch, found, members))
        ]
        return [[column[at] for column in columns] for at in range(len(members))]

    def padded(
        self, batch: Batch, found: Specialisation, shapes: Sequence[arrays.Shape]
    ) -> list[Any]:
        """The outputs of all rows, which one program serves, [B, ...] as padded as ``shapes``.

        Raises:
          UnsupportedPrimitiveError: a primitive has no exact padded form.
        """
        members = [(row, plan.call) for row, plan in enumerate(self.plans(batch)) if plan]
        chunks = [self._chunk(batch, found, chunk) for chunk in self._chunks(members)]
        return [
            arrays.joined(pieces, batch.count, shape)
            for pieces, shape in zip(zip(*chunks, strict=True), shapes, strict=True)
        ]

    def _chunk(
        self, batch: Batch, found: Specialisation, members: Sequence[tuple[int, Any]]
    ) -> list[Any]:
        """The outputs of some rows, from the bucket that holds them."""
        program = found.analysis.program
        true = np.stack([call.sizes for _, call in members])
        most = dict(zip(program.symbols, map(int, true.max(0)), strict=True))
        bucket = found.analysis.ladders.bucket(most)
        if bucket is None:
            raise InvariantError(f"no bucket of {found.analysis.ladders} holds {most}")
        rows = [row for row, _ in members]
        layout = Layout(batch.mapped, (False,) * len(program.out_shapes))
        width = self._width(len(rows))
        # Under a transformation every number of rows must lead to one and the same program.
        present = np.arange(width) < len(rows) if batch.is_traced else None
        return self.stacked(batch, found, bucket, layout, rows, width, true, present)

    def _chunks(self, members: Sequence[Any]) -> list[Sequence[Any]]:
        most = len(members) if self._ladder is None else self._ladder[-1]
        return [members[start : start + most] for start in range(0, len(members), most)]

    def _width(self, count: int) -> int:
        if self._ladder is None:
            return 1 << (count - 1).bit_length()
        return next(width for width in self._ladder if width >= count)

    def stacked(
        self,
        batch: Batch,
        found: Specialisation,
        bucket: Bucket,
        layout: Layout,
        rows: Sequence[int],
        width: int,
        true: Any,
        present: Any,
    ) -> list[Any]:
        """The padded outputs [width, ...] of rows that one program serves; pad lanes hold zeros.

        Args:
          batch: the inputs.
          found: the program.
          bucket: the sizes to pad to.
          layout: which arrays have rows.
          rows: the rows to run.
          width: the number of rows to pad to; the outputs of the rows added mean nothing.
          true: int32[len(rows), k], the true sizes in the order of the program's symbols.
          present: bool[width], the rows that count in derivatives and sums; None for all.

        Raises:
          UnsupportedPrimitiveError: a primitive has no exact padded form.
        """
        if found in self._unsupported:
            raise self._unsupported[found]
        program = found.analysis.program
        shapes = rewrite.padded_shapes(program, program.region.below(bucket))
        inputs = batch.stacked(rows, width, shapes[: len(batch.columns)])
        inputs += self._by_size(batch, rows, width, shapes[len(inputs) :])
        true = arrays.take(true, range(len(rows)), width)
        known = None if layout.checked else (true, present)
        constants = list(program.constants)

        def plain(true: Any, present: Any, inputs: list[Any]) -> list[Any]:
            return self._compiled(found, bucket, layout)(true, present, constants, inputs)

        pull = functools.partial(self._pull, found, bucket, batch.tree)
        run = Differentiable(program, layout, plain, pull, known) if batch.is_traced else plain
        try:
            return run(true, present, inputs)
        except UnsupportedPrimitiveError as error:
            self._unsupported[found] = error
            raise

    def _compiled(self, found: Specialisation, bucket: Bucket, layout: Layout) -> Any:
        key = (found, bucket, layout)
        if key not in self._batched:
            self._batched[key] = jax.jit(batched(found.analysis, bucket, layout))
        return self._batched[key]

    def _by_size(
        self, batch: Batch, rows: Sequence[int], width: int, shapes: Sequence[arrays.Shape]
    ) -> list[Any]:
        """The inputs of a program beyond the call's own: constants that vary with the sizes."""
        if not shapes:
            return []
        plans = self.plans(batch)
        found = [plan.call.constants for plan in map(plans.__getitem__, rows) if plan]
        return [
            arrays.stack(column, np.asarray(column[0]).dtype, shape, width)
            for column, shape in zip(zip(*found, strict=True), shapes, strict=True)
        ]

    # Derivatives

    def _pull(
        self,
        found: Specialisation,
        bucket: Bucket,
        tree: Any,
        batch: Batch,
        layout: Layout,
        true: Any,
        present: Any,
    ) -> list[Any]:
        """Runs the pullback of a program, on ``batch``."""
        if found not in self._pullbacks:
            pull, options = pullback(self._fun, found, tree)
            name = f"the gradient of {self._name}"
            self._pullbacks[found] = Rows(pull, name, options, self._fall_back)
        return self._pullbacks[found].every_row(batch, bucket, layout, true, present)

    def every_row(
        self, batch: Batch, bucket: Bucket, layout: Layout, true: Any, present: Any
    ) -> list[Any]:
        """The outputs over all rows of padded arguments, padded or summed; see ``stacked``.

        Raises:
          TraceError: the sizes are traced, and decide which program is the right one.
          UnsupportedPrimitiveError: they are traced, and a primitive has no exact padded form.
        """
        if batch.sizes is None:
            found = self.covering(batch, bucket)
        else:
            found = self.only(batch)
        rows = range(batch.count)
        if found is not None and set(found.analysis.program.symbols) == set(bucket):
            try:
                return self.stacked(batch, found, bucket, layout, rows, batch.count, true, present)
            except UnsupportedPrimitiveError:
                if batch.sizes is None:
                    raise
        return restacked([leaves for _, leaves in self.over_rows(batch)], layout, present)


def _flat(result: Any) -> tuple[Any, list[Any]]:
    leaves, tree = jax.tree.flatten(result)
    return tree, leaves
