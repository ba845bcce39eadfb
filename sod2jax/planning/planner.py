"""From a call to its plan: specs, regime, program, bucket. All this happens once per shape."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sod2jax import pipeline, rewrite
from sod2jax.arguments.calls import Call, Caller
from sod2jax.arguments.learn import Learner
from sod2jax.arguments.signature import Leaf, leaves_of, spec_of
from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import (
    DataDependentSizeError,
    ShapeError,
    SpecError,
    TraceError,
    UnsupportedPrimitiveError,
)
from sod2jax.ir.comparisons import NOTHING_KNOWN, Undecided
from sod2jax.ir.program import Program
from sod2jax.ir.region import Constraint
from sod2jax.options import Options
from sod2jax.pipeline import AnalysedPart
from sod2jax.planning import out_of_range, regimes
from sod2jax.planning.regimes import Regime
from sod2jax.planning.specialise import Plan, Specialisation, bucket_of
from sod2jax.runtime import dispatch
from sod2jax.runtime.compile import Executable
from sod2jax.runtime.executables import Executables
from sod2jax.runtime.parts import Outcome, plan_measured
from sod2jax.stats import Counters

_MOST_REGIMES = 8  # programs that one tree of arguments may split into
_UNPLANNED = object()
_MOST_CHECKED = 512  # sizes that `compile` checks ahead of time in programs that need that


class Planner:
    """Plans the calls of one function, and remembers the plans.

    Args:
      fun: the user's function.
      name: what to call it.
      options: what the user asked for.
      counters: where traces and compiles are counted.
      refused: is told why a program runs with exact shapes; may raise instead.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        name: str,
        options: Options,
        counters: Counters,
        refused: Callable[[Exception], None],
    ):
        self._fun, self._name, self._options = fun, name, options
        self._counters, self._refused = counters, refused
        self._caller = Caller(fun, options)
        self._learner = Learner()
        self._lock = threading.RLock()
        self._plans: dict[Any, Any] = {}  # a Plan, or None for exact shapes
        # What became of the trace of a regime; None: it runs with exact shapes.
        self._traced: dict[Any, Specialisation | Undecided | TraceError | None] = {}

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """The signature of a call."""
        return self._caller.read(args, kwargs)

    def plan(self, call: Call) -> Plan | None:
        """The plan for a call; None to run it with exact shapes.

        Raises:
          ShapeError: a shape breaks a spec or a constraint, or is over a maximum.
          SpecError: the specs do not fit the arguments.
          TypeError: a static argument has no hash.
        """
        self._caller.check_hashable(call)
        plan = self._plans.get(call.key, _UNPLANNED)
        if plan is _UNPLANNED:
            plan = self._plans[call.key] = self._make_plan(call)
        return plan

    def give_up(self, specialisation: Specialisation, error: UnsupportedPrimitiveError) -> None:
        """From now on, runs the calls of a program with exact shapes."""
        self._refused(error)
        with self._lock:
            for key, found in self._traced.items():
                if found is specialisation:
                    self._traced[key] = None
            self._plans.clear()

    @property
    def specialisations(self) -> list[Specialisation]:
        """The programs traced so far."""
        with self._lock:
            found = dict.fromkeys(self._traced.values())
            return [s for s in found if isinstance(s, Specialisation)]

    def prepare(self, call: Call) -> list[Plan]:
        """The plans that a call may come to need: its own, and those for other measured sizes."""
        first = self.plan(call)
        plans = [] if first is None else [first]
        for plan in plans:
            program = plan.specialisation.analysis.program
            order = [str(d) for d in program.computed_dims if str(d) in program.data_dependent]
            for regime in regimes.alternatives(plan.regime, program.guards, order):
                if len(plans) < _MOST_REGIMES:
                    plans += self._hypothetical(call, regime)
        return plans

    def _hypothetical(self, call: Call, regime: Regime) -> list[Plan]:
        """The plan for a regime that a call may come to, if the function can be traced for it."""
        try:
            plan = self._make_plan(call, regime, numbers=False)
        except TraceError:
            return []
        return [] if plan is None else [plan]

    def _make_plan(
        self, call: Call, regime: Regime | None = None, numbers: bool = True
    ) -> Plan | None:
        arguments, order, function = self._caller.named(call)
        leaves = self._leaves(call, arguments)
        if any(leaf.is_empty for leaf in leaves):
            return None
        values = list(arguments.values())
        with self._lock:
            if regime is not None:
                found, regime = self._find(call, regime, values, function, numbers)
            else:
                regime = self._base(leaves)
                out_of_range.check(self._name, leaves, regime.region, regime.sizes)
                found, regime = self._search(call, regime, values, function)
        if found is None:
            return None
        program, sizes = found.analysis.program, regime.sizes
        constants = self._constants(program, sizes)
        if constants is None:
            return None
        bucket = bucket_of(found.analysis.ladders, sizes)
        shapes = rewrite.padded_shapes(program, bucket.part_of(program.region))
        if program.computed_dims:
            plan = plan_measured(program, bucket, sizes, order, shapes)
        else:
            plan = dispatch.plan_call(program, bucket, sizes, order, shapes, constants)
        return Plan(plan, found, regime)

    def replan(self, call: Call, plan: Plan, outcome: Outcome) -> Plan | None:
        """The plan for a call whose run measured sizes that its program was not made for.

        Raises:
          ShapeError: a size is over the maximum that the function gave for it.
        """
        if outcome.violated:
            regime = plan.regime
            for decision in outcome.violated:
                regime = regime.decided(decision, outcome.measured)
        elif plan.regime.known == NOTHING_KNOWN:
            raise ShapeError(
                out_of_range.over_maximum(plan.specialisation.analysis.program, outcome.measured)
            )
        else:
            regime = plan.regime.forgetting()
        made = self._make_plan(call, regime)
        if made is not None and made.specialisation is not plan.specialisation:
            self._plans[call.key] = made  # where no other plan is found, this one may serve others
        return made

    def check_sizes(self, specialisation: Specialisation) -> None:
        """Checks all sizes of a program that was unified from concrete traces, if they are few."""
        program = specialisation.analysis.program
        if program.numbers is not None:
            for sizes in program.region.points(_MOST_CHECKED) or ():
                self._constants(program, sizes)

    def _constants(self, program: Program, sizes: Mapping[str, int]) -> tuple[Any, ...] | None:
        """The constants that vary with the sizes; None where the program is wrong."""
        if program.numbers is None:
            return ()
        before = program.numbers.traces
        found = program.numbers.at(sizes)
        self._counters.add(traces=program.numbers.traces - before)
        if found is None:
            self._refused(
                TraceError(
                    f"{program.numbers.cause} It was traced at concrete sizes instead, and some "
                    "sizes make it take another course than others; those run with exact shapes"
                )
            )
        return found

    def base(self, call: Call) -> tuple[Regime, tuple[int, ...]]:
        """What the specs alone say of a call, and the place of each leaf in ``call.leaves``."""
        arguments, order, _ = self._caller.named(call)
        regime = self._base(self._leaves(call, arguments))
        if self._options.shapes is None:
            known = next(self._learner.guesses(call.key[:2], regime.leaves))
            regime = regime.substitute(known)
        return regime, order

    def _leaves(self, call: Call, arguments: Mapping[str, Any]) -> list[Leaf]:
        specs = self._options.shapes
        if specs is None:
            return self._learner.specs(call.key[:2], leaves_of(arguments, {}))
        return leaves_of(arguments, spec_of(arguments, self._fun, specs))

    def _base(self, leaves: Sequence[Leaf]) -> Regime:
        """The regime of a call before anything is decided, with the bounds of given buckets."""
        options = self._options
        regime = regimes.base(leaves, options.constraints)
        for name, ladder in options.buckets.items():
            if name not in regime.symbols:
                known = sorted(regime.symbols)
                raise SpecError(f"buckets names '{name}', but the symbols of the specs are {known}")
            low, high = regime.region.range(name)
            if ladder[0] < low or (high is not None and ladder[-1] > high):
                raise SpecError(f"buckets[{name!r}] = {ladder} leaves the range {regime.region}")
        bounds = [Constraint.parse(f"{n} <= {ladder[-1]}") for n, ladder in options.buckets.items()]
        return regimes.base(leaves, (*options.constraints, *bounds))

    def _search(
        self, call: Call, regime: Regime, arguments: Sequence[Any], function: Callable[..., Any]
    ) -> tuple[Specialisation | None, Regime]:
        """The program for a call; where sizes were learned, with the relations that it needs."""
        if self._options.shapes is None:
            for relations in self._learner.guesses(call.key[:2], regime.leaves):
                guess, before = regime.substitute(relations), len(self._traced)
                try:
                    found = self._find(call, guess, arguments, function, numbers=False)
                except TraceError:
                    if len(self._traced) > before:
                        self._learner.failed(call.key[:2], regime.leaves, relations)
                    continue
                self._learner.succeeded(call.key[:2], regime.leaves, relations)
                return found
        return self._find(call, regime, arguments, function, numbers=True)

    def _find(
        self,
        call: Call,
        regime: Regime,
        arguments: Sequence[Any],
        function: Callable[..., Any],
        numbers: bool,
    ) -> tuple[Specialisation | None, Regime]:
        """The program for a call, and the call's regime: what earlier traces decided narrows it.

        With ``numbers``, what has no symbolic trace is unified from concrete ones.

        Raises:
          TraceError: there is no symbolic trace, and ``numbers`` is false.
        """
        tree, static, _ = call.key
        start = regime
        for _ in range(_MOST_REGIMES):
            key = (tree, static, regime.key)
            found = self._trace(key, regime, arguments, function)
            if isinstance(found, Undecided) and found.is_data_dependent:
                assumed = regime.assuming(found.decision, found.data_dependent)
                if assumed is not None:
                    regime = assumed
                    continue
                found = found.error
            if isinstance(found, Undecided) and found.is_final(regime.sizes):
                found = found.error
            if isinstance(found, Exception):
                if not numbers:
                    raise found
                if isinstance(found, DataDependentSizeError):
                    return self._failed(found, regime, numbers)
                found = self._unify(key, regime, arguments, function, found)
            if found is None:
                return None, regime
            if isinstance(found, Specialisation):
                program = found.analysis.program
                early = [guard for guard in program.guards if guard.symbols <= set(program.symbols)]
                decision = regimes.violated(early, regime.sizes)
                if decision is None:
                    return found, regime
            else:
                decision = found.decision
            regime = regime.decided(decision)
        many = TraceError(
            f"{self._name} decides by size in more than {_MOST_REGIMES} ways: "
            f"{'; '.join(regime.reasons)}. Narrow the constraints, or decide by jnp.where"
        )
        if not numbers:
            raise many
        found = self._unify((tree, static, start.key), start, arguments, function, many)
        return (found, start) if isinstance(found, Specialisation) else (None, start)

    def _failed(self, error: Exception, regime: Regime, numbers: bool) -> tuple[None, Regime]:
        """No program can be made for a function that measures sizes."""
        if not numbers:
            raise error
        self._refused(error)
        return None, regime

    def _trace(
        self, key: Any, regime: Regime, arguments: Sequence[Any], function: Callable[..., Any]
    ) -> Specialisation | Undecided | TraceError | None:
        """What becomes of the symbolic trace of a regime."""
        if key not in self._traced:
            try:
                self._traced[key] = self._analyse(key, regime, arguments, function, None)
            except TraceError as error:
                self._traced[key] = error
        return self._traced[key]

    def _unify(
        self,
        key: Any,
        regime: Regime,
        arguments: Sequence[Any],
        function: Callable[..., Any],
        cause: Exception,
    ) -> Specialisation | Undecided | None:
        """What becomes of a regime that has no symbolic trace; ``cause`` says why."""
        key = (*key, "unified")
        if key not in self._traced:
            try:
                self._traced[key] = self._analyse(key, regime, arguments, function, cause)
            except TraceError as error:
                why = str(error.__cause__ or error).splitlines()[0]
                self._refused(TraceError(f"{cause} Unifying concrete traces failed too: {why}"))
                self._traced[key] = None
        found = self._traced[key]
        return None if isinstance(found, TraceError) else found

    def _analyse(
        self,
        key: Any,
        regime: Regime,
        arguments: Sequence[Any],
        function: Callable[..., Any],
        cause: Exception | None,
    ) -> Specialisation | Undecided | None:
        options = self._options
        try:
            analysis = pipeline.analyse(
                function,
                arguments,
                regime.leaves,
                regime.region,
                name=self._name,
                buckets=options.buckets,
                max_executables=options.max_executables,
                cut_sizes=options.cut,
                cause=cause,
                known=regime.known,
            )
        except UnsupportedPrimitiveError as error:
            self._refused(error)
            return None
        finally:
            self._counters.add(traces=1)
        if isinstance(analysis, Undecided):
            return analysis

        return Specialisation(key, regime, analysis, tuple(map(self._executables, analysis.parts)))

    def _executables(self, part: AnalysedPart) -> Executables:
        def build(bucket: Bucket) -> Executable:
            executable = part.compile(bucket)
            self._counters.add(compiles=1, compile_seconds=executable.seconds)
            return executable

        limit = max(self._options.max_executables, len(part.ladders.buckets))
        return Executables(build, limit)
