"""How primitives pass bases on: what each makes of axes that count vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sod2jax._compat import Atom, JaxprEqn
from sod2jax.ir import jaxprs
from sod2jax.ir.vocabulary import ELEMENTWISE
from sod2jax.passes.bases import zeros
from sod2jax.passes.bases.values import COUNTING, PLAIN, UNIFORM, Basis, Spectral, Value


class DependsOnBasis(Exception):
    """The result of an equation depends on which basis was chosen."""


Rule = Callable[..., Value]

_LINEAR = frozenset("add add_any convert_element_type copy neg sub".split())


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
    return [dataclasses.replace(rule(eqn, *operands), positive=zeros.is_positive(eqn, operands))]


def _states(eqn: JaxprEqn, operands: Sequence[Value], axis: int) -> Iterator[Any]:
    """States of one axis of the operands of an elementwise equation; single lanes go to all."""
    size = eqn.outvars[0].aval.shape[axis]
    for atom, operand in zip(eqn.invars, operands, strict=True):
        shape = atom.aval.shape
        repeated = not shape or (shape[axis] is not size and shape[axis] != size)
        yield UNIFORM if repeated else operand.axes.get(axis)


def _pointwise(states: Sequence[Any]) -> Any:
    """The state of an axis after a function of the same lane of each operand."""
    others = {state for state in states if state != UNIFORM}
    if not others:
        return UNIFORM
    state = others.pop()
    return state if not others and state != COUNTING else None


def _elementwise(eqn: JaxprEqn, *operands: Value) -> Value:
    name = eqn.primitive.name
    if (known := _of_positions(eqn, operands)) is not None:
        return known
    axes = {}
    for axis in range(len(eqn.outvars[0].aval.shape)):
        states = list(_states(eqn, operands, axis))
        if any(isinstance(state, Basis) for state in states):
            axes[axis] = _of_vectors(name, eqn, operands, states)
        elif (state := _pointwise(states)) is not None:
            axes[axis] = state
    lost = {axis for operand in operands for axis in operand.spectral} - set(axes)
    return Value(axes, None if lost else zeros.at_zero(name, operands))


def _of_positions(eqn: JaxprEqn, operands: Sequence[Value]) -> Value | None:
    """Of lanes that are told apart by their index: only diagonals, and what they select."""
    name = eqn.primitive.name
    if name in ("add", "convert_element_type", "copy") and all(map(_is_zero, operands[1:])):
        return dataclasses.replace(operands[0], at_zero=None) if _has_index(operands[0]) else None
    if name == "eq":
        first, second = ([k for k, s in o.axes.items() if s == COUNTING] for o in operands)
        rest = [s for o in operands for s in o.axes.values() if s not in (COUNTING, UNIFORM)]
        if len(first) == len(second) == 1 and first != second and not rest:
            return Value({first[0]: UNIFORM, second[0]: UNIFORM}, diagonal=(*first, *second))
    if name == "select_n" and operands[0].diagonal and len(operands) == 3 and _is_zero(operands[1]):
        return _diagonal(operands[0], operands[2])
    if name == "mul" and any(operand.diagonal for operand in operands):
        first, second = sorted(operands, key=lambda operand: not operand.diagonal)
        return _diagonal(first, second)
    return None


def _has_index(value: Value) -> bool:
    return bool(value.diagonal) or COUNTING in value.axes.values()


def _diagonal(mask: Value, value: Value) -> Value:
    """The diagonal of a value, zeros beside it."""
    a, b = mask.diagonal
    states = {value.axes.get(a), value.axes.get(b)} - {UNIFORM}
    if value.bases:
        raise DependsOnBasis
    if len(states) > 1 or None in states or mask.spectral:
        return PLAIN
    state = states.pop() if states else UNIFORM
    return Value({a: state, b: state}, value.at_zero, diagonal=(a, b))


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
    unbounded = any(state.unbounded for state in states)
    alike = {dataclasses.replace(state, quenched=quenched, unbounded=unbounded) for state in states}
    if len(alike) > 1:
        raise DependsOnBasis
    return alike.pop()


def _scaled(basis: Basis, factor: Any, operand: Value, quencher: float) -> Basis:
    """Of vectors times, or divided by, a function of their values."""
    if factor != UNIFORM and factor != Spectral(basis.source):
        raise DependsOnBasis
    number = operand.at_zero if len(operand.spectral) <= 1 else None
    if factor == UNIFORM or (number is not None and _is_tame(number, quencher)):
        return dataclasses.replace(
            basis, quenched=basis.quenched or (number == quencher and not basis.unbounded)
        )
    return dataclasses.replace(basis, quenched=False, unbounded=True)


def _is_tame(number: float, quencher: float) -> bool:
    """Whether a factor, or a divisor, makes nothing infinite."""
    return bool(np.isfinite(number)) if quencher == 0 else number != 0 and number == number


def _selected(eqn: JaxprEqn, operands: Sequence[Value], states: list[Any]) -> Basis:
    """Of vectors that are kept or made zero, by their values."""
    predicate, *cases = states
    zeros = [k for k, case in enumerate(operands[1:]) if _is_zero(case)]
    basis = _equal([case for k, case in enumerate(cases) if k not in zeros])
    if predicate not in (UNIFORM, Spectral(basis.source)):
        raise DependsOnBasis
    chosen = operands[0].at_zero if len(operands[0].spectral) <= 1 else None
    if chosen is not None and int(chosen) in zeros:
        return dataclasses.replace(basis, quenched=True, unbounded=False)
    return basis


def _is_zero(value: Value) -> bool:
    return value.at_zero == 0 and all(state == UNIFORM for state in value.axes.values())


def _contraction(eqn: JaxprEqn, left: Value, right: Value) -> Value:
    over, batch = eqn.params["dimension_numbers"]
    ranks = [len(atom.aval.shape) for atom in eqn.invars]
    free = [
        [k for k in range(rank) if k not in (*over[i], *batch[i])] for i, rank in enumerate(ranks)
    ]
    count, middle = len(batch[0]), len(batch[0]) + len(free[0])
    first = left.moved({k: count + i for i, k in enumerate(free[0])})
    second = right.moved({k: middle + i for i, k in enumerate(free[1])})
    axes = {**first.axes, **second.axes}
    for place, (a, b) in enumerate(zip(*batch, strict=True)):
        if (state := _batched(left, right, a, b)) is not None:
            axes[place] = state
    for a, b in zip(*over, strict=True):
        if a in left.bases and b in right.diagonal:
            axes |= _on_diagonal(left.bases[a], right, b, free[1], middle)
        elif b in right.bases and a in left.diagonal:
            axes |= _on_diagonal(right.bases[b], left, a, free[0], count)
        elif (a in left.bases or b in right.bases) and not _meet(eqn, left, right, a, b):
            raise DependsOnBasis
    return Value(axes)


def _batched(left: Value, right: Value, a: int, b: int) -> Any:
    """The state of an axis along which lane meets lane."""
    if a in left.bases:
        return _scaled(left.bases[a], right.axes.get(b), right, 0)
    if b in right.bases:
        return _scaled(right.bases[b], left.axes.get(a), left, 0)
    return _pointwise([left.axes.get(a), right.axes.get(b)])


def _on_diagonal(
    basis: Basis, matrix: Value, axis: int, free: Sequence[int], start: int
) -> dict[int, Basis]:
    """Vectors times a diagonal matrix: scaled, along its other axis."""
    (other,) = [k for k in matrix.diagonal if k != axis]
    if other not in free:
        raise DependsOnBasis
    diagonal = dataclasses.replace(matrix, axes={axis: matrix.axes.get(axis)})
    return {start + free.index(other): _scaled(basis, matrix.axes.get(axis), diagonal, 0)}


def _meet(eqn: JaxprEqn, left: Value, right: Value, a: int, b: int) -> bool:
    one, other = left.bases.get(a), right.bases.get(b)
    if one is None or other is None or not one.meets(other):
        return False
    is_complex = np.issubdtype(eqn.outvars[0].aval.dtype, np.complexfloating)
    return not is_complex or one.conjugate != other.conjugate


def _iota(eqn: JaxprEqn, *sizes: Value) -> Value:
    del sizes
    rank = len(eqn.outvars[0].aval.shape)
    axes: dict[int, Any] = dict.fromkeys(range(rank), UNIFORM)
    return Value(axes | {eqn.params["dimension"]: COUNTING})


def _pad(eqn: JaxprEqn, operand: Value, filler: Value) -> Value:
    """No padding at all, as of a diagonal that is the main one."""
    if all(tuple(config) == (0, 0, 0) for config in eqn.params["padding_config"]):
        return operand
    return _forgotten(operand, filler)


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
    kept = {k: k for k in range(len(shape)) if shape[k] == new[k] or operand.axes.get(k) == UNIFORM}
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
    "iota": _iota,
    "pad": _pad,
    "reduce_max": _reduction,
    "reduce_min": _reduction,
    "reduce_sum": _reduction,
    "reshape": _reshape,
    "slice": _slice,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
