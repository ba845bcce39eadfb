"""Parts of a program that run only for the rows whose gate asks for them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from sod2jax._compat import JaxprEqn
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.primitives import initial_count
from sod2jax.rdp.facts import Fact
from sod2jax.rdp.lanes import Demand, Flow
from sod2jax.rdp.lattice import DimFact, Element, ShapeFact
from sod2jax.rdp.rule import Context, register_transfer
from sod2jax.rdp.values import ValueFact


def _whole(atoms: Sequence[Any]) -> list[Demand]:
    return [Demand.whole(len(dims_of(atom))) for atom in atoms]


class _GatedRows:
    """A row of a result is that of the initial array or what a body makes of the operands' rows."""

    def forward(self, ctx: Context, eqn: JaxprEqn, ins: Sequence[Fact]) -> list[Fact]:
        params, count = eqn.params, initial_count(eqn.params)
        gate, initial, operands = ins[0], ins[1 : 1 + count], ins[1 + count :]
        axes = params["axes"]
        slices = [_block_of(f, a, params["block"]) for f, a in zip(operands, axes, strict=True)]
        results = [ctx.forward(body, slices) for body in params["bodies"]]
        facts = []
        for k, axis in enumerate(params["out_axes"]):
            rank = len(dims_of(eqn.outvars[k]))
            paths = [result[k] for result in results]
            others = [list(range(rank))] * len(paths)
            if count:
                paths, others = [*paths, initial[k]], [*others, list(range(rank))]
            lanes = _row_lanes(rank, axis, [(gate, 0), *zip(operands, axes, strict=True)])
            flows = [(fact.flow, places) for fact, places in zip(paths, others, strict=True)]
            if count:
                lanes = Flow.join(rank, [(lanes, range(rank)), (initial[k].flow, range(rank))])
            inner = Flow.join(rank, [*flows, (gate.flow, (axis,))])
            aligned = (*inner.axes[:axis], lanes.axes[axis], *inner.axes[axis + 1 :])
            values = [ValueFact(fact.value.every) for fact in paths]
            value = functools.reduce(lambda a, b: a.meet(b, ctx.region), values)
            facts.append(
                Fact(ShapeFact(Element.UNDEF), value, Flow(inner.inputs | lanes.inputs, aligned))
            )
        return facts

    def backward(self, ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> list[Demand]:
        del outs
        for body in eqn.params["bodies"]:
            ctx.backward(body, _whole(body.outvars))
        return _whole(eqn.invars)


def _row_lanes(rank: int, axis: int, operands: Sequence[tuple[Fact, int | None]]) -> Flow:
    """The flow along the axis of rows: through the rows of each operand."""
    return Flow.join(
        rank,
        [
            (fact.flow, [axis if k == at else None for k in range(len(fact.flow.axes))])
            for fact, at in operands
        ],
    )


def _block_of(fact: Fact, axis: int | None, block: int) -> Fact:
    """A few rows of an operand: not aligned with anything along their axis."""
    if axis is None:
        return fact
    assert not isinstance(fact.shape.dims, Element)
    shape = ShapeFact(_with(fact.shape.dims, axis, DimFact.of(block)))
    flow = Flow(fact.flow.inputs, _with(fact.flow.axes, axis, frozenset()))
    return dataclasses.replace(fact, shape=shape, value=ValueFact(fact.value.every), flow=flow)


def _with(items: tuple[Any, ...], at: int, item: Any) -> tuple[Any, ...]:
    return (*items[:at], item, *items[at + 1 :])


register_transfer("gated_rows", rule=_GatedRows())
