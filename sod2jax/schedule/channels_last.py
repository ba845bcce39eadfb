"""Chains of convolutions with their features last, where they were written with features first.

XLA's CPU backend moves the features last for each convolution alone, and back. Here a value that a
convolution gives stays as it is, and what reads it is done with its axes in that order, until
something asks for the order in which the program has it: one transpose then. Values and results are
the same bits; only places change. Measured on jax 0.10: chains of convolutions 0.93 to 1.1, as XLA
removes most of these moves itself by now: one of the versions that ``tune="full"`` measures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.surgery import PLAIN_CALLS, Copier, inlined
from sod2jax.ir.vocabulary import (
    CASTS,
    CONVOLUTIONS,
    COPIES,
    ELEMENTWISE,
    FOREIGN,
    REDUCTIONS,
    WINDOW_REDUCTIONS,
)
from sod2jax.passes.remark import Remark
from sod2jax.schedule.axes import features_last, features_out_last

Order = tuple[int, ...]
"""Of the axes of an array as it lies, which each is of the value as the program has it."""


@dataclasses.dataclass(eq=False)
class _Rewriter:
    """Equations with values in other orders.

    Attributes:
      eqns: what was made so far.
      moved: values that lie in another order: the array, and its order.
      made: values that are there in their own order.
      broadcasts: values that repeat smaller ones: they are repeated anew in any order.
      transposes: how many arrays were moved that are no weights.
    """

    eqns: list[JaxprEqn] = dataclasses.field(default_factory=list)
    moved: dict[Var, tuple[Var, Order]] = dataclasses.field(default_factory=dict)
    made: set[Var] = dataclasses.field(default_factory=set)
    broadcasts: dict[Var, JaxprEqn] = dataclasses.field(default_factory=dict)
    transposes: int = 0

    def emit(self, like: JaxprEqn, operands: Sequence[Atom], out: Var, **changed: Any) -> None:
        """An equation like another one, on other operands."""
        params = {**like.params, **changed}
        self.eqns.append(_compat.new_equation(like.primitive, operands, [out], params, like))

    def own(self, atom: Atom, like: JaxprEqn) -> Atom:
        """A value in its own order."""
        if _compat.is_literal(atom) or atom not in self.moved or atom in self.made:
            return atom
        array, order = self.moved[atom]
        self._transpose(array, atom, tuple(map(int, np.argsort(order))), like)
        self.made.add(atom)
        return atom

    def ordered(self, atom: Atom, order: Order, like: JaxprEqn) -> Atom:
        """A value in a given order; what has no axes, as it is."""
        if not atom.aval.shape:
            return atom
        if order == tuple(range(len(order))):
            return self.own(atom, like)
        array, lies = self.moved.get(atom, (None, None))
        if lies == order:
            return array
        if atom in self.broadcasts:
            return self._repeated(self.broadcasts[atom], order)
        new = _variable(atom.aval, [atom.aval.shape[k] for k in order])
        if array is not None and lies is not None:
            self._transpose(array, new, tuple(lies.index(k) for k in order), like)
        else:
            self._transpose(atom, new, order, like)
            self.moved[atom] = new, order
            self.made.add(atom)
        return new

    def lying(self, atom: Atom) -> Order | None:
        """The order of a value that does not lie in its own."""
        if _compat.is_literal(atom) or atom not in self.moved or atom in self.made:
            return None
        return self.moved[atom][1]

    def give(self, eqn: JaxprEqn, operands: Sequence[Atom], order: Order, **changed: Any) -> bool:
        """The equation's only result, in an order."""
        out = eqn.outvars[0]
        if order == tuple(range(len(order))):
            self.emit(eqn, operands, out, **changed)
            return True
        new = _variable(out.aval, [out.aval.shape[k] for k in order])
        self.emit(eqn, operands, new, **changed)
        self.moved[out] = new, order
        return True

    def _repeated(self, eqn: JaxprEqn, order: Order) -> Var:
        shape = tuple(eqn.params["shape"][k] for k in order)
        out = _variable(eqn.outvars[0].aval, shape)
        places = [order.index(k) for k in eqn.params["broadcast_dimensions"]]
        operand, by_place = eqn.invars[0], sorted(range(len(places)), key=places.__getitem__)
        if by_place != list(range(len(places))):
            turned = _variable(operand.aval, [operand.aval.shape[k] for k in by_place])
            self._transpose(operand, turned, tuple(by_place), eqn)
            operand = turned
        self.emit(eqn, [operand], out, shape=shape, broadcast_dimensions=tuple(sorted(places)))
        return out

    def _transpose(self, array: Atom, out: Var, permutation: Order, like: JaxprEqn) -> None:
        wide = [k for k in permutation if array.aval.shape[k] != 1]
        self.transposes += wide != sorted(wide)
        params = {"permutation": permutation}
        self.eqns.append(_compat.new_equation(lax.transpose_p, [array], [out], params, like))


