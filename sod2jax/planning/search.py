"""The search for a program that serves a call: each trace decides, or says what to decide."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from sod2jax import _compat, pipeline
from sod2jax.errors import (
    FunctionError,
    PlacementError,
    TargetError,
    TraceError,
    UnsupportedPrimitiveError,
)
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison, violated
from sod2jax.ir.program import Program
from sod2jax.options import Options
from sod2jax.places import ANYWHERE, Places
from sod2jax.planning import placement
from sod2jax.planning.found import Divided, Failed, Match, TooManyRegimes, Traced
from sod2jax.planning.requests import ConcreteTraces, Request
from sod2jax.planning.specialise import Specialisation, specialise
from sod2jax.planning.trust import Trust
from sod2jax.runtime.compile import Executable
from sod2jax.stats import Counters
from sod2jax.target import Target
from sod2jax.tracing.generalise import SPECIAL, generalise
from sod2jax.tracing.regimes import Regime
from sod2jax.tracing.trace import Undecided, trace

MOST_REGIMES = 8
"""Programs that one tree of arguments may split into."""


class Search:
    """Finds programs, and remembers what became of each trace.

    Args:
      name: what to call the programs.
      options: what the user asked for.
      counters: where traces and compiles are counted.
    """

    def __init__(self, name: str, options: Options, counters: Counters):
        self._name, self._options, self._counters = name, options, counters
        self._aim: Target | None = None
        self._traced: dict[Any, Traced] = {}
        self._concrete = ConcreteTraces(self._count_checks)

    def __repr__(self) -> str:
        return f"Search({self._name}: {self.count} traces)"

    @functools.cached_property
    def _target(self) -> Target:
        """Looked up when there is something to analyse, not before: it starts JAX's backend."""
        return self._aim or Target.default()

    @property
    def aim(self) -> Target | None:
        """The device that is not there, if programs are compiled for one."""
        return self._aim

    def aim_at(self, target: Target) -> None:
        """Compiles for another device than that at hand.

        Raises:
          TargetError: there are programs for another one.
        """
        if self.specialisations and self._target != target:
            raise TargetError(
                f"{self._name} has programs for {self._target.kind}: optimize the function once "
                f"more to compile it for {target.kind}"
            )
        if target.is_absent:
            self._aim = target
            self.__dict__.pop("_target", None)

    @property
    def count(self) -> int:
        """How many traces are remembered."""
        return len(self._traced)

    @property
    def specialisations(self) -> list[Specialisation]:
        """The programs that were made."""
        made = dict.fromkeys(self._traced.values())
        return [traced for traced in made if isinstance(traced, Specialisation)]

    def give_up(self, specialisation: Specialisation, error: Exception) -> None:
        """From now on, finds no program where it found this one."""
        keys = [key for key, traced in self._traced.items() if traced is specialisation]
        self._traced |= dict.fromkeys(keys, Failed(error))

    def forget(self, key: Any) -> None:
        """Forgets what was traced for requests of a key."""
        for each in [each for each in self._traced if each[:2] == key]:
            del self._traced[each]
        self._concrete.forget(key)

    def symbolic(self, request: Request, regime: Regime) -> Match | Failed:
        """The program for a call, from symbolic traces."""
        return self._narrowed(request, regime, self._symbolic)

    def complete(self, request: Request, regime: Regime) -> Match | Failed:
        """As ``symbolic``; what has no symbolic trace is generalised from concrete ones."""
        result = self._narrowed(request, regime, self._complete)
        if not isinstance(result, Failed) or not isinstance(result.error, TooManyRegimes):
            return result
        cause = result.error
        return self._narrowed(
            request, regime, lambda r, part: self._next(part, self._generalised(r, part, cause))
        )

    def _narrowed(
        self,
        request: Request,
        regime: Regime,
        step: Callable[[Request, Regime], Match | Regime | Failed],
    ) -> Match | Failed:
        """Steps from regime to narrower regime, until one has a program, or cannot have one."""
        for _ in range(MOST_REGIMES):
            result = step(request, regime)
            if not isinstance(result, Regime):
                return result
            regime = result
        decisions = "; ".join(map(str, regime.reasons))
        return Failed(
            TooManyRegimes(
                f"{self._name} decides by size in more than {MOST_REGIMES} ways: {decisions}. "
                "Narrow the constraints, or decide by jnp.where"
            )
        )

    def _symbolic(self, request: Request, regime: Regime) -> Match | Regime | Failed:
        key = (*request.key, request.places, regime.key)
        if key not in self._traced:
            self._traced[key] = self._analysed(
                key,
                request,
                regime,
                lambda: trace(request.function, request.arguments, regime, self._name),
            )
        return self._next(regime, self._traced[key])

    def _complete(self, request: Request, regime: Regime) -> Match | Regime | Failed:
        result = self._symbolic(request, regime)
        if isinstance(result, Failed) and result.can_be_generalised:
            return self._next(regime, self._generalised(request, regime, result.error))
        return result

    def _generalised(self, request: Request, regime: Regime, cause: Exception) -> Traced:
        """What becomes of traces at concrete sizes; ``cause`` says why there is no symbolic one."""
        key = (*request.key, request.places, regime.key, "generalised")
        if key not in self._traced:
            traced = self._analysed(
                key,
                request,
                regime,
                lambda: generalise(request.function, request.arguments, regime, self._name, cause),
            )
            if isinstance(traced, Failed) and traced.needs_its_cause:
                why = str(traced.error.__cause__ or traced.error).splitlines()[0]
                traced = Failed(TraceError(f"{cause} Generalising concrete traces failed: {why}"))
            if isinstance(traced, Failed) and isinstance(traced.error, FunctionError):
                return traced  # of this call; the function may not fail at other sizes
            self._traced[key] = traced
        return self._traced[key]

    def _analysed(
        self, key: Any, request: Request, regime: Regime, traced: Callable[[], Program | Undecided]
    ) -> Traced:
        """What becomes of a trace."""
        try:
            program = traced()
            if isinstance(program, Undecided):
                return program
            if asked := placement.wanted(program, request.places):
                return Divided(asked)
            program, places, target = self._placed(program, request.places)
            with _compat.untyped_context():
                analysis = pipeline.analyse(program, self._options, target, places)
        except (TraceError, UnsupportedPrimitiveError, PlacementError) as error:
            return Failed(error)
        finally:
            self._counters.add(traces=1)
        if not regime.symbols:
            self._concrete.add(request, regime, program)
        tracer = self._concrete.tracer(request, regime)
        first = (regime.sizes, *self._concrete.sizes(request, regime))
        options = self._options
        trust = Trust(
            program,
            tracer,
            first,
            options.audit,
            self._count_checks,
            lambda bucket: pipeline.compile_silent(
                program, bucket, options, Target.default() if target.is_absent else target, places
            ),
        )
        most = options.max_executables
        return specialise(key, regime, analysis, trust, most, self._count_compile, request.donated)

    def _placed(self, program: Program, places: Places) -> tuple[Program, Places, Target]:
        """A program with what it closes over where it runs, and the target that this is."""
        devices = placement.devices_of(program, places)
        if self._target.is_absent and (devices or places != ANYWHERE):
            raise PlacementError(
                f"{self._name} has arrays on {len(devices)} devices, and is compiled for one that "
                "is not there: leave the arrays where JAX puts them"
            )
        if len(devices) == 1 and places.mesh is None:
            places = dataclasses.replace(places, device=devices[0])
        target = Target.of(devices[0], len(devices)) if devices else self._target
        places = places.with_types(program.out_tree, program.result_types)
        return placement.brought(program, places, devices), places, target

    def _next(self, regime: Regime, traced: Traced) -> Match | Regime | Failed:
        """A trace's program if it serves the regime's call; else the narrower regime to try."""
        if isinstance(traced, Failed):
            return traced
        if isinstance(traced, Divided):
            if all(needed.holds(regime.sizes) for needed in traced.asked):
                return regime.requiring(traced.asked)
            shown = ", ".join(map(str, traced.asked))
            return Failed(FunctionError(f"{self._name} divides arrays among devices: {shown}"))
        if isinstance(traced, Specialisation):
            program = traced.analysis.program
            broken = violated(program.guards, regime.sizes)
            if broken:
                return _beside(regime, program.guards, broken[0])
            hopeless = program.never_true(regime.sizes)
            assumed = hopeless and regime.assuming(hopeless.negated, program.order)
            return assumed or self._match(traced, regime)
        if traced.is_data_dependent:
            assumed = regime.assuming(traced.question, traced.data_dependent)
            return Failed(traced.error) if assumed is None else assumed
        question = traced.at(regime.sizes)
        narrowed = regime if question is None else regime.decided(question)
        # What is decided already did not stop the trace.
        return Failed(traced.error) if narrowed.key == regime.key else narrowed

    def _match(self, specialisation: Specialisation, regime: Regime) -> Match | Regime | Failed:
        """A program for its regime's call, if it is right at the call's sizes."""
        trust = specialisation.trust
        reading = trust.reading(regime.sizes)
        if reading is not None:
            return Match(specialisation, regime, reading)
        if trust.is_mostly_right:
            apart = _apart(regime)
            if apart.key != regime.key:
                return apart
        return Failed(trust.refusal(self._name, regime.sizes))

    def _count_compile(self, executable: Executable) -> None:
        self._counters.add(compiles=1, compile_seconds=executable.seconds)

    def _count_checks(self, traces: int) -> None:
        self._counters.add(checks=traces)


def _beside(regime: Regime, guards: Sequence[Comparison], broken: Comparison) -> Regime:
    """The regime of a call that breaks one of a program's guards.

    A trace for the call asks what that of the program asked, up to what it answers otherwise.
    """
    for guard in guards[: guards.index(broken)]:
        regime = regime.decided(guard) if guard.op == ">=" else regime
    divisor = broken.zero_divisor(regime.sizes)
    return regime.decided(broken.negated if divisor is None else Comparison.of(divisor, "==", 0))


def _apart(regime: Regime) -> Regime:
    """The regime of the small sizes of a call alone, such as 1, where arrays are broadcast."""
    for name, size in regime.sizes.items():
        if size <= SPECIAL and name in regime.symbols:  # another one may have settled it
            regime = regime.decided(Comparison.of(dims.symbol(name), "==", size))
    return regime
