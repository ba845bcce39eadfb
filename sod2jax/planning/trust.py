"""How far a program is to be trusted, and what confirms it.

What a trace asked of sizes is proved, or a guard. What it cannot have asked shows in comparison
with traces at concrete sizes: at a few of them beside the first compile (the audit), and at each
new size where there is a reason to doubt.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import DataDependentSizeError, StateError, TraceError
from sod2jax.ir import dims, silence
from sod2jax.ir.comparisons import violated
from sod2jax.ir.program import Program
from sod2jax.planning.results import same_results
from sod2jax.runtime.compile import Executable
from sod2jax.tracing.audit import Difference, difference
from sod2jax.tracing.concrete import Concrete
from sod2jax.tracing.generalise.varying import Reading

_SHARE = 0.1  # of the seconds that the first compile takes, which the audit may take
_SHOWN = 3  # arrays that a text names
_DRAWN = 3  # sizes of the audit that are drawn at random

Sizes = Mapping[str, int]


class Doubtful(TraceError):
    """A symbolic program is not what its function does at some sizes."""


class AnotherCourse(TraceError):
    """A function does something else at some sizes than its program generalised from others."""


class Trust:
    """What confirms a program at given sizes.

    Args:
      program: as it was traced.
      traced_at: traces the function at concrete sizes; raises what the function raises.
      first: the sizes to audit at first: those of the call that it was traced for, and those that
        were traced already.
      audit: whether to compare where there is no doubt.
      count: is told how often a generalised program was traced anew.
      compile_silent: compiles a bucket of the program, for the device at hand, without what it
        calls of Python.

    Attributes:
      causes: of doubts that the audit found, each with what was first seen of it, and how often
        it was seen.
      audited: the sizes at which the audit found the program right.
      seconds: how long the audit took.
    """

    def __init__(
        self,
        program: Program,
        traced_at: Callable[[Sizes], Concrete],
        first: Sequence[Sizes],
        audit: bool,
        count: Callable[[int], None],
        compile_silent: Callable[[Bucket], Executable],
    ):
        self.causes: dict[str, tuple[str, int]] = {}
        self.audited: list[Sizes] = []
        self.seconds = 0.0
        self._program, self._traced_at, self._first = program, traced_at, list(first)
        self._count, self._compile_silent = count, compile_silent
        self._lock = threading.RLock()
        self._checked: dict[tuple[int, ...], bool] = {}
        self._pending = audit and self._is_auditable
        self._suspects: list[tuple[Difference, Concrete]] = []
        self._hidden = False  # whether another form was let pass where a size is 1

    @property
    def _is_auditable(self) -> bool:
        program = self._program
        return bool(program.symbols) and not (self.is_checked or program.computed_dims)

    @property
    def doubts(self) -> list[str]:
        """Why each new size is checked; none if none need be."""
        found = [
            f"{what} (so at {count} of the sizes tried)" if count > 1 else what
            for what, count in self.causes.values()
        ]
        return [*self._program.doubts, *found]

    def news(self, name: str, told: set[str]) -> str | None:
        """What to warn of: causes that the audit found and that are not told yet.

        Args:
          name: the function's.
          told: the causes that were told; they become more.
        """
        new = [what for cause, (what, _) in self.causes.items() if cause not in told]
        told.update(self.causes)
        if not new:
            return None
        return (
            f"{name} does not do at all sizes what its symbolic trace says: {'; '.join(new)}. Each "
            "new size is now traced and compared before it runs; explain() counts the others. No "
            "trace sees all code that asks for the type of a size ('type(n) is int'): "
            "isinstance(n, int) is seen"
        )

    def _doubt(self, sizes: Sizes, cause: str, what: str) -> None:
        first, count = self.causes.get(cause, (f"with {self._shapes(sizes)}, {what}", 0))
        self.causes[cause] = first, count + 1

    def _shapes(self, sizes: Sizes) -> str:
        """The arrays that vary, at some sizes: a reader knows them, but no learned symbols."""
        named = zip(self._program.in_names, self._program.in_shapes, strict=True)
        varying = [(name, shape) for name, shape in named if any(map(dims.is_symbolic, shape))]
        shown = [
            f"{name} of shape {tuple(int(dims.evaluate(d, sizes)) for d in shape)}"
            for name, shape in varying[:_SHOWN]
        ]
        return ", ".join(shown) + (", ..." if len(varying) > _SHOWN else "")

    @property
    def is_checked(self) -> bool:
        """Whether each new size is traced and compared before it runs."""
        return bool(self.doubts) or self._program.varying is not None

    @property
    def is_mostly_right(self) -> bool:
        """Whether the sizes that the program does not serve are exceptions, as far as is known."""
        right = sum(self._checked.values())
        return self._program.varying is not None or 2 * right >= len(self._checked)

    def reading(self, sizes: Sizes) -> Reading | None:
        """What a call with these sizes passes besides its arrays; None if the program is wrong."""
        if self._pending and not any(map(self._serves, self._first)):
            self._first.append(sizes)  # it was traced for a call that another program serves
        found = self._read(sizes)
        if found is None or not self._program.numbers:
            return found
        try:
            numbers = self._program.numbers_at(found.sizes)
        except TraceError:  # the exact run of these sizes says what it is
            return None
        return dataclasses.replace(found, constants=(*found.constants, *numbers))

    def _read(self, sizes: Sizes) -> Reading | None:
        """The same, without what the host computes of sizes alone."""
        if self._program.varying is not None:
            before = self._program.varying.traces
            reading = self._program.varying.at(sizes)
            self._count(self._program.varying.traces - before)
            return reading
        return Reading((), sizes) if not self.doubts or self._is_right(sizes) else None

    def refusal(self, name: str, sizes: Sizes) -> TraceError:
        """Why the program does not serve some sizes; ``name`` is the function's."""
        try:
            self._program.numbers_at(sizes)
        except TraceError as error:
            return AnotherCourse(f"{name} does something else at {Bucket.of(sizes)}: {error}")
        if self._program.varying is None:
            return Doubtful(f"{name} may depend on sizes unseen: {'; '.join(self.doubts)}")
        return AnotherCourse(
            f"{self._program.varying.cause} It was traced at concrete sizes instead, and some "
            "sizes make it take another course than others; those run with exact shapes"
        )

    def _is_right(self, sizes: Sizes) -> bool:
        key = tuple(sizes[name] for name in self._program.symbols)
        with self._lock:
            if key not in self._checked:
                self._checked[key] = self._agrees(sizes)
            return self._checked[key]

    def _agrees(self, sizes: Sizes) -> bool:
        """Whether a trace at concrete sizes gives the program; none has sizes that values make."""
        if self._program.data_dependent:
            return False
        concrete = self._concrete(sizes)
        is_trace = isinstance(concrete, Concrete)
        return is_trace and difference(self._program, concrete, sizes, exactly=True) is None

    def _concrete(self, sizes: Sizes) -> Concrete | Exception:
        """The trace at concrete sizes; the error if the function fails there.

        Raises:
          StateError: it uses a size that the symbolic trace left behind, as a later one would.
        """
        try:
            return self._traced_at(sizes)
        except StateError:
            raise
        except Exception as error:  # the exact run of that size raises it again
            return error

    # The audit

    @property
    def is_pending(self) -> bool:
        """Whether the audit is still to be made."""
        return self._pending

    def begin(self) -> bool:
        """Whether the audit is still to be made; it is the caller's to make from now on."""
        with self._lock:
            pending, self._pending = self._pending, False
        return pending

    def compiled(
        self, build: Callable[[Callable[[], None] | None], Executable], constants: Sequence[Any]
    ) -> Executable:
        """Builds an executable; the first time, audits beside that and after it.

        Args:
          build: takes what to do while XLA compiles.
          constants: that the executable is called with.
        """
        if not self.begin():
            return build(None)
        try:
            executable = build(self.audit_own)
            self.finish(executable, constants)
        except StateError:
            self._pending = True  # nor does the next call go on without
            raise
        return executable

    def audit_own(self) -> None:
        """Audits at the sizes of the call that the program was traced for, and at those traced."""
        done = [*self.audited, *(dict(suspect.sizes) for suspect, _ in self._suspects)]
        for sizes in filter(self._serves, self._first):
            if sizes not in done:
                self._audit(sizes)

    def finish(self, executable: Executable, constants: Sequence[Any]) -> None:
        """Audits at other sizes while there is time; then decides where forms were different."""
        for count, sizes in enumerate(self._points(executable.bucket), 1):
            if self.seconds * (1 + 1 / count) > _SHARE * executable.seconds:
                break
            self._audit(sizes)
        for suspect, concrete in self._suspects:
            self._judge(suspect, concrete, executable, constants)
        self._suspects.clear()
        # Results of size 1 are often equal, as those of a softmax are: larger ones show more.
        self._pending = self._hidden and all(min(s.values()) == 1 for s in self.audited)

    def needs_results(self) -> bool:
        """Audits without an executable, once; whether only the results of one can settle it."""
        with self._lock:
            if not self._pending:
                return False
            self.audit_own()
            self._pending = bool(self._suspects)
            return self._pending

    def _audit(self, sizes: Sizes) -> None:
        start = time.perf_counter()
        concrete = self._concrete(sizes)
        if isinstance(concrete, DataDependentSizeError):
            return  # no trace at concrete sizes is of use
        if isinstance(concrete, Exception):
            if sizes in self._first:
                what = f"the function fails ({type(concrete).__name__}: {concrete})"
                self._doubt(sizes, "it fails", what)
        elif suspect := difference(self._program, concrete, sizes):
            self._suspects.append((suspect, concrete))
        else:
            self.audited.append(sizes)
        self.seconds += time.perf_counter() - start

    def _points(self, bucket: Bucket) -> Iterator[Sizes]:
        """Sizes that the program serves: the bucket, the smallest ones, and some at random."""
        region, rng = self._program.region, np.random.default_rng(0)
        low = {name: region.range(name)[0] for name in self._program.symbols}
        drawn = [
            {name: int(rng.integers(low[name], max(low[name], bucket[name]) + 1)) for name in low}
            for _ in range(_DRAWN)
        ]
        seen = list(self._first)
        for sizes in ({name: bucket[name] for name in low}, low, *drawn):
            if sizes not in seen and self._serves(sizes):
                seen.append(sizes)
                yield sizes

    def _serves(self, sizes: Sizes) -> bool:
        """Whether the program is for these sizes."""
        inside = self._program.region.contains(sizes)
        if not inside or violated(self._program.guards, sizes):
            return False
        try:
            self._program.numbers_at(sizes)
        except TraceError:
            return False
        return True

    def _judge(
        self,
        suspect: Difference,
        concrete: Concrete,
        executable: Executable,
        constants: Sequence[Any],
    ) -> None:
        """Another form may have the same results, as where an index is written in another way."""
        sizes = dict(suspect.sizes)
        if not executable.bucket.covers(Bucket.of(sizes)):
            return
        start = time.perf_counter()
        silent = dataclasses.replace(concrete, jaxpr=silence.silent(concrete.jaxpr))
        has_calls = silent.jaxpr is not concrete.jaxpr
        if (has_calls or executable.target.is_absent) and not suspect.is_final:
            executable = self._compile_silent(executable.bucket)
        if not suspect.is_final and same_results(
            self._program, executable, constants, silent, sizes
        ):
            self.audited.append(sizes)
            self._hidden |= min(sizes.values()) == 1
        else:
            what = suspect.what if suspect.is_final else f"it has {suspect.what}"
            self._doubt(sizes, suspect.cause, what)
        self.seconds += time.perf_counter() - start

    def __str__(self) -> str:
        if self._program.varying is not None:
            return str(self._program.varying)
        if self.doubts:
            right = sum(self._checked.values())
            return (
                f"checked: each new size is traced and compared before it runs; {right} are right, "
                f"{len(self._checked) - right} are not. The reason: {'; '.join(self.doubts)}"
            )
        if not self._program.symbols and not self._program.data_dependent:
            return "traced at these very shapes"
        shown = "; ".join(str(Bucket.of(sizes)) for sizes in self.audited)
        why = ", as sizes depend on values" if self._program.computed_dims else ""
        audited = f"audited at {shown}" if shown else f"not audited{why}"
        return f"proved, as far as the trace was asked; {audited}"

    def __repr__(self) -> str:
        return f"Trust({len(self.audited)} sizes audited, {len(self.doubts)} doubts)"
