"""Which program serves each row of a batch, and which serves all sizes of padded arguments."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from sod2jax.errors import DataDependentSizeError, ShapeError, TraceError, UnsupportedPrimitiveError
from sod2jax.ir import dims
from sod2jax.options import Options
from sod2jax.planning.exact import Exact, Silent
from sod2jax.planning.planner import Planner
from sod2jax.planning.specialise import Specialisation
from sod2jax.ragged import arrays, true_sizes
from sod2jax.ragged.batch import Batch
from sod2jax.runtime.dispatch import WholePlan
from sod2jax.stats import Counters
from sod2jax.tracing import regimes


@dataclasses.dataclass(frozen=True, eq=False)
class RowPlan:
    """The program that serves a row, and the plan of the row alone."""

    specialisation: Specialisation
    call: WholePlan


class RowPlans:
    """Plans of rows, each made once.

    Args:
      fun: the function of one example.
      name: what to call it.
      options: shapes and constraints of one example.
      counters: what there is to count.
    """

    def __init__(self, fun: Callable[..., Any], name: str, options: Options, counters: Counters):
        self._name, self._options = name, options
        self._planner = Planner(fun, name, options, counters, Silent())
        self._plans: dict[Any, dict[Any, RowPlan | Exact]] = {}
        self._bases: dict[Any, regimes.Regime] = {}
        self._references: dict[Any, Specialisation] = {}

    @property
    def specialisations(self) -> Sequence[Specialisation]:
        """The programs made so far."""
        return self._planner.specialisations

    def base(self, tree: Any, avals: tuple[Any, ...]) -> regimes.Regime:
        """What the specs alone say of one example, given its structure and abstract leaves."""
        if (tree, avals) not in self._bases:
            structs = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in avals]
            args = jax.tree.unflatten(tree, structs)
            self._bases[tree, avals] = self._planner.base(self._planner.read(args, {}))[0]
        return self._bases[tree, avals]

    def of(self, batch: Batch) -> list[RowPlan | Exact]:
        """The plan for every row, or why it runs with exact shapes.

        Raises:
          ShapeError: its shape breaks a spec or a constraint.
        """
        made = self._plans.setdefault(batch.key, {})
        keys = [batch.row_key(row) for row in range(batch.count)]
        for row, key in enumerate(keys):
            if key in made:
                continue
            try:
                made[key] = self._plan(batch, batch.shapes(row))
            except ShapeError as error:
                raise ShapeError(f"example {row}: {error}") from error
        return [made[key] for key in keys]

    def served(self, batch: Batch, rows: Iterable[int] | None = None) -> list[WholePlan]:
        """The plans of some rows alone, or of all, where programs serve them."""
        plans = self.of(batch)
        chosen = plans if rows is None else map(plans.__getitem__, rows)
        return [plan.call for plan in chosen if isinstance(plan, RowPlan)]

    def only(self, batch: Batch) -> Specialisation | None:
        """The program that serves every row, if one does."""
        plans = self.of(batch)
        programs = {plan.specialisation for plan in plans if isinstance(plan, RowPlan)}
        served = all(isinstance(plan, RowPlan) for plan in plans)
        return programs.pop() if served and len(programs) == 1 else None

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

    def covering(self, batch: Batch, most: Mapping[str, int]) -> Specialisation:
        """The program for all sizes below ``most``.

        Raises:
          TraceError: there is no such program; the message has the decision that splits it.
        """
        reference = self.reference(batch, most)
        decision = self._split_by(batch, reference, most)
        if decision is None:
            return reference
        raise TraceError(
            f"{self._name} decides by size: {decision}. Rows that decide otherwise need a program "
            "of their own, which traced sizes cannot choose: exclude them by constraints=(...), "
            "pass the sizes as NumPy arrays, or decide by jnp.where"
        )

    def _plan(self, batch: Batch, shapes: Sequence[arrays.Shape]) -> RowPlan | Exact:
        args = jax.tree.unflatten(batch.tree, batch.specs(shapes))
        choice = self._planner.choose(self._planner.read(args, {}))
        if isinstance(choice, Exact):
            return choice
        if choice.specialisation.trust.needs_results():
            with contextlib.suppress(UnsupportedPrimitiveError):  # running the rows will say so
                choice.specialisation.executables.get(choice.plan.bucket)
        if choice.is_doubtful:
            self._planner.forget_choices()
            return self._plan(batch, shapes)
        if not isinstance(choice.plan, WholePlan):
            raise DataDependentSizeError(
                f"{self._name} makes sizes that depend on values, which differ from row to row: "
                "decorate it with sod2jax.optimize and call it row by row"
            )
        return RowPlan(choice.specialisation, choice.plan)

    def _reference(self, batch: Batch, most: Mapping[str, int]) -> Specialisation:
        base = regimes.base(batch.leaves, self._options.constraints)
        point = true_sizes.largest(base.region.below(most))
        if point is None:
            raise ShapeError(
                f"no size of {self._name} is both within the padded arrays, {dict(most)}, and in "
                f"the range {base.region}"
            )
        shapes = [tuple(int(dims.evaluate(d, point)) for d in x.shape) for x in batch.leaves]
        plan = self._plan(batch, shapes)
        if isinstance(plan, Exact):
            raise TraceError(
                f"{self._name} has no padded form: {plan.reason}. With a list of "
                "examples outside jit, grad and vmap it runs row by row"
            )
        return plan.specialisation

    def _split_by(
        self, batch: Batch, reference: Specialisation, most: Mapping[str, int]
    ) -> str | None:
        """A decision of the trace that some sizes below ``most`` answer otherwise."""
        base, regime = regimes.base(batch.leaves, self._options.constraints), reference.regime
        if reference.trust.is_checked:
            return "it needs sizes as Python numbers, or looks at them in ways that no trace sees"
        if [x.shape for x in base.leaves] != [x.shape for x in regime.leaves]:
            return str(regime.reasons[-1])
        region = base.region.below(most)
        for constraint in (*regime.constraints, *regime.limits):
            if constraint not in base.constraints and not region.proves(constraint):
                return str(regime.reasons[-1])
        for guard in reference.analysis.program.guards:
            if not region.proves(guard):
                return str(guard if guard.op == ">=" else guard.negated)
        return None
