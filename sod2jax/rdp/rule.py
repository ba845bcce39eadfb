"""Transfer functions: what a rule is, how a rule of parts is made, and the table of all rules."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.errors import InvariantError
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.region import Region
from sod2jax.rdp.facts import Fact
from sod2jax.rdp.lanes import DEAD, Demand, Flow
from sod2jax.rdp.lattice import DimFact, Element, ShapeFact
from sod2jax.rdp.values import NAC_VALUE, ValueFact

Dims = tuple[DimFact, ...]
Places = Sequence[int | None]  # for each axis of an operand, the result's axis it becomes, or None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """What a rule may ask the engine for.

    Attributes:
      region: the sizes that facts must hold for.
      forward: runs a sub-jaxpr on the facts of its inputs; gives the facts of its outputs.
      backward: runs a sub-jaxpr on the demands of its outputs; gives the demands of its inputs.
      value: the V-fact of an operand, for backward rules.
    """

    region: Region
    forward: Callable[[Any, Sequence[Fact]], list[Fact]]
    backward: Callable[[Any, Sequence[Demand]], list[Demand]]
    value: Callable[[Any], ValueFact]


class Rule(Protocol):
    """The transfer functions of a primitive, both ways."""

    def forward(self, ctx: Context, eqn: JaxprEqn, ins: Sequence[Fact]) -> Sequence[Fact]:
        """Facts of the results from facts of the operands; dimensions may be left UNDEF."""
        ...

    def backward(self, ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> Sequence[Demand]:
        """Demands on the operands from demands on the results, of which some are not dead."""
        ...


def _mixed(eqn: JaxprEqn) -> list[Places]:
    return [(None,) * len(dims_of(atom)) for atom in eqn.invars]


def _undefined(eqn: JaxprEqn, *operands: Dims) -> list[Dims | None]:
    del operands
    return [None] * len(eqn.outvars)


def untracked(ctx: Context, eqn: JaxprEqn, *operands: ValueFact) -> list[ValueFact]:
    """A value rule: nothing is known of the results."""
    del ctx, operands
    return [NAC_VALUE] * len(eqn.outvars)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalRule:
    """A rule from independent parts; a part that is left out knows nothing.

    Attributes:
      lanes: for each operand, the axis of the results that each of its axes becomes lane for lane.
      shape: (eqn, dimensions of each operand) -> dimensions of each result, None to leave them.
      value: (context, eqn, V-fact of each operand) -> V-fact of each result.
      demand: as ``Rule.backward``; by default what follows from ``lanes``.
    """

    lanes: Callable[[Any], Sequence[Places]] = _mixed
    shape: Callable[..., Sequence[Dims | None]] = _undefined
    value: Callable[..., Sequence[ValueFact]] = untracked
    demand: Callable[[Context, Any, Sequence[Demand]], Sequence[Demand]] | None = None

    def forward(self, ctx: Context, eqn: JaxprEqn, ins: Sequence[Fact]) -> list[Fact]:
        """See ``Rule``."""
        places = _checked_lanes(eqn, self.lanes(eqn))
        shapes = self.shape(eqn, *(_axes(fact.shape) for fact in ins))
        values = self.value(ctx, eqn, *(fact.value for fact in ins))
        operands = list(zip((fact.flow for fact in ins), places, strict=True))
        return [
            Fact(
                ShapeFact(Element.UNDEF if shape is None else shape),
                value,
                Flow.join(len(dims_of(var)), operands),
            )
            for var, shape, value in zip(eqn.outvars, shapes, values, strict=True)
        ]

    def backward(self, ctx: Context, eqn: JaxprEqn, outs: Sequence[Demand]) -> Sequence[Demand]:
        """See ``Rule``."""
        if self.demand is not None:
            return self.demand(ctx, eqn, outs)
        return [meet_all(ctx, [out.through(places) for out in outs]) for places in self.lanes(eqn)]


DEFAULT_RULE = LocalRule()
"""What is assumed of a primitive without a rule: shapes from its avals, values not constant, every
lane of a result depends on every lane of every operand, all of every operand is needed."""


def same_range(
    ctx: Context, eqn: JaxprEqn, operand: ValueFact, *others: ValueFact
) -> list[ValueFact]:
    """A value rule: elements of the first operand, in other places."""
    del ctx, others
    return [ValueFact(operand.every)] * len(eqn.outvars)


def meet_all(ctx: Context, demands: Sequence[Demand]) -> Demand:
    """What several uses of a value need together."""
    return functools.reduce(lambda a, b: a.meet(b, ctx.region), demands, DEAD)


def _axes(shape: ShapeFact) -> Dims:
    if isinstance(shape.dims, Element):
        raise InvariantError("an operand's rank is not known: every aval has one")
    return shape.dims


def _checked_lanes(eqn: JaxprEqn, operands: Sequence[Places]) -> Sequence[Places]:
    """Aligned axes have equal dimensions: the cheap half of the flow's definition."""
    results = [dims_of(var) for var in eqn.outvars]
    for atom, places in zip(eqn.invars, operands, strict=True):
        for dim, at in zip(dims_of(atom), places, strict=True):
            if at is not None and any(shape[at] != dim for shape in results):
                raise InvariantError(
                    f"the rule of '{eqn.primitive.name}' at {_compat.source_line(eqn)} aligned an "
                    f"axis of {dim} with axis {at} of {results}"
                )
    return operands


_RULES: dict[str, Rule] = {}


def register_transfer(*primitives: str, rule: Rule) -> None:
    """Registers the rule of primitives, by name.

    Raises:
      InvariantError: a primitive has a rule already.
    """
    for name in primitives:
        if name in _RULES:
            raise InvariantError(f"primitive '{name}' has two transfer rules")
        _RULES[name] = rule


def register_local(*primitives: str, **parts: Any) -> None:
    """Registers a ``LocalRule`` of these parts."""
    register_transfer(*primitives, rule=LocalRule(**parts))


def rules() -> Mapping[str, Rule]:
    """The table of rules by primitive name."""
    return dict(_RULES)


def registered() -> frozenset[str]:
    """Names of the primitives that have a rule of their own."""
    return frozenset(_RULES)


def rule_of(eqn: JaxprEqn) -> Rule:
    """The rule of an equation's primitive."""
    return _RULES.get(eqn.primitive.name, DEFAULT_RULE)
