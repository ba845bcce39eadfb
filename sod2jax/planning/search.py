"""The search for a program that serves a call: each trace decides, or says what to decide."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from sod2jax import _compat, pipeline
from sod2jax.arguments.signature import solve
from sod2jax.errors import (
    DataDependentSizeError,
    FunctionError,
    PlacementError,
    ShapeError,
    SpecError,
    TraceError,
    UnsupportedPrimitiveError,
)
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison, violated
from sod2jax.ir.dims import Dim
from sod2jax.ir.program import Program
from sod2jax.options import Options
from sod2jax.planning import placement
from sod2jax.planning.specialise import Specialisation, specialise
from sod2jax.planning.trust import AnotherCourse, Doubtful, Trust
from sod2jax.runtime.compile import Executable
from sod2jax.stats import Counters
from sod2jax.target import Target
from sod2jax.tracing.advice import wants_constant
from sod2jax.tracing.bound import NumberWanted
from sod2jax.tracing.concrete import Concrete, traced_at
from sod2jax.tracing.generalise import generalise
from sod2jax.tracing.generalise.varying import Reading
from sod2jax.tracing.regimes import Regime
from sod2jax.tracing.trace import Undecided, trace

MOST_REGIMES = 8
"""Programs that one tree of arguments may split into."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Request:
    """A function and arguments to find a program for.

    Attributes:
      key: the tree and what is static: calls that may share programs have it in common.
      function: takes the arguments by position.
      arguments: pytrees of arrays, or of what stands for arrays.
    """

    key: Any
    function: Callable[..., Any]
    arguments: Sequence[Any]

    def __repr__(self) -> str:
        return f"Request({len(self.arguments)} arguments)"


@dataclasses.dataclass(frozen=True)
class Match:
    """The program for a call.

    Attributes:
      specialisation: the program.
      regime: what the call's sizes led to.
      reading: all true sizes, and the inputs of the program beyond the call's arrays.
    """

    specialisation: Specialisation
    regime: Regime
    reading: Reading


@dataclasses.dataclass(frozen=True)
class Failed:
    """There is no program; the error says why."""

    error: Exception

    @property
    def can_be_generalised(self) -> bool:
        """Whether traces at concrete sizes may lead further."""
        final = (DataDependentSizeError, AnotherCourse)
        return isinstance(self.error, TraceError) and not isinstance(self.error, final)

    @property
    def needs_its_cause(self) -> bool:
        """Whether why there was no symbolic trace is of interest: not if no trace can be made."""
        return isinstance(self.error, TraceError) and not isinstance(self.error, FunctionError)

    def remains_where(self, relations: Mapping[str, Dim]) -> bool:
        """Whether it surely fails where relations of sizes hold, too.

        Python code asked for a number that is none there, or for what no comparison shows.
        """
        if isinstance(self.error, Doubtful):
            return True
        cause = self.error.__cause__
        if not isinstance(cause, NumberWanted):
            return wants_constant(cause)
        pairs = {dims.symbol(name): dim for name, dim in relations.items()}
        known = [dims.normalise(d.subs(pairs, simultaneous=True)) for d in cause.dims or ()]
        return not known or any(map(dims.is_polynomial, known))

    @property
    def is_undecided(self) -> bool:
        """Whether it failed for comparisons of sizes, which bounds may settle."""
        cause = self.error.__cause__
        undecided = isinstance(cause, _compat.InconclusiveDimensionOperation)
        return (undecided and not wants_constant(cause)) or isinstance(self.error, _TooManyRegimes)


