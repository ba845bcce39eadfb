"""Programs that need numbers: traced at several concrete sizes, and made one symbolic program.

Where Python or NumPy needs a size as a number, no symbol can stand for it. Such a function is
traced at a few concrete sizes. If the traces have one structure, their integers are fitted as
dimensions, and the constants that vary become inputs of a symbolic program. What was fitted may be
wrong at other sizes, so none is dispatched unchecked: each new size is traced once more (not
compiled) and compared with the program, and its constants are read off that trace.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray

from sod2jax import _compat
from sod2jax.arguments.signature import Leaf
from sod2jax.errors import TraceError
from sod2jax.ir import dims
from sod2jax.ir.comparisons import NO_ASSUMPTIONS
from sod2jax.ir.dims import Dim
from sod2jax.ir.program import Program
from sod2jax.tracing.generalise.fit import Fitter, sample_points, samples_wanted
from sod2jax.tracing.generalise.form import Form, form_of, same_value
from sod2jax.tracing.generalise.rebuild import Rebuilder
from sod2jax.tracing.regimes import Regime
from sod2jax.tracing.trace import Undecided, trace

_FEWEST = 3  # samples that must agree in structure


class Sampler:
    """Traces a function at concrete sizes.

    Args:
      fun: takes the dynamic arguments by position.
      tree: structure of the tuple of arguments.
      leaves: the arrays with their symbolic shapes.

    Attributes:
      traces: how many traces were made.
    """

    def __init__(self, fun: Callable[..., Any], tree: Any, leaves: Sequence[Leaf]):
        self._fun, self._tree, self._leaves = fun, tree, leaves
        self.traces = 0

    def __call__(self, sizes: Mapping[str, int]) -> tuple[Any, Form, Any] | None:
        """(closed jaxpr, its form, tree of the result); None if the function fails there."""
        specs = [
            jax.ShapeDtypeStruct(
                tuple(dims.evaluate(d, sizes) for d in leaf.shape),
                leaf.aval.dtype,
                weak_type=leaf.aval.weak_type,
            )
            for leaf in self._leaves
        ]
        self.traces += 1
        try:
            traced = jax.jit(self._fun).trace(*jax.tree.unflatten(self._tree, specs))
        except Exception:  # the exact-shape run of that size raises it again
            return None
        return traced.jaxpr, form_of(traced.jaxpr), jax.tree.structure(traced.out_info)


class VaryingConstants:
    """The constants of a program that vary with the sizes, from a checked trace of each size.

    Args:
      sampler: traces the function at concrete sizes.
      form: the form that all traces must have.
      ints: the dimension of each of its integers.
      out_tree: structure of the result.
      varying: which of its constants vary.
      cause: why there is no symbolic trace.
    """

    def __init__(
        self,
        sampler: Sampler,
        form: Form,
        ints: Sequence[Dim],
        out_tree: Any,
        varying: Sequence[int],
        cause: Exception,
    ):
        self.cause = cause
        self._sampler, self._form, self._ints = sampler, form, tuple(ints)
        self._out_tree, self._varying = out_tree, tuple(varying)
        self._lock = threading.Lock()
        self._known: dict[tuple[int, ...], tuple[np.ndarray, ...] | None] = {}

    def at(self, sizes: Mapping[str, int]) -> tuple[np.ndarray, ...] | None:
        """The constants at true sizes; None where the function takes another course."""
        key = tuple(sizes[name] for name in sorted(sizes))
        with self._lock:
            if key not in self._known:
                self._known[key] = self._read(sizes)
            return self._known[key]

    @property
    def traces(self) -> int:
        """How many traces at concrete sizes were made."""
        return self._sampler.traces

    def _read(self, sizes: Mapping[str, int]) -> tuple[np.ndarray, ...] | None:
        sampled = self._sampler(sizes)
        if sampled is None:
            return None
        _, form, out_tree = sampled
        if out_tree != self._out_tree or form.skeleton != self._form.skeleton:
            return None
        if any(dims.evaluate(d, sizes) != k for d, k in zip(self._ints, form.ints, strict=True)):
            return None
        pairs = zip(self._form.values, form.values, strict=True)
        same = [same_value(old, new) for old, new in pairs]
        if not all(same[k] for k in range(len(same)) if k not in self._varying):
            return None
        return tuple(np.asarray(form.values[k]) for k in self._varying)

    def __str__(self) -> str:
        with self._lock:
            right = sum(constants is not None for constants in self._known.values())
            other = len(self._known) - right
        return (
            f"checked, not proved: generalised from traces at concrete sizes; {len(self._varying)} "
            f"constants vary with the sizes; {right} sizes checked, {other} run with exact shapes. "
            f"The reason: {self.cause}"
        )


def generalise(
    fun: Callable[..., Any],
    arguments: Sequence[Any],
    regime: Regime,
    name: str,
    cause: Exception,
) -> Program | Undecided:
    """Traces a function at concrete sizes of a regime and makes one symbolic program of it.

    The least general generalisation of the traces, as anti-unification has it. Args and returns
    are those of ``trace.trace``; ``cause`` says why that failed. The program has ``varying``.

    Raises:
      TraceError: the traces differ in structure, or in integers that no known dimension gives.
    """
    leaves, region = regime.leaves, regime.region
    sampler = Sampler(fun, jax.tree.structure(tuple(arguments)), leaves)
    points = sample_points(region, samples_wanted(len(region.names)))
    sampled = [(p, sample) for p in points if (sample := sampler(p)) is not None]
    group = _largest_group(sampled)
    if len(group) < _FEWEST:
        raise TraceError(f"{name} takes another course at almost every size")
    forms = [form for _, (_, form, _) in group]
    _, (closed, form, out_tree) = group[0]
    fitter = Fitter([point for point, _ in group])
    ints: list[Dim] = []
    for column in zip(*(f.ints for f in forms), strict=True):
        fitted = fitter.fit(column)
        if fitted is None:
            seen = ", ".join(map(str, column))
            raise TraceError(f"{name} has sizes of {seen} at some sizes, which fit no dimension")
        ints.append(fitted)
    varying = [
        k
        for k, column in enumerate(zip(*(f.values for f in forms), strict=True))
        if not all(same_value(column[0], value) for value in column[1:])
    ]
    extra = [_leaf(form, k, ints) for k in varying]
    constants = VaryingConstants(sampler, form, ints, out_tree, varying, cause)

    def rebuilt(own: Any, constants: list[Any]) -> Any:
        own = jax.tree.leaves(own)
        like = next(d for x in own for d in x.shape if _compat.is_symbolic(d))
        wanted = list(dict.fromkeys(d for d in ints if dims.is_symbolic(d)))
        known = dict(zip(wanted, _compat.dimensions(map(dims.jax_text, wanted), like), strict=True))
        values = list(form.values)
        for k, constant in zip(varying, constants, strict=True):
            values[k] = constant
        rebuilder = Rebuilder([known.get(d, d) for d in ints], values)
        outputs = rebuilder.run(closed, own)
        outputs = [
            _compat.with_weak_type(y, atom.aval)
            for y, atom in zip(outputs, closed.outvars, strict=True)
        ]
        return jax.tree.unflatten(out_tree, outputs)

    both = dataclasses.replace(regime, leaves=(*leaves, *extra), assumptions=NO_ASSUMPTIONS)
    return trace(rebuilt, (tuple(arguments), [0] * len(extra)), both, name, constants)


def _largest_group(sampled: Sequence[Any]) -> list[Any]:
    """The samples of the most common structure."""
    groups: list[list[Any]] = []
    for sample in sampled:
        _, (_, form, out_tree) = sample
        for group in groups:
            _, (_, other, other_tree) = group[0]
            if form.skeleton == other.skeleton and out_tree == other_tree:
                group.append(sample)
                break
        else:
            groups.append([sample])
    return max(groups, key=len, default=[])


def _leaf(form: Form, k: int, ints: Sequence[Any]) -> Leaf:
    value = np.asarray(form.values[k])
    aval = ShapedArray(value.shape, value.dtype)
    return Leaf(f"constant {k} of the trace", aval, tuple(ints[form.shapes[k]]))