Rule = Callable[[_Rewriter, JaxprEqn], bool]
"""Does an equation in another order; false where it must be as it is."""


def _as_it_is(rewriter: _Rewriter, eqn: JaxprEqn) -> None:
    operands = [rewriter.own(atom, eqn) for atom in eqn.invars]
    rewriter.eqns.append(eqn.replace(invars=operands))
    if eqn.primitive.name == "broadcast_in_dim" and len(eqn.invars) == 1:
        rewriter.broadcasts[eqn.outvars[0]] = eqn


def _convolution(rewriter: _Rewriter, eqn: JaxprEqn) -> bool:
    if not _is_features_first(eqn):
        return False
    numbers = eqn.params["dimension_numbers"]
    rank = len(numbers.lhs_spec)
    space = tuple(range(1, rank - 1))
    lhs, out = map(features_last, (numbers.lhs_spec, numbers.out_spec))
    weights = features_out_last(numbers.rhs_spec)
    operands = [
        rewriter.ordered(eqn.invars[0], lhs, eqn),
        rewriter.ordered(eqn.invars[1], weights, eqn),
    ]
    last = lax.ConvDimensionNumbers(
        (0, rank - 1, *space), (rank - 1, rank - 2, *range(rank - 2)), (0, rank - 1, *space)
    )
    return rewriter.give(eqn, operands, out, dimension_numbers=last)


def _elementwise(rewriter: _Rewriter, eqn: JaxprEqn) -> bool:
    orders = [order for order in map(rewriter.lying, eqn.invars) if order is not None]
    if not orders or len(eqn.outvars) != 1:
        return False
    operands = [rewriter.ordered(atom, orders[0], eqn) for atom in eqn.invars]
    return rewriter.give(eqn, operands, orders[0])


def _reduction(rewriter: _Rewriter, eqn: JaxprEqn) -> bool:
    order = rewriter.lying(eqn.invars[0])
    if order is None:
        return False
    axes = eqn.params["axes"]
    kept = [k for k in order if k not in axes]
    ranks = sorted(kept)
    array, _ = rewriter.moved[eqn.invars[0]]
    places = tuple(sorted(order.index(k) for k in axes))
    return rewriter.give(eqn, [array], tuple(map(ranks.index, kept)), axes=places)


def _per_axis(*names: str) -> Rule:
    """For primitives of one array whose parameters have an entry for each axis."""

    def rule(rewriter: _Rewriter, eqn: JaxprEqn) -> bool:
        order = rewriter.lying(eqn.invars[0])
        if order is None:
            return False
        array, _ = rewriter.moved[eqn.invars[0]]
        params = {name: eqn.params[name] for name in names if eqn.params[name] is not None}
        turned = {name: tuple(value[k] for k in order) for name, value in params.items()}
        return rewriter.give(eqn, [array, *eqn.invars[1:]], order, **turned)

    return rule


def _concatenate(rewriter: _Rewriter, eqn: JaxprEqn) -> bool:
    orders = list(map(rewriter.lying, eqn.invars))
    if None in orders:
        return False
    (order, *_) = orders
    operands = [rewriter.ordered(atom, order, eqn) for atom in eqn.invars]  # type: ignore[arg-type]
    place = order.index(eqn.params["dimension"])  # type: ignore[union-attr]
    return rewriter.give(eqn, operands, order, dimension=place)  # type: ignore[arg-type]


