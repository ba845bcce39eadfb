"""Counts jaxprs, through calls and control flow."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.cost import formulas
from sod2jax.cost.cost import Cost
from sod2jax.cost.formulas import elements, fuses, takes_in, width
from sod2jax.cost.trips import trip_count
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.vocabulary import CALLS, GENERAL_REDUCTIONS, LINEAR_SOLVES, SCATTERS
from sod2jax.rdp import ValueRange

# Their jaxprs combine scalars, which is a part of the operation.
REDUCERS = GENERAL_REDUCTIONS | SCATTERS | {"reduce_window", "select_and_scatter"}


class Counter:
    """Counts jaxprs; remembers those that it has counted.

    Args:
      value_range: what the analysis knows of integers, for the trip counts of ``while`` loops.
    """

    def __init__(self, value_range: ValueRange = lambda atom: None):
        self._value_range = value_range
        self._counted: dict[int, tuple[Any, Cost]] = {}

    def jaxpr(self, jaxpr: Jaxpr) -> Cost:
        """The cost of a jaxpr, whose inputs and outputs are in memory."""
        if id(jaxpr) not in self._counted:
            cost = self.equations(jaxpr.eqns, (*jaxpr.invars, *jaxpr.constvars), jaxpr.outvars)
            self._counted[id(jaxpr)] = (jaxpr, cost)
        return self._counted[id(jaxpr)][1]

    def _dearest(self, jaxprs: Iterable[Jaxpr]) -> Cost:
        """The largest cost of several jaxprs, of each kind of work."""
        return functools.reduce(Cost.most, map(self.jaxpr, jaxprs))

    def equations(
        self, eqns: Sequence[JaxprEqn], inputs: Iterable[Any], outputs: Iterable[Any]
    ) -> Cost:
        """The cost of some equations, given which variables are in memory before and after."""
        env: dict[Any, Any] = {}
        steps = list(_steps(eqns, env))
        memory = {*inputs, *(env.get(v, v) for v in outputs if not _compat.is_literal(v))}
        memory |= _in_memory(steps)
        flops, hard = collections.Counter[Dim](), collections.Counter[Dim]()
        whole, plain = Cost(), []
        for step in steps:
            inner = self._inner(step.eqn)
            if inner is not None:
                whole += inner
                continue
            plain.append(step)
            size, count = formulas.flops(step.eqn)
            flops[size] += count
            hard[size] += formulas.is_transcendental(step.eqn)
        return whole + Cost(_total(flops), _traffic(plain, memory), _total(hard))

    def _inner(self, eqn: JaxprEqn) -> Cost | None:
        """The cost of an equation that runs jaxprs; None for others."""
        name, params = eqn.primitive.name, eqn.params
        if name == "cond":
            return self._dearest(params["branches"])
        if name == "gated_rows":
            return self._rows(eqn)
        if name == "scan":
            return self.jaxpr(params["jaxpr"]).times(dims.from_jax(params["length"]))
        if name == "while":
            return self._while(eqn)
        if name in REDUCERS:
            return None
        bodies = [body for _, body in _compat.sub_jaxprs(eqn)]
        if name in LINEAR_SOLVES:
            bodies = bodies[:1]  # the others are for its derivatives
        return sum(map(self.jaxpr, bodies), Cost()) if bodies else None

    def _rows(self, eqn: JaxprEqn) -> Cost:
        """Every row may ask for the most expensive body."""
        rows, block = dims.from_jax(eqn.invars[0].aval.shape[0]), eqn.params["block"]
        last: Any = rows + block - 1
        blocks: Any = last // block if isinstance(last, int) else dims.floordiv(last, block)
        return self._dearest(eqn.params["bodies"]).times(blocks)

    def _while(self, eqn: JaxprEqn) -> Cost:
        once = self.jaxpr(eqn.params["cond_jaxpr"]) + self.jaxpr(eqn.params["body_jaxpr"])
        count = trip_count(eqn, self._value_range)
        if count is not None:
            return once.times(count)
        return dataclasses.replace(once, assumed=(*once.assumed, _compat.source_line(eqn)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """An equation with calls inlined.

    Attributes:
      eqn: the equation.
      reads: (value, operand) for each operand that is no literal.
      makes: (value, result) for each result. A value is a variable, or an object of its own.
    """

    eqn: JaxprEqn
    reads: tuple[tuple[Any, Any], ...]
    makes: tuple[tuple[Any, Any], ...]


def _steps(eqns: Sequence[JaxprEqn], env: dict[Any, Any], inside: bool = False) -> Iterator[_Step]:
    """Equations with calls inlined; ``env`` learns the value of each variable that is not one."""
    for eqn in eqns:
        reads = [(env.get(v, v), v) for v in eqn.invars if not _compat.is_literal(v)]
        if eqn.primitive.name in CALLS:
            ((_, body),) = _compat.sub_jaxprs(eqn)
            values = [None if _compat.is_literal(v) else env.get(v, v) for v in eqn.invars]
            inner = dict(zip(body.invars, values, strict=True))
            yield from _steps(body.eqns, inner, inside=True)
            results = [None if _compat.is_literal(v) else inner.get(v, v) for v in body.outvars]
            env.update(zip(eqn.outvars, results, strict=True))
            continue
        if inside:  # a jaxpr that is called twice has the same variables both times
            env.update((var, object()) for var in eqn.outvars)
        yield _Step(eqn, tuple(reads), tuple((env.get(v, v), v) for v in eqn.outvars))


def _total(terms: Mapping[Dim, int]) -> Dim:
    return dims.normalise(sum(size * count for size, count in terms.items()))


def _traffic(steps: Sequence[_Step], memory: set[Any]) -> Dim:
    """Bytes that equations read and write: each kernel reads an array once."""
    kernels = _kernels(steps, memory)
    reads = {
        (kernel, value): var
        for kernel, step in zip(kernels, steps, strict=True)
        for value, var in step.reads
        if value in memory
    }
    writes = [var for step in steps for value, var in step.makes if value in memory]
    lanes: collections.Counter[Dim] = collections.Counter()
    for var in (*reads.values(), *writes):
        lanes[elements(var)] += width(var)
    return _total(lanes)


def _kernels(steps: Sequence[_Step], memory: set[Any]) -> list[int]:
    """The number of the kernel that each equation is part of.

    An equation joins a kernel that reads its result, if that is not in memory.
    """
    kernels = list(range(len(steps)))
    reader: dict[Any, int] = {}
    for k in reversed(range(len(steps))):
        readers = [reader[v] for v, _ in steps[k].makes if v in reader and v not in memory]
        kernels[k] = max(readers, default=k)
        for value, _ in steps[k].reads:
            reader[value] = max(kernels[k], reader.get(value, 0))
    return kernels


def _in_memory(steps: Sequence[_Step]) -> set[Any]:
    """Values made between equations that XLA is expected to keep in memory."""
    readers: dict[Any, list[Any]] = collections.defaultdict(list)
    for step in steps:
        for value, _ in step.reads:
            readers[value].append(step.eqn)
    return {
        value
        for step in steps
        for value, _ in step.makes
        if not fuses(step.eqn) or not all(map(takes_in, readers[value]))
    }
