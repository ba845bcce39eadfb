"""Calls and control flow: branches meet, loop carries go to their fixpoint."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.vocabulary import ANNOTATIONS, CALLS
from sod2jax.rdp.facts import Fact
from sod2jax.rdp.lanes import Demand, Flow
from sod2jax.rdp.lattice import DimFact, Element, ShapeFact
from sod2jax.rdp.rule import Context, meet_all, register_transfer
from sod2jax.rdp.rules.numpy_calls import exact_value
from sod2jax.rdp.values import NAC_VALUE, Range, ValueFact, greatest, least

_CHANGES = 2  # changes of a loop carry's value before it is widened to NAC


def _whole(atoms: Sequence[Any]) -> list[Demand]:
    return [Demand.whole(len(dims_of(atom))) for atom in atoms]


class _Call:
    """Facts pass through the body; some bodies are known functions with sharper values."""

    def forward(self, ctx: Context, eqn: JaxprEqn, ins: Sequence[Fact]) -> list[Fact]:
        ((_, body),) = _compat.sub_jaxprs(eqn)
        outs = ctx.forward(body, ins)
        value = exact_value(ctx, eqn, body, [fact.value for fact in ins])
        return outs if value is None else [dataclasses.replace(outs[0], value=value)]

    def backward(self, ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> list[Demand]:
        ((_, body),) = _compat.sub_jaxprs(eqn)
        return ctx.backward(body, outs)


class _Copy:
    """Result k is operand k."""

    def forward(self, ctx: Context, eqn: JaxprEqn, ins: Sequence[Fact]) -> Sequence[Fact]:
        del ctx, eqn
        return ins

    def backward(self, ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> Sequence[Demand]:
        del ctx, eqn
        return outs


class _Cond:
    """The meet of the branches that the index allows; every lane depends on the index."""

    def forward(self, ctx: Context, eqn: JaxprEqn, ins: Sequence[Fact]) -> list[Fact]:
        index, *operands = ins
        results = [ctx.forward(branch, operands) for branch in eqn.params["branches"]]
        chosen = _point(index.value)
        if chosen is not None:
            results = [results[min(max(chosen, 0), len(results) - 1)]]
        met = functools.reduce(lambda a, b: _meet(ctx, a, b), results)
        return [_under(fact, index.flow) for fact in met]

    def backward(self, ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> list[Demand]:
        needs = [ctx.backward(branch, outs) for branch in eqn.params["branches"]]
        operands = [meet_all(ctx, column) for column in zip(*needs, strict=True)]
        return [*_whole(eqn.invars[:1]), *operands]


def _point(value: ValueFact) -> int | None:
    every = value.every
    if isinstance(every, Range) and every.is_point and isinstance(every.low, int):
        return every.low
    return None


def _meet(ctx: Context, a: Sequence[Fact], b: Sequence[Fact]) -> list[Fact]:
    return [x.meet(y, ctx.region) for x, y in zip(a, b, strict=True)]


def _under(fact: Fact, predicate: Flow) -> Fact:
    """A fact whose lanes also depend on a predicate, which selects along its leading axes."""
    rank, leading = len(fact.flow.axes), range(len(predicate.axes))
    places = [axis if axis < rank else None for axis in leading]
    flow = Flow.join(rank, [(fact.flow, range(rank)), (predicate, places)])
    return dataclasses.replace(fact, flow=flow)


def _without_value(fact: Fact) -> Fact:
    return dataclasses.replace(fact, value=NAC_VALUE)


def _fixpoint(
    ctx: Context, carry: Sequence[Fact], counters: Sequence[int], step: Callable[..., list[Fact]]
) -> list[Fact]:
    """Meets a loop's carry with what its body makes of it until nothing changes.

    Values that change more than twice become NAC; those of counters are bounded already, and stay.
    """
    carry, changes = list(carry), 0
    while True:
        after = []
        for k, (old, out) in enumerate(zip(carry, step(carry), strict=True)):
            met = old.meet(out, ctx.region)
            after.append(dataclasses.replace(met, value=old.value) if k in counters else met)
        if after == carry:
            return carry
        changes += 1
        if changes > _CHANGES:
            pairs = zip(carry, after, strict=True)
            after = [new if new.value == old.value else _without_value(new) for old, new in pairs]
        carry = after


def _increments(body: Any, consts: int, count: int) -> dict[int, int]:
    """Carries that a body only adds a positive integer literal to: index -> that integer."""
    producers = {eqn.outvars[0]: eqn for eqn in body.eqns if eqn.primitive.name == "add"}
    steps = {}
    for k in range(count):
        out = body.outvars[k]
        eqn = None if _compat.is_literal(out) else producers.get(out)
        if eqn is None or dims_of(out):
            continue
        literals = [atom for atom in eqn.invars if _compat.is_literal(atom)]
        if len(literals) == 1 and body.invars[consts + k] in eqn.invars:
            number = _compat.literal_array(literals[0])
            if number.dtype.kind in "iu" and number > 0:
                steps[k] = int(number)
    return steps


def _counter(ctx: Context, var: Any, init: ValueFact, last: Dim) -> ValueFact:
    """A counter that starts in ``init`` and goes up to ``last`` at most."""
    every = init.range(var.aval.dtype)
    if every is None:
        return NAC_VALUE
    counts = Range(every.low, greatest((every.high, last), ctx.region))
    return ValueFact.of(counts, var.aval.dtype, ctx.region)


class _Scan:
    """Constants, carries, and one slice of each scanned array; results are stacked slices."""

    def forward(self, ctx: Context, eqn: JaxprEqn, ins: Sequence[Fact]) -> list[Fact]:
        body, (consts, carries) = eqn.params["jaxpr"], _compat.scan_counts(eqn)
        length = dims.from_jax(eqn.params["length"])
        init = list(ins[consts : consts + carries])
        slices = [_slice_of(fact) for fact in ins[consts + carries :]]
        start, ends = list(init), {}
        for k, by in _increments(body, consts, carries).items():
            every, var = init[k].value.range(eqn.outvars[k].aval.dtype), eqn.outvars[k]
            if every is None:
                continue
            inside, after = (dims.normalise(every.high + by * n) for n in (length - 1, length))
            ends[k] = _counter(ctx, var, init[k].value, after)
            seen = _counter(ctx, var, init[k].value, inside)
            wraps = ends[k] == NAC_VALUE
            start[k] = dataclasses.replace(init[k], value=NAC_VALUE if wraps else seen)

        def step(carry: Sequence[Fact]) -> list[Fact]:
            return ctx.forward(body, [*ins[:consts], *carry, *slices])[:carries]

        carry = _fixpoint(ctx, start, list(ends), step)
        stacked = ctx.forward(body, [*ins[:consts], *carry, *slices])[carries:]
        for k, value in ends.items():
            carry[k] = dataclasses.replace(carry[k], value=value)
        return [*carry, *(_stack_of(fact, length) for fact in stacked)]

    def backward(self, ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> list[Demand]:
        del outs
        body = eqn.params["jaxpr"]
        ctx.backward(body, _whole(body.outvars))
        return _whole(eqn.invars)


def _slice_of(fact: Fact) -> Fact:
    """A slice of an array along its first axis: its lanes along the others stay."""
    assert not isinstance(fact.shape.dims, Element)
    flow = Flow(fact.flow.inputs, fact.flow.axes[1:])
    return Fact(ShapeFact(fact.shape.dims[1:]), ValueFact(fact.value.every), flow)


def _stack_of(fact: Fact, length: Dim) -> Fact:
    """Slices stacked along a new first axis, where each step may depend on the ones before it."""
    assert not isinstance(fact.shape.dims, Element)
    flow = Flow(fact.flow.inputs, (frozenset(), *fact.flow.axes))
    shape = ShapeFact((DimFact.of(length), *fact.shape.dims))
    return Fact(shape, ValueFact(fact.value.every), flow)


class _While:
    """The carry meets what the body makes of it; the predicate decides when each row stops."""

    def forward(self, ctx: Context, eqn: JaxprEqn, ins: Sequence[Fact]) -> list[Fact]:
        cond, body = eqn.params["cond_jaxpr"], eqn.params["body_jaxpr"]
        n_cond, n_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
        cond_consts, body_consts = ins[:n_cond], ins[n_cond : n_cond + n_body]
        init = list(ins[n_cond + n_body :])
        start, inside = list(init), {}
        for k, by in _increments(body, n_body, len(init)).items():
            bound = _upper_bound(ctx, eqn, k, [*cond_consts, *_fixed(body, n_body, init)])
            if bound is None:
                continue
            var = eqn.outvars[k]
            after = _counter(ctx, var, init[k].value, dims.normalise(bound - 1 + by))
            start[k] = dataclasses.replace(init[k], value=after)
            inside[k] = _running(ctx, var, after, bound)

        def step(carry: Sequence[Fact]) -> list[Fact]:
            (predicate,) = ctx.forward(cond, [*cond_consts, *carry])
            seen = [
                dataclasses.replace(fact, value=inside[k]) if k in inside else fact
                for k, fact in enumerate(carry)
            ]
            outs = ctx.forward(body, [*body_consts, *seen])
            return [_under(fact, predicate.flow) for fact in outs]

        return _fixpoint(ctx, start, list(inside), step)

    def backward(self, ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> list[Demand]:
        del outs
        for name in ("cond_jaxpr", "body_jaxpr"):
            ctx.backward(eqn.params[name], _whole(eqn.params[name].outvars))
        return _whole(eqn.invars)


def _fixed(body: Any, consts: int, init: Sequence[Fact]) -> list[Fact]:
    """The carry as it is in every iteration: the initial values of what the body hands through."""
    pairs = zip(body.invars[consts:], body.outvars, strict=True)
    return [
        fact if var is out else _without_value(fact)
        for fact, (var, out) in zip(init, pairs, strict=True)
    ]


def _upper_bound(ctx: Context, eqn: JaxprEqn, index: int, ins: Sequence[Fact]) -> Dim | None:
    """What carry ``index`` is below when the body runs; None unless the test is ``carry < x``."""
    cond = eqn.params["cond_jaxpr"]
    (out,) = cond.outvars
    tests = [e for e in cond.eqns if e.primitive.name == "lt" and e.outvars[0] is out]
    if not tests or tests[0].invars[0] is not cond.invars[eqn.params["cond_nconsts"] + index]:
        return None
    ctx.forward(cond, ins)
    every = ctx.value(tests[0].invars[1]).every
    return every.high if isinstance(every, Range) else None


def _running(ctx: Context, var: Any, after: ValueFact, bound: Dim) -> ValueFact:
    """Values of a counter inside the body, where it is below ``bound``."""
    every = after.range(var.aval.dtype)
    if every is None or after == NAC_VALUE:
        return NAC_VALUE
    high = least((every.high, dims.normalise(bound - 1)), ctx.region)
    return ValueFact.of(Range(every.low, high), var.aval.dtype, ctx.region)


register_transfer(*CALLS, rule=_Call())
register_transfer(*ANNOTATIONS, rule=_Copy())
register_transfer("cond", rule=_Cond())
register_transfer("scan", rule=_Scan())
register_transfer("while", rule=_While())
