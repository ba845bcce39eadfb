"""From a call to its plan: specs, regime, program, bucket. All this happens once per shape."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sod2jax.arguments.calls import Call, Caller
from sod2jax.arguments.learn import Learner
from sod2jax.arguments.signature import Leaf, leaves_of, spec_of, symbols_written
from sod2jax.buckets.bucket import Bucket
from sod2jax.buckets.choose import count_given
from sod2jax.errors import (
    FunctionError,
    ManyProgramsWarning,
    PlacementError,
    ShapeError,
    SpecError,
    TraceError,
    UnsupportedPrimitiveError,
)
from sod2jax.ir.comparisons import Comparison
from sod2jax.options import Options
from sod2jax.places import ANYWHERE
from sod2jax.planning import kinds, out_of_range, placement
from sod2jax.planning.choices import Choice, served
from sod2jax.planning.exact import Exact, Fallbacks, warn
from sod2jax.planning.found import Failed, Match
from sod2jax.planning.kinds import Kinds
from sod2jax.planning.requests import Request
from sod2jax.planning.search import MOST_REGIMES, Search
from sod2jax.planning.specialise import Specialisation
from sod2jax.runtime.compile import Executable
from sod2jax.runtime.plan import Outcome
from sod2jax.stats import Counters
from sod2jax.target import Target
from sod2jax.tracing import regimes
from sod2jax.tracing.regimes import Regime

_MOST_CHECKED = 512  # sizes that `compile` checks ahead of time in programs that need that


class Planner:
    """Plans the calls of one function, and remembers the plans.

    Args:
      fun: the user's function.
      name: what to call it.
      options: what the user asked for.
      counters: where traces and compiles are counted.
      fallbacks: is told why calls run with exact shapes; may raise instead.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        name: str,
        options: Options,
        counters: Counters,
        fallbacks: Fallbacks,
    ):
        self._fun, self._name, self._options = fun, name, options
        self._counters, self._fallbacks = counters, fallbacks
        self._caller = Caller(fun, options.jit)
        self._learner = Learner()
        self._search = Search(name, options, counters)
        self._lock = threading.RLock()
        self._kinds: Kinds[Choice | Exact] = Kinds(self._forget, self._warn_of_many)

    def __repr__(self) -> str:
        return f"Planner({self._name}: {len(self.specialisations)} programs)"

    @property
    def aim(self) -> Target | None:
        """The device that is not there, if programs are compiled for one."""
        return self._search.aim

    def aim_at(self, target: Target) -> None:
        """Compiles for another device than that at hand.

        Raises:
          TargetError: there are programs for another one.
        """
        with self._lock:
            self._search.aim_at(target)
            self._kinds.clear()

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """The signature of a call."""
        return self._caller.read(args, kwargs)

    def smaller(self, choice: Choice, call: Call) -> Choice | None:
        """What serves a call whose bucket takes too much memory; None if there is nothing else."""
        self.forget_choices()
        other = self.choose(call)
        if isinstance(other, Exact) or other.plan.bucket == choice.plan.bucket:
            return None
        return other

    @property
    def ready(self) -> list[Executable]:
        """All executables so far."""
        return [e for s in self.specialisations for e in s.ready]

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The buckets chosen so far: those of bounded symbols, and those that grew on demand."""
        chosen = {b for s in self.specialisations for b in s.analysis.ladders.buckets}
        chosen |= {e.bucket for e in self.ready}
        return tuple(sorted(chosen, key=lambda b: b.sizes))

    def choose(self, call: Call) -> Choice | Exact:
        """What serves a call.

        Raises:
          Exception: it must run with exact shapes, and the user wants no such run.
          ShapeError: a shape breaks a spec or a constraint, or is over a maximum.
          SpecError: the specs do not fit the arguments.
          ValueError: a static argument has no hash.
        """
        self._caller.check_hashable(call)
        kind, keys = self._kinds[call.key[:2]], call.key[2]
        choice = kind.plans.get(keys)
        if choice is None:
            choice = kind.plans[keys] = self._chosen(call)
        return choice

    def choose_again(self, call: Call, choice: Choice, outcome: Outcome) -> Choice | Exact:
        """What serves a call whose run computed sizes that its program was not made for.

        Raises:
          Exception: it must run with exact shapes, and the user wants no such run.
          ShapeError: a size is over the maximum that the function gave for it.
        """
        if outcome.violated:
            regime = choice.regime
            for guard in outcome.violated:
                regime = regime.decided(guard.negated, outcome.sizes)
        elif not choice.regime.assumptions:
            raise ShapeError(out_of_range.over_maximum(choice.plan.program, outcome.sizes))
        else:
            regime = choice.regime.forgetting()
        other = self._chosen_in(call, regime)
        if isinstance(other, Choice) and other.specialisation is not choice.specialisation:
            # Where there is no other, this one may serve others.
            self._kinds[call.key[:2]].plans[call.key[2]] = other
        return other

    def alternatives(self, call: Call) -> list[Choice]:
        """What a call may come to need: its own choice, and those for other computed sizes."""
        first = self.choose(call)
        choices = [first] if isinstance(first, Choice) else []
        for choice in choices:
            program = choice.plan.program
            for regime in regimes.alternatives(choice.regime, program.guards, program.order):
                if len(choices) < MOST_REGIMES:
                    choices += self._hypothetical(call, regime)
        return choices

    def give_up(self, specialisation: Specialisation, error: UnsupportedPrimitiveError) -> Exact:
        """From now on, runs the calls of a program with exact shapes.

        Raises:
          UnsupportedPrimitiveError: the user wants no such runs.
        """
        exact = self.exact(error)
        with self._lock:
            self._search.give_up(specialisation, error)
            self._kinds.clear()
        return exact

    def forget_choices(self) -> None:
        """Has every call planned anew: a program is no longer what it was taken for."""
        with self._lock:
            self._kinds.clear()

    def _forget(self, key: Any) -> None:
        """Forgets what was made for a kind of calls; what runs of it runs on."""
        with self._lock:
            self._search.forget(key)
            self._learner.forget(key)

    def _warn_of_many(self, keys: Sequence[Any]) -> None:
        parameters = list(self._caller.signature.parameters)
        warn(kinds.many(self._name, parameters, keys), ManyProgramsWarning)

    def exact(self, error: Exception) -> Exact:
        """An exact run for a reason, which is told.

        Raises:
          Exception: this one, if the user wants no such runs.
        """
        exact = Exact(error)
        self._fallbacks.tell(exact)
        return exact

    @property
    def specialisations(self) -> list[Specialisation]:
        """The programs traced so far."""
        with self._lock:
            return self._search.specialisations

    def check_sizes(self, specialisation: Specialisation) -> None:
        """Checks all sizes of a program that is right where it was checked, if they are few."""
        program = specialisation.analysis.program
        if specialisation.trust.is_checked:
            region = program.region.restricted(program.bucket_symbols)
            for sizes in region.points(_MOST_CHECKED) or ():
                specialisation.trust.reading(sizes)

    def base(self, call: Call) -> tuple[Regime, tuple[int, ...]]:
        """What the specs alone say of a call, and the place of each leaf in ``call.leaves``."""
        arguments, order, _ = self._caller.named(call)
        regime = self._base(self._leaves(call, arguments))
        if self._options.shapes is None:
            relations = next(self._learner.guesses(call.key[:2], regime.leaves))
            regime = regime.substitute(relations)
        return regime, order

    # Regimes

    def _leaves(self, call: Call, arguments: Mapping[str, Any]) -> list[Leaf]:
        specs = self._options.shapes
        if specs is None:
            return self._learner.specs(call.key[:2], leaves_of(arguments, {}))
        return leaves_of(arguments, spec_of(arguments, self._fun, specs))

    def _base(self, leaves: Sequence[Leaf]) -> Regime:
        """The regime of a call before anything is decided, with the bounds of given buckets."""
        options = self._options
        here = regimes.base(leaves, ()).symbols
        absent = symbols_written(options.shapes) - here  # of arguments that this call leaves out
        constraints = [c for c in options.constraints if not c.symbols & absent]
        buckets = {n: ladder for n, ladder in options.buckets.items() if n not in absent}
        regime = regimes.base(leaves, constraints)
        for name, ladder in buckets.items():
            if name not in regime.symbols:
                symbols = sorted(regime.symbols)
                raise SpecError(
                    f"buckets names '{name}', but the symbols of the specs are {symbols}: give "
                    "sizes for these only"
                )
            low, high = regime.region.range(name)
            if ladder[0] < low or (high is not None and ladder[-1] > high):
                raise SpecError(
                    f"buckets[{name!r}] = {ladder} leaves the range {regime.region}: leave out the "
                    "sizes outside, or widen the constraints"
                )
        count_given(buckets, options.max_executables)
        bounds = [Comparison.parse(f"{n} <= {ladder[-1]}") for n, ladder in buckets.items()]
        return regimes.base(leaves, (*constraints, *bounds))

    # Choices

    def _chosen(self, call: Call) -> Choice | Exact:
        try:
            request, arguments, order = self._request(call)
        except (FunctionError, PlacementError) as error:
            return self.exact(error)
        leaves = self._leaves(call, arguments)
        for leaf in leaves:
            if leaf.is_empty:
                return Exact(ShapeError(out_of_range.empty(self._name, leaf)), is_harmless=True)
        regime = self._base(leaves)
        out_of_range.check(self._name, leaves, regime.region, regime.sizes)
        try:
            regime = regime.requiring(placement.of_leaves(self._name, leaves, request.places))
        except PlacementError as error:
            return self.exact(error)
        with self._lock:
            result = self._searched(request, regime)
        return self._settled(result, request, order)

    def _chosen_in(self, call: Call, regime: Regime) -> Choice | Exact:
        """What serves a call in a regime that its computed sizes led to."""
        request, _, order = self._request(call)
        with self._lock:
            result = self._search.complete(request, regime)
        return self._settled(result, request, order)

    def _hypothetical(self, call: Call, regime: Regime) -> list[Choice]:
        """The choice for a regime that a call may come to, if the function can be traced for it."""
        request, _, order = self._request(call)
        with self._lock:
            result = self._search.symbolic(request, regime)
        if isinstance(result, Failed):
            return []
        found = served(result, request, order)
        return [found] if isinstance(found, Choice) else []

    def _request(self, call: Call) -> tuple[Request, dict[str, Any], tuple[int, ...]]:
        """What to search for, the arguments by name, and the place of each leaf in the call's.

        Raises:
          FunctionError: ``jax.jit`` refuses to have the arrays where they lie.
          PlacementError: no bucket serves arrays like these, or where they lie.
        """
        arguments, order, function = self._caller.named(call)
        if (misplaced := placement.refused(self._name, arguments)) is not None:
            raise misplaced
        donated = tuple(k in call.donated for k in order)
        places = placement.of_call(self._name, call, order, self._options.jit)
        commits = places == ANYWHERE and placement.commits(call, self._options.jit)
        values = list(arguments.values())
        request = Request(call.key[:2], function, values, donated, places, commits)
        return request, arguments, order

    def _searched(self, request: Request, regime: Regime) -> Match | Failed:
        """The program for a call; where sizes were learned, with what it needs to be known of them.

        These are relations, or upper bounds; neither is a promise of the user's.
        """
        if self._options.shapes is None:
            expected = self._learner.bounds(request.key, regime.leaves)
            regime = dataclasses.replace(regime, expected=expected)
            result: Match | Failed | None = None
            for relations in self._learner.guesses(request.key, regime.leaves):
                if isinstance(result, Failed) and result.remains_where(relations):
                    continue
                before = self._search.count
                result = self._search.symbolic(request, regime.substitute(relations))
                if not isinstance(result, Failed) or not isinstance(result.error, TraceError):
                    self._learner.succeeded(request.key, regime.leaves, relations)
                    return result
                if self._search.count > before:
                    self._learner.failed(request.key, regime.leaves, relations)
            plain = self._search.symbolic(request, regime)
            if isinstance(plain, Failed) and plain.is_undecided:
                result = self._search.symbolic(request, regime.bounded())
                if not isinstance(result, Failed):
                    return result
        return self._search.complete(request, regime)

    def _settled(
        self, result: Match | Failed, request: Request, order: tuple[int, ...]
    ) -> Choice | Exact:
        """What a search leads to."""
        if isinstance(result, Failed):
            return self.exact(result.error)
        found = served(result, request, order)
        return found if isinstance(found, Choice) else self.exact(found)
