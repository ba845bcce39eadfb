"""Rank and Dimension Propagation: forward, and on demand backward. Knows no primitive.

Forward runs the equations of a jaxpr in order and enters sub-jaxprs once per call, so that facts
inside are those of that call; the table keeps the meet over all calls. Shapes, values and flow at
an equation depend only on its operands, so one pass is the fixpoint except at loops, whose rules
repeat the body until the carry no longer moves: meets only go down, flow is finite, and values are
widened to NAC after two changes, so they stop. For the same reason an equation runs again only
where facts of its operands changed, and a jaxpr once for all calls with the same facts; otherwise
time would grow by a factor with each level of nested loops. Backward runs the equations in reverse;
demand reads values but no forward fact reads demand, so one pass each way is the joint fixpoint,
and the pass back waits until somebody asks.

JAX has inferred every shape itself. A rule infers it again from its operands' facts, fills what it
left UNDEF from the aval, and any conflict between the two is a bug.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.errors import InvariantError
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.region import Region
from sod2jax.rdp.facts import Fact, Facts, array_fact
from sod2jax.rdp.lanes import DEAD, Demand, Flow
from sod2jax.rdp.lattice import NAC, DimFact, Element, ShapeFact
from sod2jax.rdp.rule import Context, Rule
from sod2jax.rdp.values import NAC_VALUE, ValueFact

MAX_SIZE = 2**31 - 1
"""Largest size of a symbol without an upper bound: larger arrays cannot be indexed by int32."""

_MOST_RUNS = 64  # of one jaxpr, that are remembered


def propagate(
    jaxpr: Jaxpr, region: Region, data_dependent: frozenset[str], rule_of: Callable[[Any], Rule]
) -> Facts:
    """Runs rules over a symbolic jaxpr: forward now, backward when a demand is first asked for.

    Args:
      jaxpr: open or closed jaxpr with symbolic dimensions.
      region: the sizes that facts must hold for.
      data_dependent: symbols whose size is known only after part of the program ran; dimensions
        with one of them are NAC.
      rule_of: the rule of an equation.

    Raises:
      InvariantError: a rule contradicts JAX's own shape inference.
    """
    ranges = tuple((n, lo, MAX_SIZE if hi is None else hi) for n, lo, hi in region.ranges)
    bounded = dataclasses.replace(region, ranges=ranges)
    engine = _Engine(bounded, data_dependent, rule_of, {})
    inputs = [
        Fact(engine.aval_shape(var), NAC_VALUE, Flow.source(index, len(dims_of(var))))
        for index, var in enumerate(jaxpr.invars)
    ]
    engine.forward(jaxpr, inputs)

    def demands() -> dict[Any, Demand]:
        back = _Engine(bounded, data_dependent, rule_of, engine.table)
        back.backward(jaxpr, [Demand.whole(len(dims_of(atom))) for atom in jaxpr.outvars])
        return back.demands

    return Facts(jaxpr, region, engine.table, demands)


class _Engine:
    """Facts of all variables in ``table``, demands in ``demands``; demands read the table."""

    def __init__(
        self,
        region: Region,
        data_dependent: frozenset[str],
        rule_of: Callable[[Any], Rule],
        table: dict[Any, Fact],
    ) -> None:
        self._region, self._data_dependent, self._rule_of = region, data_dependent, rule_of
        self.table = table
        self.demands: dict[Any, Demand] = {}
        # By jaxpr, which is held: its last runs, the latest first, with the facts of its inputs.
        self._runs: dict[int, tuple[Jaxpr, list[tuple[list[Fact], list[Fact]]]]] = {}
        self._last: dict[int, tuple[list[Fact], list[Fact]]] = {}  # by equation
        self._literals: dict[int, tuple[Atom, Fact]] = {}
        self._needs: dict[Any, list[Demand]] = {}  # by jaxpr and demands of its outputs
        self._context = Context(
            region=region, forward=self.forward, backward=self.backward, value=self._value
        )

    def forward(self, jaxpr: Jaxpr, ins: Sequence[Fact]) -> list[Fact]:
        given = list(ins)  # compared, not hashed: facts are large, and mostly the same objects
        _, runs = self._runs.setdefault(id(jaxpr), (jaxpr, []))
        known = next((results for before, results in runs if before == given), None)
        if known is None:
            known = self._forward(jaxpr, given)
            runs[:] = [(given, known), *runs[: _MOST_RUNS - 1]]
        return list(known)

    def _forward(self, jaxpr: Jaxpr, ins: Sequence[Fact]) -> list[Fact]:
        env = dict(zip(jaxpr.constvars, self._constants(jaxpr), strict=True))
        env.update(zip(jaxpr.invars, ins, strict=True))
        for var, fact in env.items():
            self._note(var, fact)

        def read(atom: Atom) -> Fact:
            return self._literal(atom) if _compat.is_literal(atom) else env[atom]

        for eqn in jaxpr.eqns:
            results = self._equation(eqn, list(map(read, eqn.invars)))
            env.update(zip(eqn.outvars, results, strict=True))
        return list(map(read, jaxpr.outvars))

    def _equation(self, eqn: JaxprEqn, operands: list[Fact]) -> list[Fact]:
        """Facts of the results; those of the last time where the operands' are, too."""
        last = self._last.get(id(eqn))
        if last is not None and last[0] == operands:
            return last[1]
        results = self._rule_of(eqn).forward(self._context, eqn, operands)
        pairs = zip(eqn.outvars, results, strict=True)
        results = [self._checked(eqn, var, fact) for var, fact in pairs]
        for var, fact in zip(eqn.outvars, results, strict=True):
            self._note(var, fact)
        self._last[id(eqn)] = operands, results
        return results

    def _note(self, var: Any, fact: Fact) -> None:
        """Meets what is known of a variable from other calls, or earlier steps of a loop."""
        before = self.table.get(var)
        if before is not fact:
            self.table[var] = fact if before is None else before.meet(fact, self._region)

    def _literal(self, atom: Atom) -> Fact:
        if id(atom) not in self._literals:
            fact = array_fact(_compat.literal_array(atom), self._region)
            self._literals[id(atom)] = atom, fact
        return self._literals[id(atom)][1]

    def _constants(self, jaxpr: Jaxpr) -> list[Fact]:
        values = _compat.constants(jaxpr)
        if values:
            return [array_fact(value, self._region) for value in values]
        return [
            Fact(self.aval_shape(var), NAC_VALUE, Flow.constant(len(dims_of(var))))
            for var in jaxpr.constvars
        ]

    def aval_shape(self, atom: Atom) -> ShapeFact:
        return self._without_data_dependent(ShapeFact.of(dims_of(atom)))

    def _without_data_dependent(self, shape: ShapeFact) -> ShapeFact:
        if not self._data_dependent or isinstance(shape.dims, Element):
            return shape
        return ShapeFact(tuple(NAC if self._depends(fact) else fact for fact in shape.dims))

    def _depends(self, fact: DimFact) -> bool:
        return fact.dim is not None and bool(dims.symbols_of(fact.dim) & self._data_dependent)

    def _checked(self, eqn: JaxprEqn, var: Any, fact: Fact) -> Fact:
        try:
            shape = self._without_data_dependent(fact.shape).refine(self.aval_shape(var))
        except InvariantError as error:
            raise InvariantError(
                f"the transfer rule of '{eqn.primitive.name}' at {_compat.source_line(eqn)} "
                f"contradicts JAX: {error}"
            ) from error
        return dataclasses.replace(fact, shape=shape)

    def _value(self, atom: Atom) -> ValueFact:
        return (self._literal(atom) if _compat.is_literal(atom) else self.table[atom]).value

    def backward(self, jaxpr: Jaxpr, outs: Sequence[Demand]) -> list[Demand]:
        key = (jaxpr, *outs)
        if key not in self._needs:
            self._needs[key] = self._backward(jaxpr, outs)
        return list(self._needs[key])

    def _backward(self, jaxpr: Jaxpr, outs: Sequence[Demand]) -> list[Demand]:
        env: dict[Any, Demand] = {}

        def need(atom: Atom, demand: Demand) -> None:
            if not _compat.is_literal(atom):
                env[atom] = env.get(atom, DEAD).meet(demand, self._region)

        for atom, demand in zip(jaxpr.outvars, outs, strict=True):
            need(atom, demand)
        for eqn in reversed(jaxpr.eqns):
            demands = [env.setdefault(var, DEAD) for var in eqn.outvars]
            for atom, demand in zip(eqn.invars, self._operands(eqn, demands), strict=True):
                need(atom, demand)
        for var in (*jaxpr.constvars, *jaxpr.invars):
            env.setdefault(var, DEAD)
        for var, demand in env.items():
            self.demands[var] = self.demands.get(var, DEAD).meet(demand, self._region)
        return [env[var] for var in jaxpr.invars]

    def _operands(self, eqn: JaxprEqn, demands: Sequence[Demand]) -> Sequence[Demand]:
        if eqn.effects:  # what an effect sees is needed, whatever becomes of the results
            whole = [Demand.whole(len(dims_of(var))) for var in eqn.outvars]
            self._rule_of(eqn).backward(self._context, eqn, whole)
            return [Demand.whole(len(dims_of(atom))) for atom in eqn.invars]
        if all(demand.is_dead for demand in demands):
            return [DEAD] * len(eqn.invars)
        return self._rule_of(eqn).backward(self._context, eqn, demands)
