"""Versions of a bucket's program compiled, compared on this machine, and the best one kept."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat, memory
from sod2jax._compat import Jaxpr
from sod2jax.cost.trips import is_counted
from sod2jax.errors import InvariantError, MemoryLimitError
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.surgery import depth_first
from sod2jax.memory import XlaMemory
from sod2jax.memory.flatten import total_bytes
from sod2jax.runtime import choices
from sod2jax.schedule.versions import ROWS, Version
from sod2jax.target import Target

# Compiles a lowered program with compiler options.
Compile = Callable[[Any, Mapping[str, Any]], Any]

_FASTER = 0.97  # of the other's time: less is noise
_NO_SLOWER = 1.02
_LEANER = 0.9  # of the other's temporaries
_WORTH = 1 << 20  # bytes of temporaries: with fewer, the order of work is of no matter
# Of a loop, which takes less time below the full size, where nothing is measured.
_LITTLE_SLOWER = 1.1
_MUCH_LEANER = 0.5
_ROUNDS = 5
_LEAST_ROUNDS = 3  # however long they take
_BUDGET = 0.5  # of the time that the first version took to compile, for running versions


@dataclasses.dataclass(frozen=True)
class Figures:
    """What one version takes.

    Attributes:
      name: of the version.
      seconds: of one run on synthetic inputs; None if it was not run.
      temporaries: bytes that XLA assigned; None if it does not say.
      verdict: "chosen", or why not.
    """

    name: str
    seconds: float | None
    temporaries: int | None
    verdict: str = ""

    def is_better_than(self, other: Figures) -> bool:
        """Whether it is faster with no more memory, or takes less memory and is no slower."""
        if None in (self.seconds, other.seconds):
            return False
        time_ratio = self.seconds / other.seconds  # type: ignore[operator]
        bytes_ratio = (self.temporaries or 0) / max(other.temporaries or 0, 1)
        faster = time_ratio <= _FASTER and (bytes_ratio <= 1 or not self.temporaries)
        if self.name.startswith(ROWS) and not other.name.startswith(ROWS):
            faster |= bytes_ratio <= _MUCH_LEANER and time_ratio <= _LITTLE_SLOWER
        return faster or (bytes_ratio <= _LEANER and time_ratio <= _NO_SLOWER)

    def is_leaner_than(self, other: Figures) -> bool:
        """Whether it takes less memory: all that is known where nothing runs."""
        if None in (self.temporaries, other.temporaries):
            return False
        return self.temporaries <= _LEANER * other.temporaries  # type: ignore[operator]

    def against(self, best: Figures, why_not_run: str) -> Figures:
        """With the verdict, where ``best`` was chosen."""
        if self is best:
            return dataclasses.replace(self, verdict="chosen")
        why = f"not run: {why_not_run}" if self.seconds is None else "no better"
        return dataclasses.replace(self, verdict=why)

    def __str__(self) -> str:
        took = "" if self.seconds is None else f"{1e3 * self.seconds:.3g} ms, "
        size = "?" if self.temporaries is None else f"{self.temporaries:,}"
        return f"version '{self.name}': {took}{size} B of temporaries; {self.verdict}"


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """The version that a bucket runs.

    Attributes:
      version: which it is.
      call: its executable.
      figures: those of all versions that were compared, in this process or an earlier one.
    """

    version: Version
    call: Any
    figures: tuple[Figures, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Build:
    """How versions become executables.

    Attributes:
      lower: lowers one.
      compiled: compiles what is to be waited for.
      target: what is compiled for.
      compiler_options: for XLA, in all versions.
      memory_limit: bytes of arguments, results and temporaries that each may need; None for any.
    """

    lower: Callable[[Version], Any]
    compiled: Compile
    target: Target
    compiler_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    memory_limit: int | None = None
    _lowered: dict[int, tuple[Version, Any]] = dataclasses.field(default_factory=dict)

    def lowered(self, version: Version) -> Any:
        """A version, lowered once for all options."""
        key = id(version.jaxpr)
        if key not in self._lowered:
            self._lowered[key] = (version, self.lower(version))
        return self._lowered[key][1]

    def __call__(self, version: Version, build: Compile | None = None) -> Any:
        """The executable of a version."""
        options = {**self.target.compiler_options, **version.options, **self.compiler_options}
        call = (build or self.compiled)(self.lowered(version), options)
        if self.target.is_absent and _compat.is_loaded(call):
            kind = self.target.kind
            raise InvariantError(f"a program for {kind} was compiled for another device")
        return call

    def fits(self, call: Any) -> bool:
        """Whether an executable keeps to the limit, as far as XLA says what it needs."""
        needed = XlaMemory.of(call).total_bytes
        return self.memory_limit is None or needed is None or needed <= self.memory_limit


def within(best: Chosen, leaner: Iterable[Version], build: Build) -> Chosen:
    """The version that was chosen, or the first of leaner ones, that keeps to the limit of memory.

    Raises:
      MemoryLimitError: none does.
    """
    if build.memory_limit is None or build.fits(best.call):
        return best
    needed = [XlaMemory.of(best.call).total_bytes]
    for version in leaner:
        call = build(version, compile_lowered)
        if build.fits(call):
            why = f"chosen: it keeps to {build.memory_limit:,} B"
            figures = Figures(version.name, None, _temporaries(call), why)
            return Chosen(version, call, (*best.figures, figures))
        needed.append(XlaMemory.of(call).total_bytes)
    raise MemoryLimitError(min(n for n in needed if n is not None), build.memory_limit)


def chosen(
    offered: Iterable[Version],
    tune: str,
    built: Build,
    arguments: Callable[[], tuple[Any, ...]],
) -> Chosen:
    """Compiles the best version.

    Args:
      offered: to choose from, that which is best by the model first; no more are asked for than
        are needed.
      tune: "none" and "off" take the first version; "fast" compares it with the second one where
        much memory is at stake, or with one that is ordered for memory where XLA's own order takes
        more than the plan of the program; "full" compares all. Of versions for a device that is not
        there, only the temporaries are compared.
      built: compiles versions.
      arguments: makes something to run versions on: none that passes the limit of memory.
    """
    offered, target = iter(offered), built.target
    first = next(offered)

    def alone() -> Chosen:
        call = built(first)
        figures = (_unrun(first, call),) if target.is_absent else ()
        return Chosen(first, call, figures)

    small = tune == "fast" and total_bytes(first.jaxpr) < _WORTH
    if tune in ("none", "off") or small:
        return alone()
    versions = (first, *itertools.islice(offered, None if tune == "full" else 1))
    if len(versions) == 1:
        return alone()
    said = [tune, sorted(built.compiler_options.items()) or "", built.memory_limit or ""]
    key = choices.key_of(built.lowered(first).as_text(), target, " ".join(map(str, said)).strip())
    version, figures = _known(key, versions)
    if version is not None:
        return Chosen(version, built(version), figures)
    start = time.perf_counter()
    calls = {first: built(first)}
    budget = _BUDGET * (time.perf_counter() - start)
    others = versions[1:] if tune == "full" else _worth_a_try(versions, calls[first], target)
    if not others:
        return Chosen(first, calls[first])
    calls |= {version: built(version, compile_lowered) for version in others}
    calls = {version: call for version, call in calls.items() if built.fits(call)}
    if len(calls) < 2:
        version, call = next(iter(calls.items()), (first, built(first, compile_lowered)))
        return Chosen(version, call)
    figures = _compared(calls, arguments, budget, target)
    choices.store(key, {"figures": [dataclasses.asdict(f) for f in figures]})
    best = next(v for v, f in zip(calls, figures, strict=True) if f.verdict == "chosen")
    return Chosen(best, calls[best], figures)


def compile_lowered(lowered: Any, options: Mapping[str, Any]) -> Any:
    """What XLA makes of a lowered program, with compiler options."""
    return lowered.compile(compiler_options=dict(options) or None)


def _known(key: str, versions: Sequence[Version]) -> tuple[Version | None, tuple[Figures, ...]]:
    """The version that was chosen before, and the figures then."""
    try:
        figures = tuple(map(_read, (choices.stored(key) or {})["figures"]))
        name = next(f.name for f in figures if f.verdict == "chosen")
    except (KeyError, TypeError, StopIteration):
        return None, ()
    return next((v for v in versions if v.name == name), None), figures


def _read(row: Mapping[str, Any]) -> Figures:
    """Figures as they were stored; TypeError for what others may have written."""
    figures = Figures(**row)
    numbers = (figures.seconds, figures.temporaries)
    texts = (figures.name, figures.verdict)
    if all(isinstance(n, int | float | None) for n in numbers) and set(map(type, texts)) == {str}:
        return figures
    raise TypeError(row)


def _worth_a_try(versions: Sequence[Version], call: Any, target: Target) -> Sequence[Version]:
    """The second version, where much memory is at stake.

    Of one that differs by options only, if XLA takes more memory than a plan in order would.
    """
    first, *others = versions
    used = _temporaries(call) or 0
    if not others or max(used, total_bytes(first.jaxpr)) < _WORTH:
        return ()
    if ROWS in (first.name, others[0].name):
        return others[:1]
    is_other = used >= _WORTH and others[0].options
    return others[:1] if is_other and _least_memory(first.jaxpr, target) < _LEANER * used else ()


def _least_memory(jaxpr: Jaxpr, target: Target) -> int:
    """Bytes of temporaries, in the program's order or depth first, whichever needs fewer."""
    deep = _compat.with_equations(jaxpr, depth_first(jaxpr.eqns, jaxpr.outvars))
    plans = (memory.plan_memory(order, bucket={}, target=target) for order in (jaxpr, deep))
    return min(plan.arena_bytes for plan in plans)


