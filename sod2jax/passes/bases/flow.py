"""How primitives pass bases on: what each makes of axes that count vectors."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn
from sod2jax.ir import jaxprs
from sod2jax.ir.vocabulary import ELEMENTWISE
from sod2jax.passes.bases.values import PLAIN, UNIFORM, Basis, Spectral, Value


class DependsOnBasis(Exception):
    """The result of an equation depends on which basis was chosen."""


Rule = Callable[..., Value]

_NON_NEGATIVE = frozenset("abs dim_as_value exp exp2 logistic square sqrt".split())
# Of lanes of the first operand, wherever they are read.
_READS = frozenset("broadcast_in_dim dynamic_slice gather reshape slice squeeze transpose".split())
_KEEPS_SIGN = _READS | frozenset(
    "add convert_element_type copy div max min mul reduce_max reduce_min reduce_sum select_n".split()
)
_LINEAR = frozenset("add add_any convert_element_type copy neg sub".split())
_COMPARE = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
_MIRRORED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "and": np.logical_and,
    "convert_element_type": lambda x: x,
    "copy": lambda x: x,
    "div": np.divide,
    "mul": np.multiply,
    "neg": np.negative,
    "not": np.logical_not,
    "sqrt": np.sqrt,
    "square": np.square,
    "sub": np.subtract,
}


def literal(atom: Any) -> Value:
    """What is known of a number that stands in the program."""
    array = _compat.literal_array(atom)
    number = array.item() if array.ndim == 0 and array.dtype != object else None
    if not isinstance(number, (bool, int, float)):
        return PLAIN
    return Value(at_zero=number, positive=number >= 0)


def after(eqn: JaxprEqn, operands: Sequence[Value]) -> list[Value]:
    """What is known of the results of an equation that is no call.

    Raises:
      DependsOnBasis: it does anything with vectors but what is the same for every basis.
    """
    rule = _RULES.get(eqn.primitive.name)
    if rule is None and eqn.primitive.name in ELEMENTWISE:
        rule = _elementwise
    if rule is None or len(eqn.outvars) != 1:
        if any(operand.bases for operand in operands):
            raise DependsOnBasis
        return [PLAIN] * len(eqn.outvars)
    return [dataclasses.replace(rule(eqn, *operands), positive=_is_positive(eqn, operands))]


def _is_positive(eqn: JaxprEqn, operands: Sequence[Value]) -> bool:
    name = eqn.primitive.name
    if name == "integer_pow" and eqn.params["y"] % 2 == 0:
        return True
    operands = operands[1:] if name == "select_n" else operands
    operands = operands[:1] if name in _READS else operands
    return name in _NON_NEGATIVE or (
        name in _KEEPS_SIGN and all(operand.positive for operand in operands)
    )


def _states(eqn: JaxprEqn, operands: Sequence[Value], axis: int) -> Iterator[Any]:
    """States of one axis of the operands of an elementwise equation; numbers go to all lanes."""
    for atom, operand in zip(eqn.invars, operands, strict=True):
        yield operand.axes.get(axis) if atom.aval.shape else UNIFORM


def _pointwise(states: Sequence[Any]) -> Any:
    """The state of an axis after a function of the same lane of each operand."""
    others = {state for state in states if state != UNIFORM}
    if not others:
        return UNIFORM
    return others.pop() if len(others) == 1 else None


def _elementwise(eqn: JaxprEqn, *operands: Value) -> Value:
    name = eqn.primitive.name
    axes = {}
    for axis in range(len(eqn.outvars[0].aval.shape)):
        states = list(_states(eqn, operands, axis))
        if any(isinstance(state, Basis) for state in states):
            axes[axis] = _of_vectors(name, eqn, operands, states)
        elif (state := _pointwise(states)) is not None:
            axes[axis] = state
    lost = {axis for operand in operands for axis in operand.spectral} - set(axes)
    return Value(axes, None if lost else _at_zero(name, operands))


def _of_vectors(name: str, eqn: JaxprEqn, operands: Sequence[Value], states: list[Any]) -> Any:
    """The state of an axis along which some operand counts vectors."""
    if name == "select_n":
        return _selected(eqn, operands, states)
    if name in _LINEAR:
        return _equal(states)
    if name == "conj":
        (basis,) = states
        return dataclasses.replace(basis, conjugate=_is_complex(eqn.invars[0], not basis.conjugate))
    if name == "div" and isinstance(states[0], Basis):
        return _scaled(states[0], states[1], operands[1], np.inf)
    if name == "mul":
        basis, other = (0, 1) if isinstance(states[0], Basis) else (1, 0)
        return _scaled(states[basis], states[other], operands[other], 0)
    raise DependsOnBasis


def _is_complex(atom: Atom, conjugate: bool) -> bool:
    return conjugate and np.issubdtype(atom.aval.dtype, np.complexfloating)


def _equal(states: Sequence[Any]) -> Basis:
    """Of vectors that are added up: they must turn alike."""
    if not all(isinstance(state, Basis) for state in states):
        raise DependsOnBasis
    quenched = all(state.quenched for state in states)
    alike = {dataclasses.replace(state, quenched=quenched) for state in states}
    if len(alike) > 1:
        raise DependsOnBasis
    return alike.pop()


def _scaled(basis: Basis, factor: Any, operand: Value, quencher: float) -> Basis:
    """Of vectors times, or divided by, a function of their values."""
    if factor != UNIFORM and factor != Spectral(basis.source):
        raise DependsOnBasis
    only = len(operand.spectral) <= 1
    quenched = basis.quenched or (only and operand.at_zero == quencher)
    return dataclasses.replace(basis, quenched=quenched)


def _selected(eqn: JaxprEqn, operands: Sequence[Value], states: list[Any]) -> Basis:
    """Of vectors that are kept or made zero, by their values."""
    predicate, *cases = states
    zeros = [k for k, case in enumerate(operands[1:]) if _is_zero(case)]
    kept = [case for k, case in enumerate(cases) if k not in zeros]
    basis = _equal(kept)
    if predicate not in (UNIFORM, Spectral(basis.source)):
        raise DependsOnBasis
    chosen = operands[0].at_zero if len(operands[0].spectral) <= 1 else None
    return dataclasses.replace(
        basis, quenched=basis.quenched or (chosen is not None and int(chosen) in zeros)
    )


def _is_zero(value: Value) -> bool:
    return value.at_zero == 0 and all(state == UNIFORM for state in value.axes.values())


def _at_zero(name: str, operands: Sequence[Value]) -> Any:
    """What an elementwise equation gives where the spectral value is 0."""
    numbers = [operand.at_zero for operand in operands]
    if name == "select_n":
        which = numbers[0]
        return None if which is None else numbers[1 + int(which)]
    if name in _COMPARE:
        return _compared(name, operands)
    if name == "and" and any(number is not None and not number for number in numbers):
        return False
    if name == "or" and any(number is True for number in numbers):
        return True
    if name == "mul" and any(number == 0 for number in numbers):
        return 0.0
    if any(number is None for number in numbers):
        return None
    if name == "integer_pow" or name not in _FUNCTIONS:
        return None
    with np.errstate(all="ignore"):
        return _FUNCTIONS[name](*map(np.float64, numbers)).item()


def _compared(name: str, operands: Sequence[Value]) -> Any:
    left, right = operands
    if left.at_zero is not None and right.at_zero is not None:
        return bool(_COMPARE[name](left.at_zero, right.at_zero))
    if left.at_zero is None:
        left, right, name = right, left, _MIRRORED[name]
    if left.at_zero is None or left.at_zero > 0 or not right.positive:
        return None
    return {"gt": False, "le": True}.get(name)  # 0 is not more than what is 0 or more


def _contraction(eqn: JaxprEqn, left: Value, right: Value) -> Value:
    (over_left, over_right), (batch_left, batch_right) = eqn.params["dimension_numbers"]
    if any(k in left.bases for k in batch_left) or any(k in right.bases for k in batch_right):
        raise DependsOnBasis
    for a, b in zip(over_left, over_right, strict=True):
        one, other = left.bases.get(a), right.bases.get(b)
        if (one or other) and not _meet(eqn, one, other):
            raise DependsOnBasis
    free = [
        [k for k in range(len(atom.aval.shape)) if k not in (*over, *batch)]
        for atom, over, batch in zip(
            eqn.invars, (over_left, over_right), (batch_left, batch_right), strict=True
        )
    ]
    start, middle = len(batch_left), len(batch_left) + len(free[0])
    first = left.moved({k: start + i for i, k in enumerate(free[0])})
    second = right.moved({k: middle + i for i, k in enumerate(free[1])})
    return Value({**first.axes, **second.axes})


def _meet(eqn: JaxprEqn, one: Basis | None, other: Basis | None) -> bool:
    if one is None or other is None or not one.meets(other):
        return False
    is_complex = np.issubdtype(eqn.outvars[0].aval.dtype, np.complexfloating)
    return not is_complex or one.conjugate != other.conjugate


def _broadcast(eqn: JaxprEqn, operand: Value, *sizes: Value) -> Value:
    del sizes
    places = eqn.params["broadcast_dimensions"]
    shape, new = (jaxprs.dims_of(atom) for atom in (eqn.invars[0], eqn.outvars[0]))
    kept = {k: place for k, place in enumerate(places) if shape[k] == new[place]}
    uniform = tuple(k for k in range(len(new)) if k not in kept.values())
    if any(k not in kept for k in operand.bases):
        raise DependsOnBasis
    return operand.moved(kept, uniform)


def _reshape(eqn: JaxprEqn, operand: Value, *sizes: Value) -> Value:
    """Axes of size 1 may come and go; others stay in order."""
    del sizes
    old, new = (jaxprs.dims_of(atom) for atom in (eqn.invars[0], eqn.outvars[0]))
    before = [k for k, dim in enumerate(old) if dim != 1]
    behind = [k for k, dim in enumerate(new) if dim != 1]
    if [old[k] for k in before] != [new[k] for k in behind]:
        return _forgotten(operand)
    if any(k not in before for k in operand.bases):
        raise DependsOnBasis
    return operand.moved(dict(zip(before, behind, strict=True)))


def _squeeze(eqn: JaxprEqn, operand: Value) -> Value:
    gone = {k % len(eqn.invars[0].aval.shape) for k in eqn.params["dimensions"]}
    return _without(eqn, operand, gone)


def _transpose(eqn: JaxprEqn, operand: Value) -> Value:
    return operand.moved({k: i for i, k in enumerate(eqn.params["permutation"])})


def _reduction(eqn: JaxprEqn, operand: Value) -> Value:
    if eqn.primitive.name != "reduce_sum" and operand.bases:
        raise DependsOnBasis
    summed = _without(eqn, operand, set(eqn.params["axes"]))
    return dataclasses.replace(summed, at_zero=None)


def _without(eqn: JaxprEqn, operand: Value, gone: set[int]) -> Value:
    if gone & set(operand.bases):
        raise DependsOnBasis
    kept = [k for k in range(len(eqn.invars[0].aval.shape)) if k not in gone]
    return operand.moved({k: i for i, k in enumerate(kept)})


def _forgotten(operand: Value, *others: Value) -> Value:
    if operand.bases or any(other.bases for other in others):
        raise DependsOnBasis
    return PLAIN


def _slice(eqn: JaxprEqn, operand: Value) -> Value:
    """Whole axes keep their state, and those of equal lanes."""
    shape, new = (jaxprs.dims_of(atom) for atom in (eqn.invars[0], eqn.outvars[0]))
    kept = {
        k: k for k in range(len(shape)) if shape[k] == new[k] or operand.axes.get(k) == UNIFORM
    }
    if any(k not in kept for k in operand.bases):
        raise DependsOnBasis
    return operand.moved(kept)


_RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "convert_element_type": _elementwise,
    "copy": _elementwise,
    "dim_as_value": lambda eqn, *operands: PLAIN,
    "dot_general": _contraction,
    "dynamic_slice": lambda eqn, *operands: _forgotten(*operands),
    "gather": lambda eqn, *operands: _forgotten(*operands),
    "reduce_max": _reduction,
    "reduce_min": _reduction,
    "reduce_sum": _reduction,
    "reshape": _reshape,
    "slice": _slice,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
