"""The function that the decorator returns."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

import jax

from sod2jax import memory, report
from sod2jax.arguments import nnx
from sod2jax.arguments.calls import Call, copied
from sod2jax.arguments.passage import Args, Passage
from sod2jax.buckets.bucket import Bucket
from sod2jax.derived.derivations import Derivations
from sod2jax.errors import (
    AuditWarning,
    MemoryLimitError,
    TraceError,
    UnsupportedPrimitiveError,
)
from sod2jax.options import Options
from sod2jax.pipeline import Analysis
from sod2jax.planning import placement
from sod2jax.planning.ahead import check_is_here, compile_all, device_meant
from sod2jax.planning.choices import Choice
from sod2jax.planning.exact import Exact, ExactRuns, Fallbacks, debugging, warn
from sod2jax.planning.foreseen import memory_plan
from sod2jax.planning.out_of_range import unsettled
from sod2jax.planning.planner import Planner
from sod2jax.planning.specialise import Specialisation
from sod2jax.runtime.plan import Outcome
from sod2jax.stages import Lowered
from sod2jax.stats import Counters, Stats
from sod2jax.target import Target

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
F = TypeVar("F")
Kwargs = Mapping[str, Any]

_MOST_RUNS = 8  # of one call, each by a program made for the sizes that the last one computed


class OptimizedFunction(Generic[P, R]):
    """A function that runs at any in-range shape from a small fixed set of executables.

    Made by ``sod2jax.optimize``; called as the function it wraps.

    Attributes:
      options: what was asked for.
      planner: finds the program and the bucket of a call.
      passage: takes arguments to what is traced, and results back.
    """

    def __init__(self, fun: Callable[P, R], options: Options):
        functools.update_wrapper(self, fun)
        self._fun, self.options = fun, options
        self._name = getattr(fun, "__name__", type(fun).__name__)
        self._counters = Counters()
        self.passage = Passage(fun, options.filter, options.jit.donates)
        self._traced = self.passage.traced
        how = "runs through exact-shape executables, one compile per shape"
        self._fallbacks = Fallbacks(self._name, how, options.on_unsupported, self._counters.exact)
        self._begin()
        self._told: set[str] = set()  # causes that the audit found
        self._jitted = jax.jit(self._traced, **options.jit.given)
        self._exact = ExactRuns(self._traced, self._jitted)

    def __repr__(self) -> str:
        symbols = [n for s in self.planner.specialisations for n in s.analysis.program.symbols]
        return report.line(
            self._name, symbols, self.buckets, [e.bucket for e in self.planner.ready]
        )

    def _begin(self) -> None:
        of = (self._traced, self._name)
        self.planner = Planner(*of, self.options, self._counters, self._fallbacks)
        self._derivations = Derivations(self, *of, type(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> OptimizedFunction[P, R]:
        """Another function, of a copy of what this one wraps; nothing of it is compiled."""
        return type(self)(copy.deepcopy(self._fun, memo), self.options)

    # Calling

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the function; the result equals that of ``jax.jit(fun)`` on the same arguments.

        Inside of ``jit`` it is what ``jax.jit(fun)`` is there; under ``grad``, ``vmap`` and the
        like of arrays, what is derived from it runs from buckets, too. What it does to ``flax.nnx``
        modules among its arguments is done to the caller's, as with ``nnx.jit``.

        Raises:
          ShapeError: a shape breaks a spec or a constraint, or is over a maximum.
          SpecError: the specs do not fit the arguments.
          StateError: the function stores a size in Python state that outlives its trace.
          TargetError: it was compiled for a device that is not there.
          UnsupportedPrimitiveError, TraceError: with ``on_unsupported="error"`` only.
        """
        poison = self.options.poisons_inputs
        return self.passage.call(args, kwargs, lambda *a, **k: self.run(a, k, poison, consume=True))

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(
        self: OptimizedFunction[Concatenate[Any, Q], R], instance: object, owner: type | None = None
    ) -> Callable[Q, R]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def run(
        self, args: Args, kwargs: Kwargs, poison: bool, foreign: bool = False, consume: bool = False
    ) -> Any:
        """Runs a call with zeros, or with poison, in the padding of its inputs.

        Args:
          args: of the call, as the passage has them.
          kwargs: of the call, as it has them.
          poison: whether there is poison, but for inputs whose executable relies on zeros there.
          foreign: whether to run in executables, compiled apart, that rely on nothing there.
          consume: whether arguments that are donated are deleted.

        Returns:
          The result of what is traced.
        """
        call = self.read(args, kwargs)
        if call.is_traced:
            eager = self._derivations.of(call)
            return self._jitted(*args, **kwargs) if eager is None else eager()
        if self.options.jit.names_device:
            args, kwargs = placement.on_device(self.options.jit, args, kwargs)
            call = self.planner.read(args, kwargs)
        if call.donated and not consume:
            args, kwargs = copied(args, kwargs)
            call = self.planner.read(args, kwargs)
        check_is_here(self._name, self.planner.aim)
        served = debugging() or self.planner.choose(call)
        tried: list[Specialisation] = []
        while isinstance(served, Choice):
            outcome = self._outcome(served, call, poison, foreign)
            if isinstance(outcome, Exact):
                served = outcome
            elif served.is_doubtful:
                self._reconsider(served)
                served = self.planner.choose(call)
            elif outcome.holds:
                self._counters.hit(outcome.bucket, *outcome.elements)
                call.consume(outcome.result)
                return outcome.result
            else:
                tried.append(served.specialisation)
                served = self._again(call, served, outcome, tried)
        return self._run_exact(served, args, kwargs)

    def read(self, args: Args, kwargs: Kwargs) -> Call:
        """A call, as the passage has its arguments."""
        call = self.planner.read(args, kwargs)
        nnx.check_shared(call.leaves, (args, kwargs))
        return call

    def _found(self, find: Callable[[Call], F], args: Args, kwargs: Kwargs) -> F:
        """What the planner finds for a call that is not made."""
        return self.passage.read(args, kwargs, lambda *a, **k: find(self.read(a, k)))

    def _outcome(self, choice: Choice, call: Call, poison: bool, foreign: bool) -> Outcome | Exact:
        """What a run comes to, or why the program cannot be compiled."""
        try:
            if choice.specialisation.trust.is_pending:
                choice.specialisation.executables.get(choice.plan.bucket)
            if choice.is_doubtful:  # a run would be made again, and its effects with it
                return Outcome(choice.plan.bucket, (0, 0), holds=False)
            return choice.plan.run(call.leaves, poison, foreign)
        except UnsupportedPrimitiveError as error:
            return self.planner.give_up(choice.specialisation, error)
        except MemoryLimitError:
            if (other := self.planner.smaller(choice, call)) is None:
                raise
            return self._outcome(other, call, poison, foreign)
        except Exception:
            call.check_values(self._name)
            raise

    def _reconsider(self, choice: Choice) -> None:
        """Has calls planned anew, now that a program has turned out wrong somewhere."""
        news = choice.specialisation.trust.news(self._name, self._told)
        if news is not None:
            warn(news, AuditWarning)
        self.planner.forget_choices()

    def _again(
        self, call: Call, choice: Choice, outcome: Outcome, tried: Sequence[Specialisation]
    ) -> Choice | Exact:
        """What serves a call that computed sizes which the programs tried were not made for."""
        other = self.planner.choose_again(call, choice, outcome)
        if isinstance(other, Exact):
            return other
        if other.specialisation in tried or len(tried) == _MOST_RUNS:
            return self.planner.exact(
                TraceError(unsettled(self._name, other.regime, outcome.sizes))
            )
        return other

    def _run_exact(self, exact: Exact, args: Args, kwargs: Kwargs) -> Any:
        """The only way to an exact run."""
        return self._fallbacks.run(exact, lambda: self.exactly(args, kwargs, consume=True))

    def exactly(self, args: Args, kwargs: Kwargs, consume: bool = False) -> Any:
        """Runs a call with exact shapes, step by step where sizes depend on values.

        Args:
          args: of the call.
          kwargs: of the call.
          consume: whether arguments that are donated are deleted.
        """
        if not consume and self.options.jit.donates:
            args, kwargs = copied(args, kwargs)
        return self._exact(args, kwargs)

    # Ahead of time

    def analyse(self, *args: Any, **kwargs: Any) -> Analysis:
        """The symbolic program for arguments like these (arrays or ``jax.ShapeDtypeStruct``).

        Raises:
          TraceError: the function cannot be traced with symbolic dimensions.
        """
        choice = self._found(self.planner.choose, args, kwargs)
        if isinstance(choice, Exact):
            raise TraceError(f"{self._name} runs with exact shapes: {choice.reason}")
        return choice.specialisation.analysis

    def compile(self, *args: Any, target: Any = None, **kwargs: Any) -> Self:
        """Compiles every bucket for arguments like these, several at a time; returns the function.

        Where a symbol has no upper bound only the bucket that holds the arguments is compiled.
        So it is without ``shapes``: before calls have shown which dimensions vary, that is their
        very shape. To be ready for other sizes, give ``shapes`` and an upper bound for each.

        Args:
          *args: arrays, or ``jax.ShapeDtypeStruct``.
          target: a device that need not be there, such as ``sod2jax.target.topology("h100")``, or
            that name. What is compiled for it can be read (``explain``, ``memory_plan``), and not
            called. Anything else belongs to the function, which may have a parameter ``target``.
          **kwargs: as ``args``.

        Raises:
          MemoryLimitError, TargetError: too little memory; there are programs for another device.
          UnsupportedPrimitiveError, TraceError: with ``on_unsupported="error"`` only.
        """
        aim = device_meant(self._fun, target)
        if aim is not None:
            self.planner.aim_at(Target.of(aim))
        elif target is not None:
            kwargs["target"] = target
        choices = self._found(self.planner.alternatives, args, kwargs)
        if not choices:
            return self
        first = choices[0]
        self.planner.check_sizes(first.specialisation)
        try:
            compile_all(self._name, choices)
        except UnsupportedPrimitiveError as error:
            self.planner.give_up(first.specialisation, error)
        if first.is_doubtful:
            self._reconsider(first)
            return self.compile(*args, **kwargs)
        return self

    # The stages of ``jax.jit``

    def trace(self, *args: Any, **kwargs: Any) -> jax.stages.Traced:
        """As ``jax.jit(fun).trace``: the program for the very shapes of the arguments.

        ``analyse`` gives the symbolic one.
        """
        return self.passage.read(args, kwargs, self._jitted.trace)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered | jax.stages.Lowered:
        """The program of the bucket that serves arguments like these, lowered.

        What runs with exact shapes is lowered as ``jax.jit`` does it.

        Raises:
          ShapeError, SpecError: as for a call.
        """
        choice = self._found(self.planner.choose, args, kwargs)
        if isinstance(choice, Exact):
            return self.passage.read(args, kwargs, self._jitted.lower)
        traced = self.trace(*args, **kwargs)
        out, of = self.passage.result(traced.out_info), choice.specialisation.executables
        return Lowered(self, of, choice.plan.bucket, traced, out)

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """As ``jax.jit(fun).eval_shape``: the shapes and dtypes of the result."""
        return self.passage.result(self.passage.read(args, kwargs, self._jitted.eval_shape))

    def clear_cache(self) -> None:
        """Forgets all programs and executables; what is counted and told stays."""
        self._jitted.clear_cache()  # type: ignore[attr-defined]
        self._begin()

    # Reading

    @property
    def derived(self) -> tuple[OptimizedFunction, ...]:
        """What ``jax.grad``, ``vmap`` and the like of arrays made of it; each takes one list."""
        return tuple(self._derivations.functions)

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The buckets chosen so far: those of bounded symbols, and those that grew on demand."""
        return self.planner.buckets

    def bucket_for(self, *args: Any, **kwargs: Any) -> Bucket | None:
        """The bucket that would serve a call; None if it would run with exact shapes."""
        choice = self._found(self.planner.choose, args, kwargs)
        return choice.plan.bucket if isinstance(choice, Choice) else None

    def memory_plan(self, sizes: Bucket | Mapping[str, int] | int) -> memory.MemoryPlan:
        """The memory, in bytes, that the bucket of some sizes needs, or is expected to need.

        Args:
          sizes: by symbol, or the size of the only symbol.

        Raises:
          SpecError: the function has no program yet, or no bucket holds these sizes.
        """
        return memory_plan(sizes, self.planner.specialisations)

    def stats(self) -> Stats:
        """Counters since the function was made."""
        return self._counters.read()

    def explain(self) -> str:
        """A report of every stage: programs, operator classes, buckets, masks and reasons."""
        parts = [
            report.describe(s.analysis, s.regime, s.trust, s.ready)
            for s in self.planner.specialisations
        ]
        parts += [f"derived: {function!r}" for function in self.derived]
        return report.document(self._name, parts, self._fallbacks.reasons, self.stats())
