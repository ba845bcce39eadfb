"""What becomes of a program: the same as under ``jax.jit``, flagged, or a failure.

Everything of the package runs as it does for users, but that executables and ``jax.jit`` are not
compiled: NumPy runs their jaxprs. ``compiled=True`` compiles all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import linecache
import re
import sys
import traceback
import types
import unittest.mock
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import sod2jax
from sod2jax.errors import ExactFallbackWarning
from tests.fuzz.python_programs import interpret
from tests.fuzz.python_programs.generate import Program

LARGEST = 12  # size


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
      kind: "same", "checked" (a program that each new size is compared with), "exact" (by exact
        shapes, for a reason), "raises" (at every size, as ``jax.jit`` does); or a failure:
        "wrong", "silent" (by exact shapes, for no reason), "crash" (a raw error of the package's).
      detail: where, and what differs.
    """

    kind: str
    detail: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether it must not be."""
        return self.kind in ("wrong", "silent", "crash")


def loaded(program: Program) -> Any:
    """The function of a program, in a fresh module."""
    filename = f"program_{program.seed}.py"
    linecache.cache[filename] = (
        len(program.source),
        None,
        program.source.splitlines(keepends=True),
        filename,
    )
    name = f"program_{program.seed}"
    sys.modules[name] = module = types.ModuleType(name)
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            exec(compile(program.source, filename, "exec"), module.__dict__)
    finally:
        del sys.modules[name]
    return module.f


def judge(program: Program, compiled: bool = False) -> Verdict:
    """Runs a program at its sizes by ``jax.jit`` and by ``sod2jax.optimize``."""
    plain, function = loaded(program), loaded(program)
    optimized = sod2jax.optimize(function, poison=True, **program.options)
    reference = jax.jit(plain) if compiled else plainly(plain)
    if not compiled:
        optimized._exact.jitted = plainly(function)
    raised = 0
    with contextlib.ExitStack() as stack:
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        if not compiled:
            stack.enter_context(_interpreted())
        for sizes in program.points:
            inputs = arguments(program, sizes)
            want, got = _outcome(reference, inputs), _outcome(optimized, inputs)
            difference = _difference(want, got)
            if difference:
                return Verdict(_kind(want, got), f"at {dict(sizes)}: {difference}")
            raised += isinstance(want, Exception)
    if raised == len(program.points):
        return Verdict("raises")
    return _flags(optimized, caught, raised)


def _flags(optimized: Any, caught: Sequence[Any], raised: int) -> Verdict:
    """How a program whose results are right was run."""
    fallbacks = optimized.stats().exact_fallbacks
    warned = [w for w in caught if issubclass(w.category, ExactFallbackWarning)]
    text = optimized.explain()
    reasons = [line for line in text.splitlines() if line.startswith("runs with exact shapes")]
    if fallbacks > raised and not (warned and reasons):
        return Verdict("silent", f"{fallbacks} calls ran with exact shapes for no reason")
    if fallbacks > raised:
        return Verdict("exact", reasons[0])
    # A regime may fail for the sizes that jit raises at, and there alone.
    checked = re.search(r"(?:checked, not proved|trust: checked)(?s:.*?)The reason: (.*)", text)
    return Verdict("checked", checked[1]) if checked else Verdict("same")


def arguments(program: Program, sizes: Mapping[str, int]) -> list[np.ndarray]:
    """Small integers: sums of them are exact in any order, and ties are common."""
    rng = np.random.default_rng([program.seed, *sizes.values()])
    shapes = [
        tuple(int(d) if d.isdigit() else sizes[d] for d in spec.split(", "))
        for spec in program.specs
    ]
    return [rng.integers(-3, 4, shape).astype(np.float32) for shape in shapes]


def plainly(fun: Any) -> Any:
    """``jax.jit(fun)``, run by NumPy."""
    return _Traced(fun)


class _Traced:
    """``jax.jit(fun)``, whose jaxpr is run by NumPy."""

    def __init__(self, fun: Any):
        self._jitted = jax.jit(fun)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        traced = self._jitted.trace(*args, **kwargs)
        leaves = interpret.run(traced.jaxpr, jax.tree.leaves((args, kwargs)))
        return jax.tree.unflatten(jax.tree.structure(traced.out_info), leaves)


class _Lowered:
    """What ``Traced.lower()`` gives."""

    def __init__(self, traced: Any):
        self._jaxpr = traced.jaxpr

    def compile(self, compiler_options: Any = None) -> Any:
        del compiler_options
        return self

    def __call__(self, *args: Any) -> list[Any]:
        leaves = [np.asarray(x, a.aval.dtype) for x, a in self._paired(args)]
        return interpret.run(self._jaxpr, leaves)

    def _paired(self, args: Any) -> Any:
        return zip(jax.tree.leaves(args), self._jaxpr.invars, strict=True)


def _trim(array: Any, shape: Sequence[int]) -> Any:
    return array if array.shape == tuple(shape) else array[tuple(map(slice, shape))]


@contextlib.contextmanager
def _interpreted() -> Iterator[None]:
    with contextlib.ExitStack() as stack:

        def patch(name: str, new: Any) -> None:
            stack.enter_context(unittest.mock.patch(name, new))

        patch("jax.stages.Traced.lower", lambda traced, **_: _Lowered(traced))
        for module in ("runtime.plan", "planning.results"):
            patch(f"sod2jax.{module}.trim", _trim)
        patch("sod2jax.planning.trust._SHARE", 1e9)  # there is no compile to be cheaper than
        patch("sod2jax.runtime.versions._WORTH", 1 << 60)  # nor an order to choose
        yield


def _outcome(fun: Any, inputs: Sequence[Any]) -> Any:
    try:
        return fun(*inputs)
    except Exception as error:  # a program may raise anything
        return error


def _kind(want: Any, got: Any) -> str:
    """An error where there should be none is the package's, or the trace took another course."""
    if isinstance(got, Exception) and not isinstance(want, Exception):
        frames = traceback.extract_tb(got.__traceback__)
        if isinstance(got, AssertionError) or "program_" not in frames[-1].filename:
            return "crash"
    return "wrong"


