"""The decorator, and the function that it returns."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import tqdm

from sod2jax import dims, dispatch, memory, pipeline, report, rewrite
from sod2jax.bucket import Bucket
from sod2jax.calls import Call, Caller
from sod2jax.compile import Executable
from sod2jax.dispatch import CallPlan
from sod2jax.errors import (
    ExactFallbackWarning,
    ShapeError,
    SpecError,
    TraceError,
    UnsupportedPrimitiveError,
)
from sod2jax.executables import Executables
from sod2jax.options import Options, Specs
from sod2jax.pipeline import Analysis
from sod2jax.region import Constraint, Region
from sod2jax.signature import Leaf, leaves_of, solve, spec_of
from sod2jax.stats import Counters, Stats


class _Specialisation:
    """One program with its executables; ``key`` is its tree, dtypes and static arguments."""

    def __init__(
        self, key: Any, analysis: Analysis, build: Callable[[Bucket], Executable], limit: int
    ):
        self.key, self.analysis = key, analysis
        self.executables = Executables(build, limit)


class OptimizedFunction:
    """A function that runs at any in-range shape from a small fixed set of executables.

    Made by ``sod2jax.optimize``; called as the function it wraps.
    """

    def __init__(self, fun: Callable[..., Any], options: Options):
        functools.update_wrapper(self, fun)
        self._fun, self._options = fun, options
        self._name = getattr(fun, "__name__", type(fun).__name__)
        self._caller = Caller(fun, options)
        self._counters = Counters()
        self._lock = threading.RLock()
        self._plans: dict[Any, tuple[CallPlan, _Specialisation] | None] = {}
        self._specialisations: dict[Any, _Specialisation | None] = {}
        self._fallback_reasons: list[str] = []
        self._exact = jax.jit(
            fun,
            static_argnums=options.static_argnums or None,
            static_argnames=options.static_argnames or None,
        )

    # Calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function; the result equals that of ``jax.jit(fun)`` on the same arguments.

        Inside ``jit``, ``grad`` or ``vmap`` the function is inlined.

        Raises:
          ShapeError: a shape breaks a spec or a constraint, or is over a maximum.
          SpecError: the specs do not fit the arguments.
          UnsupportedPrimitiveError, TraceError: with ``on_unsupported="error"`` only.
        """
        call = self._caller.read(args, kwargs)
        if call.is_traced:
            return self._fun(*args, **kwargs)
        found = self._plans.get(call.key, call)
        if found is call:
            found = self._plan(call)
        if found is None:
            return self._run_exact(args, kwargs)
        plan, specialisation = found
        try:
            executable = specialisation.executables.get(plan.bucket)
        except UnsupportedPrimitiveError as error:
            self._give_up(specialisation, error)
            return self._run_exact(args, kwargs)
        self._counters.hit(plan.bucket, plan.waste)
        return plan(call.leaves, executable, self._options.poison)

    def _run_exact(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self._counters.add(exact_fallbacks=1)
        return self._exact(*args, **kwargs)

    def _give_up(self, specialisation: _Specialisation, error: UnsupportedPrimitiveError) -> None:
        """From now on, runs a program with exact shapes."""
        self._fall_back(error)
        with self._lock:
            self._specialisations[specialisation.key] = None
            self._plans.clear()

    def _fall_back(self, error: UnsupportedPrimitiveError | TraceError) -> None:
        """Warns once per reason, or raises if the user wants no exact-shape executables."""
        if self._options.on_unsupported == "error":
            raise error
        reason = str(error)
        with self._lock:
            if reason in self._fallback_reasons:
                return
            self._fallback_reasons.append(reason)
        warnings.warn(
            f"{self._name} runs through exact-shape executables, one compile per shape: {reason}",
            ExactFallbackWarning,
            stacklevel=4,
        )

    # Planning

    def _plan(self, call: Call) -> tuple[CallPlan, _Specialisation] | None:
        """The plan for a call's signature; None to run it with exact shapes."""
        leaves, order, arguments, function = self._leaves(call)
        if any(0 in leaf.aval.shape for leaf in leaves):
            self._plans[call.key] = None
            return None
        sizes = solve(leaves)
        region = self._region(leaves)
        self._check_range(leaves, region, sizes)
        specialisation = self._specialise(call, leaves, arguments, function, region)
        found = None
        if specialisation is not None:
            bucket = specialisation.analysis.ladders.bucket(sizes)
            if bucket is None:
                raise ShapeError(self._over_ladder(leaves, specialisation.analysis, sizes))
            program = specialisation.analysis.program
            shapes = rewrite.padded_shapes(program, program.region.below(bucket))
            found = dispatch.plan_call(program, bucket, sizes, order, shapes), specialisation
        self._plans[call.key] = found
        return found

    def _leaves(
        self, call: Call
    ) -> tuple[list[Leaf], tuple[int, ...], list[Any], Callable[..., Any]]:
        arguments, order, function = self._caller.named(call)
        specs = spec_of(arguments, self._fun, self._options.shapes or {})
        return leaves_of(arguments, specs), order, list(arguments.values()), function

    def _region(self, leaves: Sequence[Leaf]) -> Region:
        names = {name for leaf in leaves for dim in leaf.shape for name in dims.symbols_of(dim)}
        ladders = self._options.buckets
        for name in sorted(set(ladders) - names):
            raise SpecError(
                f"buckets names '{name}', but the symbols of the specs are {sorted(names)}"
            )
        bounds = [Constraint.parse(f"{name} <= {sizes[-1]}") for name, sizes in ladders.items()]
        return Region.of(names, (*self._options.constraints, *bounds))

    def _check_range(
        self, leaves: Sequence[Leaf], region: Region, sizes: Mapping[str, int]
    ) -> None:
        for name, low, high in region.ranges:
            if sizes[name] < low or (high is not None and sizes[name] > high):
                raise ShapeError(_out_of_range(leaves, name, sizes[name], low, high))
        for constraint in region.constraints:
            if not constraint.holds(sizes):
                used = ", ".join(f"{n} = {sizes[n]}" for n in sorted(constraint.symbols))
                raise ShapeError(
                    f"the call of {self._name} violates the constraint '{constraint}': {used}"
                )

    def _specialise(
        self,
        call: Call,
        leaves: Sequence[Leaf],
        arguments: Sequence[Any],
        function: Callable[..., Any],
        region: Region,
    ) -> _Specialisation | None:
        tree, static, _ = call.key
        key = (tree, static, tuple(leaf.key for leaf in leaves))
        with self._lock:
            if key not in self._specialisations:
                self._specialisations[key] = self._trace(key, leaves, arguments, function, region)
            return self._specialisations[key]

    def _trace(
        self,
        key: Any,
        leaves: Sequence[Leaf],
        arguments: Sequence[Any],
        function: Callable[..., Any],
        region: Region,
    ) -> _Specialisation | None:
        try:
            analysis = pipeline.analyse(
                function,
                arguments,
                leaves,
                region,
                name=self._name,
                buckets=self._options.buckets,
                max_executables=self._options.max_executables,
            )
        except (TraceError, UnsupportedPrimitiveError) as error:
            self._fall_back(error)
            return None
        self._counters.add(traces=1)

        def build(bucket: Bucket) -> Executable:
            executable = analysis.compile(bucket)
            self._counters.add(compiles=1, compile_seconds=executable.seconds)
            return executable

        return _Specialisation(key, analysis, build, self._options.max_executables)

    # Ahead of time

    def trace(self, *args: Any, **kwargs: Any) -> Analysis:
        """The symbolic program for arguments like these (arrays or ``jax.ShapeDtypeStruct``).

        Raises:
          TraceError: the function cannot be traced with symbolic dimensions.
        """
        found = self._plan(self._caller.read(args, kwargs))
        if found is None:
            raise TraceError(
                f"{self._name} runs with exact shapes: {'; '.join(self._fallback_reasons)}"
            )
        return found[1].analysis

    def compile(self, *args: Any, **kwargs: Any) -> OptimizedFunction:
        """Compiles every bucket for arguments like these, several at a time; returns the function.

        Where a symbol has no upper bound there is no end of buckets: then only the one that holds
        the arguments is compiled.

        Raises:
          UnsupportedPrimitiveError, TraceError: with ``on_unsupported="error"`` only.
        """
        found = self._plan(self._caller.read(args, kwargs))
        if found is None:
            return self
        plan, specialisation = found
        buckets = specialisation.analysis.ladders.buckets or (plan.bucket,)
        bar = tqdm.tqdm(
            total=len(buckets), desc=f"compile {self._name}", unit="bucket", disable=None
        )
        try:
            with bar, ThreadPoolExecutor() as pool:
                for _ in pool.map(specialisation.executables.get, reversed(buckets)):
                    bar.update()
        except UnsupportedPrimitiveError as error:
            self._give_up(specialisation, error)
        return self

    # Reading

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The buckets chosen so far: those of bounded symbols, and those that grew on demand."""
        chosen = {b for s in self._programs for b in s.analysis.ladders.buckets}
        chosen |= {e.bucket for s in self._programs for e in s.executables.ready}
        return tuple(sorted(chosen, key=lambda b: b.sizes))

    def bucket_for(self, *args: Any, **kwargs: Any) -> Bucket | None:
        """The bucket that would serve a call; None if it would run with exact shapes."""
        found = self._plan(self._caller.read(args, kwargs))
        return None if found is None else found[0].bucket

    def memory_plan(self, bucket: Bucket | Mapping[str, int] | int) -> memory.MemoryPlan:
        """The memory plan of a compiled bucket, in bytes, beside XLA's own figures.

        Args:
          bucket: a bucket, its sizes by symbol, or the size of the only symbol.

        Raises:
          SpecError: no executable of that bucket has been compiled.
        """
        ready = [e for s in self._programs for e in s.executables.ready]
        for executable in ready:
            sizes = dict(executable.bucket)
            if bucket == executable.bucket or bucket == sizes or [bucket] == list(sizes.values()):
                return executable.memory_plan()
        compiled = "; ".join(str(e.bucket) for e in ready) or "none"
        raise SpecError(
            f"no executable of bucket {bucket} is compiled; compiled buckets: {compiled}"
        )

    def stats(self) -> Stats:
        """Counters since the function was made."""
        return self._counters.read()

    def explain(self) -> str:
        """A report of every stage: programs, operator classes, buckets, masks and reasons."""
        parts = [report.describe(s.analysis, s.executables.ready) for s in self._programs]
        return report.document(self._name, parts, self._fallback_reasons, self.stats())

    @property
    def _programs(self) -> list[_Specialisation]:
        with self._lock:
            return [s for s in self._specialisations.values() if s is not None]

    def _over_ladder(
        self, leaves: Sequence[Leaf], analysis: Analysis, sizes: Mapping[str, int]
    ) -> str:
        for name, ladder in analysis.ladders.sizes:
            if ladder is not None and sizes[name] > ladder[-1]:
                return _out_of_range(leaves, name, sizes[name], 1, ladder[-1])
        raise AssertionError(sizes)


def _out_of_range(leaves: Sequence[Leaf], name: str, size: int, low: int, high: int | None) -> str:
    axes = [
        f"axis {axis} of '{leaf.name}'"
        for leaf in leaves
        for axis, dim in enumerate(leaf.shape)
        if name in dims.symbols_of(dim)
    ]
    if size < low:
        return (
            f"{axes[0]} makes '{name}' {size}, under its minimum of {low}: lower the constraint "
            f"'{name} >= {low}'"
        )
    return (
        f"{axes[0]} makes '{name}' {size}, over its maximum of {high}: to allow it, raise the "
        f"bound in constraints=('{name} <= {size}', ...) or the largest of "
        f"buckets={{'{name}': ...}}, "
        "whichever sets it"
    )


def optimize(
    fun: Callable[..., Any] | None = None,
    *,
    shapes: Specs = None,
    constraints: Sequence[str] = (),
    buckets: Mapping[str, Sequence[int]] | None = None,
    max_executables: int = 8,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    on_unsupported: str = "exact",
    poison: bool = False,
) -> Any:
    """Lets a function written for exact shapes run at any shape, exactly, from few executables.

    The method follows SoD2 (Niu, Agrawal, Ren: ASPLOS 2024, arXiv 2403.00176): symbolic trace,
    operator classes, Rank and Dimension Propagation; masks are inferred from the program.

    Args:
      fun: the function; omitted when used as ``@sod2jax.optimize(...)``.
      shapes: one spec per argument (a sequence over positional arguments, or a dictionary by
        parameter name). None: the shape is fixed. "b, s, 3": names are symbolic sizes, "_" takes
        the size of the call, "..." any fixed axes. A spec may be a pytree prefix of specs.
      constraints: relations such as "s <= 512" or "s >= b"; tracing relies on them and calls are
        checked against them.
      buckets: padded sizes by symbol; by default chosen for the range that the constraints leave,
        or grown by powers of two where they leave no upper bound.
      max_executables: how many buckets a program may have.
      static_argnums: as for ``jax.jit``.
      static_argnames: as for ``jax.jit``.
      on_unsupported: "exact" runs what has no exact padded form through exact-shape executables,
        with one warning; "error" raises instead.
      poison: fills input padding with NaN and the largest integers, for tests and debugging.

    Returns:
      An ``OptimizedFunction``, or a decorator if ``fun`` is omitted.

    Raises:
      SpecError: an option is malformed.
    """
    options = Options.checked(
        shapes=shapes,
        constraints=constraints,
        buckets=buckets,
        max_executables=max_executables,
        static_argnums=static_argnums,
        static_argnames=static_argnames,
        on_unsupported=on_unsupported,
        poison=poison,
    )
    if fun is None:
        return lambda f: OptimizedFunction(f, options)
    return OptimizedFunction(fun, options)