def _transpose(rewriter: _Rewriter, eqn: JaxprEqn) -> bool:
    order = rewriter.lying(eqn.invars[0])
    if order is None:
        return False
    array, _ = rewriter.moved[eqn.invars[0]]
    back = np.argsort(eqn.params["permutation"])
    turned = tuple(int(back[k]) for k in order)
    rewriter.moved[eqn.outvars[0]] = array, turned
    return True


def _unit_axes(rewriter: _Rewriter, eqn: JaxprEqn) -> bool:
    """What brings or drops axes of one lane only."""
    order, out = rewriter.lying(eqn.invars[0]), eqn.outvars[0].aval.shape
    shape = eqn.invars[0].aval.shape
    wide, new = [k for k, n in enumerate(shape) if n != 1], [k for k, n in enumerate(out) if n != 1]
    if order is None or [shape[k] for k in wide] != [out[k] for k in new]:
        return False
    if eqn.primitive.name == "reshape" and eqn.params["dimensions"] is not None:
        return False
    places = eqn.params.get("broadcast_dimensions", ())
    if sorted(places) != list(places):
        return False
    array, _ = rewriter.moved[eqn.invars[0]]
    units = [k for k, n in enumerate(out) if n == 1]
    turned = (*units, *(new[wide.index(k)] for k in order if k in wide))
    result = _variable(eqn.outvars[0].aval, [out[k] for k in turned])
    params = {"new_sizes": result.aval.shape, "dimensions": None, "sharding": None}
    rewriter.eqns.append(_compat.new_equation(lax.reshape_p, [array], [result], params, eqn))
    rewriter.moved[eqn.outvars[0]] = result, turned
    return True


_WINDOWS = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")
_RULES: dict[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys((ELEMENTWISE - FOREIGN) | CASTS | COPIES, _elementwise),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(WINDOW_REDUCTIONS - {"reduce_window"}, _per_axis(*_WINDOWS)),
    "pad": _per_axis("padding_config"),
    "slice": _per_axis("start_indices", "limit_indices", "strides"),
    "concatenate": _concatenate,
    "transpose": _transpose,
    "reshape": _unit_axes,
    "broadcast_in_dim": _unit_axes,
    "squeeze": _unit_axes,
}


def _is_opened(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name in PLAIN_CALLS and not eqn.effects


def _is_features_first(eqn: JaxprEqn) -> bool:
    """Whether an equation is a convolution whose arrays have their features before the space."""
    if eqn.primitive.name not in CONVOLUTIONS:
        return False
    lhs, _, out = eqn.params["dimension_numbers"]
    rank = len(lhs)
    is_last = [spec[:2] == (0, rank - 1) for spec in (lhs, out)]
    return rank > 2 and not all(is_last) and eqn.params["batch_group_count"] == 1


def _variable(aval: Any, shape: Sequence[int]) -> Var:
    return _compat.new_variable(aval.update(shape=tuple(shape)))


def channels_last(jaxpr: Jaxpr) -> tuple[Jaxpr, list[Remark]]:
    """A jaxpr whose convolutions have their features last; bodies stay as they are.

    It stays the same object if that needs more transposes than there are convolutions.
    """
    first = [eqn for eqn in jaxpr.eqns if _is_features_first(eqn)]
    if not first:
        return jaxpr, []
    rewriter, opened = _Rewriter(), inlined(jaxpr, _is_opened, Copier())
    for eqn in opened.eqns:
        rule = _RULES.get(eqn.primitive.name)
        if rule is None or not rule(rewriter, eqn):
            _as_it_is(rewriter, eqn)
    outputs = [rewriter.own(atom, opened.eqns[-1]) for atom in opened.outvars]
    if rewriter.transposes - len(first) > len(first):  # those of the weights are no loss
        return jaxpr, []
    remark = Remark(
        f"{len(first)} convolutions with their features last",
        _compat.source_line(first[0]),
        "the compiler would move the features for each of them, and back",
    )
    return _compat.with_equations(opened, rewriter.eqns, outputs), [remark]