def _difference(want: Any, got: Any) -> str:
    """How two outcomes differ; "" if they do not."""
    if isinstance(want, Exception) and isinstance(got, Exception):
        return ""
    if isinstance(want, Exception) or isinstance(got, Exception):
        return f"jit gives {_shown(want)}, optimized {_shown(got)}"
    trees = jax.tree.structure(want), jax.tree.structure(got)
    if trees[0] != trees[1]:
        return f"jit gives the tree {trees[0]}, optimized {trees[1]}"
    pairs = zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True)
    return next((f"output {k}: {d}" for k, (a, b) in enumerate(pairs) if (d := _array(a, b))), "")


def _array(a: Any, b: Any) -> str:
    kinds = [f"{x.dtype}{list(x.shape)}{'w' * bool(getattr(x, 'weak_type', 0))}" for x in (a, b)]
    if kinds[0] != kinds[1]:
        return f"jit gives {kinds[0]}, optimized {kinds[1]}"
    x, y = np.asarray(a).astype(np.complex128), np.asarray(b).astype(np.complex128)
    finite = np.abs(x[np.isfinite(x)])
    scale = 1e-4 * max(1.0, float(finite.max()) if finite.size else 0.0)
    if np.allclose(x, y, rtol=1e-4, atol=scale, equal_nan=True):
        return ""
    return f"jit gives {np.asarray(a).tolist()}, optimized {np.asarray(b).tolist()}"


def _shown(outcome: Any) -> str:
    if isinstance(outcome, Exception):
        where = traceback.extract_tb(outcome.__traceback__)[-1]
        lines = str(outcome).splitlines() or [""]
        return f"{type(outcome).__name__}({lines[0][:200]}) from {where.filename}:{where.lineno}"
    return "a result"
