"""Programs that need numbers: traced at several concrete sizes, and made one symbolic program.

Where Python or NumPy needs a size as a number, no symbol can stand for it. Such a function is
traced at a few concrete sizes. If the traces have one structure, their integers are fitted as
dimensions, and the constants that vary become inputs of a symbolic program. What was fitted may be
wrong at other sizes, so none is dispatched unchecked: each new size is traced once more (not
compiled) and compared with the program. Its constants are read off that trace, and so are the host
sizes: integers that are no dimension of the sizes, as ``int(0.3 * n)`` may be.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import numpy as np
from jax.core import ShapedArray

from sod2jax import _compat
from sod2jax.arguments.signature import Leaf
from sod2jax.errors import DataDependentSizeError, FunctionError, TraceError
from sod2jax.ir import dims
from sod2jax.ir.comparisons import NO_ASSUMPTIONS, Comparison
from sod2jax.ir.dims import Dim
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.tracing.advice import worded
from sod2jax.tracing.generalise.fit import Fitter, corners, sample_points, samples_wanted
from sod2jax.tracing.generalise.form import same_value
from sod2jax.tracing.generalise.host_sizes import HostSize, upper_bounds
from sod2jax.tracing.generalise.rebuild import Rebuilder
from sod2jax.tracing.generalise.samples import Sampler, Samples
from sod2jax.tracing.generalise.splits import splitting
from sod2jax.tracing.generalise.varying import Generalised, VaryingConstants
from sod2jax.tracing.regimes import Regime
from sod2jax.tracing.trace import Undecided, trace

SPECIAL = 4
"""Sizes up to which another structure splits no region: they get programs of their own."""

_FEWEST = 3  # samples that must agree in structure
_FEWEST_ALIKE = 2  # as the trace of the call, for a program of their own
_MORE = 9  # further samples where a few may mislead
_LINE = re.compile(r":(\d+) \(")  # of "file:line (function)"
_MOST_LIMITS = 16  # relations of host sizes that one program may rely on


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
      TraceError: the traces differ in structure.
      FunctionError: the function fails at the sizes of the call.
    """
    region = regime.region
    sampler = Sampler(fun, jax.tree.structure(tuple(arguments)), regime.leaves)
    if sampler(regime.sizes) is None:
        raise _no_structure(name, sampler.error)
    points = sample_points(region, samples_wanted(len(region.names)))
    samples = Samples(sampler, [regime.sizes, *points])
    question = _splitting(samples, regime)
    if question is not None:
        return Undecided(question, _no_structure(name, None), of_remainder=question.op == "==")
    if len(samples.points) < _FEWEST:
        raise _no_structure(name, sampler.error if not samples.points else None)
    generalised, limits = _fitted(samples, region)
    hosts = tuple(host.name for host in generalised.host_sizes)
    extra = [_leaf(generalised, k) for k in generalised.varying]
    leaves = (*regime.leaves, *extra)
    both = dataclasses.replace(
        regime,
        leaves=leaves,
        constraints=(*regime.constraints, *limits),
        assumptions=NO_ASSUMPTIONS,
        host_sizes=hosts,
    )
    rebuilt = _rebuilt(samples, generalised)
    points = [_known(generalised, samples, k) for k in range(len(samples.points))]
    for _ in range(_MOST_LIMITS):
        program = trace(rebuilt, (tuple(arguments), [0] * len(extra)), both, name, decides=False)
        if isinstance(program, Program):
            varying = VaryingConstants(
                sampler, samples.known, generalised, program.region, program.guards, cause
            )
            return dataclasses.replace(program, varying=varying, host_sizes=frozenset(hosts))
        if program.question.symbols.isdisjoint(hosts):
            return program
        limit = _common(program, points)
        both = dataclasses.replace(both, constraints=(*both.constraints, limit))
    raise TraceError(f"{name} compares sizes that only the host computes in too many ways")


def _splitting(samples: Samples, regime: Regime) -> Comparison | None:
    """The question that tells sizes apart whose traces differ in structure from the call's."""
    sizes = regime.sizes
    alike, others = samples.apart(sizes)
    if not alike or not others:
        return None
    if max(map(max, map(dict.values, others))) <= SPECIAL < min(sizes.values()):
        return None
    samples.add(sample_points(regime.region, samples_wanted(len(sizes)) + _MORE))
    alike, others = samples.apart(sizes)
    if len(alike) < _FEWEST_ALIKE:
        return None
    return splitting(sizes, alike, others, functools.partial(samples.are_alike, sizes))