class Search:
    """Finds programs, and remembers what became of each trace.

    Args:
      name: what to call the programs.
      options: what the user asked for.
      counters: where traces and compiles are counted.
    """

    def __init__(self, name: str, options: Options, counters: Counters):
        self._name, self._options, self._counters = name, options, counters
        self._traced: dict[Any, Specialisation | Undecided | Failed] = {}
        self._concrete: dict[Any, Concrete] = {}  # the traces of programs without symbols

    def __repr__(self) -> str:
        return f"Search({self._name}: {self.count} traces)"

    @functools.cached_property
    def _target(self) -> Target:
        """Looked up when there is something to analyse, not before: it starts JAX's backend."""
        return Target.default()

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
        self._concrete = {each: c for each, c in self._concrete.items() if each[0] != key}

    def symbolic(self, request: Request, regime: Regime) -> Match | Failed:
        """The program for a call, from symbolic traces."""
        return self._narrowed(request, regime, self._symbolic)

    def complete(self, request: Request, regime: Regime) -> Match | Failed:
        """As ``symbolic``; what has no symbolic trace is generalised from concrete ones."""
        result = self._narrowed(request, regime, self._complete)
        if not isinstance(result, Failed) or not isinstance(result.error, _TooManyRegimes):
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
            _TooManyRegimes(
                f"{self._name} decides by size in more than {MOST_REGIMES} ways: {decisions}. "
                "Narrow the constraints, or decide by jnp.where"
            )
        )

    def _symbolic(self, request: Request, regime: Regime) -> Match | Regime | Failed:
        key = (*request.key, regime.key)
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

    def _generalised(
        self, request: Request, regime: Regime, cause: Exception
    ) -> Specialisation | Undecided | Failed:
        """What becomes of traces at concrete sizes; ``cause`` says why there is no symbolic one."""
        key = (*request.key, regime.key, "generalised")
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
    ) -> Specialisation | Undecided | Failed:
        """What becomes of a trace."""
        try:
            program = traced()
            if isinstance(program, Undecided):
                return program
            placement.check(program)
            analysis = pipeline.analyse(program, self._options, self._target)
        except (TraceError, UnsupportedPrimitiveError, PlacementError) as error:
            return Failed(error)
        finally:
            self._counters.add(traces=1)
        options = self._options
        tracer = self._tracer(request, regime)
        if not regime.symbols:
            self._concrete[request.key, _shapes(regime, {})] = Concrete(
                program.jaxpr, program.out_tree
            )
        first = (regime.sizes, *self._sizes_seen(request, regime))
        trust = Trust(program, tracer, first, options.audit, self._count_checks)
        most = options.max_executables
        return specialise(key, regime, analysis, trust, most, self._count_compile)

    def _tracer(self, request: Request, regime: Regime) -> Callable[[Mapping[str, int]], Concrete]:
        """Traces a function at sizes of a regime, unless a program of those shapes is there."""
        tree = jax.tree.structure(tuple(request.arguments))

        def tracer(sizes: Mapping[str, int]) -> Concrete:
            known = self._concrete.get((request.key, _shapes(regime, sizes)))
            if known is not None:
                return known
            self._count_checks(1)
            return traced_at(request.function, tree, regime.leaves, sizes)

        return tracer

    def _sizes_seen(self, request: Request, regime: Regime) -> list[dict[str, int]]:
        """The sizes of a regime's symbols at which programs without symbols were traced."""
        seen = []
        for key, arrays in self._concrete:
            shapes = [shape for shape, _, _ in arrays]
            ranks = [len(leaf.shape) for leaf in regime.leaves]
            if key != request.key or ranks != list(map(len, shapes)):
                continue
            leaves = [
                dataclasses.replace(leaf, aval=leaf.aval.update(shape=shape))
                for leaf, shape in zip(regime.leaves, shapes, strict=True)
            ]
            with contextlib.suppress(ShapeError, SpecError):
                seen.append(solve(leaves))
        return seen

    def _next(
        self, regime: Regime, traced: Specialisation | Undecided | Failed
    ) -> Match | Regime | Failed:
        """A trace's program if it serves the regime's call; else the narrower regime to try."""
        if isinstance(traced, Failed):
            return traced
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

    def _match(self, specialisation: Specialisation, regime: Regime) -> Match | Failed:
        """A program for its regime's call, if it is right at the call's sizes."""
        trust = specialisation.trust
        reading = trust.reading(regime.sizes)
        if reading is None:
            return Failed(trust.refusal(self._name))
        return Match(specialisation, regime, reading)

    def _count_compile(self, executable: Executable) -> None:
        self._counters.add(compiles=1, compile_seconds=executable.seconds)

    def _count_checks(self, traces: int) -> None:
        self._counters.add(checks=traces)


def _shapes(regime: Regime, sizes: Mapping[str, int]) -> tuple[Any, ...]:
    """The arrays of a regime at sizes of its symbols."""
    return tuple(
        (tuple(dims.evaluate(d, sizes) for d in leaf.shape), leaf.aval.dtype, leaf.aval.weak_type)
        for leaf in regime.leaves
    )


def _beside(regime: Regime, guards: Sequence[Comparison], broken: Comparison) -> Regime:
    """The regime of a call that breaks one of a program's guards.

    A trace for the call asks what that of the program asked, up to what it answers otherwise.
    """
    for guard in guards[: guards.index(broken)]:
        regime = regime.decided(guard) if guard.op == ">=" else regime
    return regime.decided(broken.negated)


class _TooManyRegimes(TraceError):
    """Each trace asked for one more decision."""