def _compared(
    calls: Mapping[Version, Any],
    arguments: Callable[[], tuple[Any, ...]],
    budget: float,
    target: Target,
) -> tuple[Figures, ...]:
    may_run = not target.is_absent and all(_may_run(version.jaxpr) for version in calls)
    seconds = (
        _seconds(list(calls.values()), arguments(), budget) if may_run else [None] * len(calls)
    )
    rows = [
        Figures(version.name, took, _temporaries(call))
        for (version, call), took in zip(calls.items(), seconds, strict=True)
    ]
    # A loop must be better than what it stands for, which may be the second one.
    in_turn = sorted(rows, key=lambda row: row.name.startswith(ROWS))
    best, why = in_turn[0] if may_run else rows[0], "its course depends on values"
    if target.is_absent:
        why = f"no {target.kind} is there, and it takes no less memory"
    is_better = Figures.is_leaner_than if target.is_absent else Figures.is_better_than
    for row in in_turn:
        best = row if row is not best and is_better(row, best) else best
    return tuple(row.against(best, why) for row in rows)


def _unrun(version: Version, call: Any) -> Figures:
    """The figures of the version that the model takes, where nothing can be measured."""
    return Figures(version.name, None, _temporaries(call), "chosen")


def _seconds(calls: Sequence[Any], arguments: tuple[Any, ...], budget: float) -> list[float]:
    """The fastest run of each, interleaved."""
    for call in calls:
        jax.block_until_ready(call(*arguments))
    best = [math.inf] * len(calls)
    end = time.perf_counter() + budget
    for turn in range(1, _ROUNDS + 1):
        for k, call in enumerate(calls):
            start = time.perf_counter()
            jax.block_until_ready(call(*arguments))
            best[k] = min(best[k], time.perf_counter() - start)
        if turn >= _LEAST_ROUNDS and time.perf_counter() > end:
            break
    return best


def _may_run(jaxpr: Jaxpr) -> bool:
    """Whether a program ends on any input that can be made up, and nobody sees that it ran."""
    keys = not all(isinstance(var.aval.dtype, np.dtype) for var in jaxpr.invars)
    loops = (eqn for eqn in equations(jaxpr) if eqn.primitive.name == "while")
    return not keys and not jaxpr.effects and all(map(is_counted, loops))


def _temporaries(call: Any) -> int | None:
    return XlaMemory.of(call).temp_bytes


def synthetic(spec: Any) -> Any:
    """An array to run programs on: normal numbers, and zeros where they are not real."""
    if not jnp.issubdtype(spec.dtype, np.floating):
        return np.zeros(spec.shape, spec.dtype)
    numbers = np.random.default_rng(0).standard_normal(spec.shape, np.float32)
    return numbers.astype(spec.dtype)