def _no_structure(name: str, error: Exception | None) -> TraceError:
    if error is None:
        return TraceError(
            f"{name} has another program at almost every size, as a Python loop over it makes"
        )
    if isinstance(error, DataDependentSizeError):
        return TraceError("no trace at concrete sizes knows the sizes that depend on values")
    return FunctionError.of(name, error, worded(name, error))


def _fitted(samples: Samples, region: Region) -> tuple[Generalised, tuple[Comparison, ...]]:
    """What the samples have in common, and bounds of the host sizes."""
    fitter = Fitter(samples.points)
    ints = list(map(fitter.fit, samples.columns))
    if fitter.has_guessed or None in ints:
        samples.add(sample_points(region, samples_wanted(len(region.names)) + _MORE))
        samples.add(corners(region))
        fitter = Fitter(samples.points)
        ints = list(map(fitter.fit, samples.columns))
    hosts: list[HostSize] = []
    limits: list[Comparison] = []
    while None in ints:
        place = ints.index(None)
        column = samples.columns[place]
        source = _compat.source_line(*samples.forms[0].owners[place])
        host = HostSize(_new_name(region, hosts, source), place, max(0, 1 - min(column)), source)
        values = [value + host.offset for value in column]
        hosts.append(host)
        limits += upper_bounds(host.name, values, samples.points)
        fitter.add(host.name, values)
        ints = [
            fitter.fit(c) if d is None else d for d, c in zip(ints, samples.columns, strict=True)
        ]
    _, form, out_tree = samples.first
    varying = [
        k
        for k, column in enumerate(zip(*(f.values for f in samples.forms), strict=True))
        if not all(same_value(column[0], value) for value in column[1:])
    ]
    found = Generalised(form, tuple(cast(list[Dim], ints)), out_tree, tuple(varying), tuple(hosts))
    return found, tuple(limits)


def _new_name(region: Region, hosts: Sequence[HostSize], source: str) -> str:
    """A name that tells a reader where the size is used."""
    taken = {*region.names, *(host.name for host in hosts)}
    line = _LINE.search(source)
    name = f"size_at_line_{line[1]}" if line else "size_of_python"
    others = (f"{name}_{k}" for k in itertools.count(2))
    return next(n for n in (name, *itertools.islice(others, len(taken) + 1)) if n not in taken)


def _known(generalised: Generalised, samples: Samples, k: int) -> dict[str, int]:
    """All sizes at a sample."""
    ints = samples.forms[k].ints
    return samples.points[k] | {h.name: h.read(ints) for h in generalised.host_sizes}


def _common(undecided: Undecided, points: Sequence[Mapping[str, int]]) -> Comparison:
    """The answer that all samples give to a question about host sizes.

    Raises:
      TraceError: they give different ones, or it cannot be made a constraint.
    """
    question = undecided.question
    answers = {bool(question.holds(point)) for point in points}
    if len(answers) > 1 or question.op != ">=":
        raise undecided.error
    limit = question if answers == {True} else question.negated
    return dataclasses.replace(limit, source="")


def _rebuilt(samples: Samples, generalised: Generalised) -> Callable[..., Any]:
    """The function that the program is a trace of."""
    closed, form, out_tree = samples.first
    ints = generalised.ints

    def rebuilt(own: Any, constants: list[Any]) -> Any:
        own = jax.tree.leaves(own)
        like = next(d for x in own for d in x.shape if _compat.is_symbolic(d))
        wanted = list(dict.fromkeys(d for d in ints if dims.is_symbolic(d)))
        known = dict(zip(wanted, _compat.dimensions(map(dims.jax_text, wanted), like), strict=True))
        values = list(form.values)
        for k, constant in zip(generalised.varying, constants, strict=True):
            values[k] = constant
        rebuilder = Rebuilder([known.get(d, d) for d in ints], values)
        outputs = rebuilder.run(closed, own)
        outputs = [
            _compat.with_weak_type(y, atom.aval)
            for y, atom in zip(outputs, closed.outvars, strict=True)
        ]
        return jax.tree.unflatten(out_tree, outputs)

    return rebuilt


def _leaf(generalised: Generalised, k: int) -> Leaf:
    value = np.asarray(generalised.form.values[k])
    aval = ShapedArray(value.shape, value.dtype)
    shape = generalised.ints[generalised.form.shapes[k]]
    return Leaf(f"number {k} that Python computes", aval, shape)
