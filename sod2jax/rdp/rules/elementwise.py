"""Primitives whose every lane of the result depends on the same lane of their operands."""

from __future__ import annotations

from typing import Any

import numpy as np

from sod2jax._compat import Atom, JaxprEqn
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.vocabulary import COPIES, ELEMENTWISE
from sod2jax.rdp import arithmetic
from sod2jax.rdp.arithmetic import RangeFunction
from sod2jax.rdp.lattice import DimFact
from sod2jax.rdp.rule import Context, Dims, Places, register_local
from sod2jax.rdp.values import MAX_ELEMENTS, NAC_VALUE, Range, ValueFact, dtype_range, is_integer

_ANY_INTEGER: dict[str, RangeFunction] = {
    "abs": arithmetic.absolute,
    "add": arithmetic.add,
    "add_any": arithmetic.add,
    "clamp": arithmetic.clamp,
    "div": arithmetic.truncated_quotient,
    "eq": arithmetic.equal,
    "eq_to": arithmetic.equal,
    "ge": arithmetic.greater_equal,
    "gt": arithmetic.greater,
    "le": arithmetic.less_equal,
    "le_to": arithmetic.less_equal,
    "lt": arithmetic.less,
    "lt_to": arithmetic.less,
    "max": arithmetic.maximum,
    "min": arithmetic.minimum,
    "mul": arithmetic.mul,
    "ne": arithmetic.not_equal,
    "neg": arithmetic.neg,
    "rem": arithmetic.truncated_remainder,
    "select_n": arithmetic.select,
    "sign": arithmetic.sign,
    "square": arithmetic.square,
    "sub": arithmetic.sub,
    **dict.fromkeys(COPIES, arithmetic.identity),
}
# Primitives that mean one thing on booleans and another on integers.
_BOOLEAN = {"and": arithmetic.minimum, "or": arithmetic.maximum, "not": arithmetic.flip}
_BITWISE = {"and": arithmetic.bitwise_and, "or": None, "not": arithmetic.complement}


def same_axes(eqn: JaxprEqn) -> list[Places]:
    """Axis k of every operand is axis k of the result, unless it is broadcast."""
    shape = dims_of(eqn.outvars[0])
    return [
        tuple(k if dim == shape[k] else None for k, dim in enumerate(dims_of(atom)))
        for atom in eqn.invars
    ]


def broadcast(eqn: JaxprEqn, *operands: Dims) -> list[Dims]:
    """Scalars and axes of size 1 give way to the dimension of the other operands."""
    rank = max(map(len, operands))
    columns = zip(*(shape for shape in operands if len(shape) == rank), strict=True)
    return [tuple(map(_broadcast_dim, columns))] * len(eqn.outvars)


def _broadcast_dim(column: tuple[DimFact, ...]) -> DimFact:
    one = DimFact(1)
    wide = [dim for dim in column if dim != one] or [one]
    result = wide[0]
    for other in wide[1:]:
        result = result.refine(other)
    return result


def apply(
    function: RangeFunction, ctx: Context, eqn: JaxprEqn, operands: tuple[ValueFact, ...]
) -> ValueFact:
    """Maps ranges elementwise; one by one where the elements of a vector are known."""
    dtypes = [atom.aval.dtype for atom in eqn.invars]
    (out,) = eqn.outvars
    if not all(map(is_integer, (*dtypes, out.aval.dtype))):
        return NAC_VALUE
    count = _vector_length(out)
    if count is None or not any(fact.elements for fact in operands):
        ranges = [fact.range(dtype) for fact, dtype in zip(operands, dtypes, strict=True)]
        return ValueFact.of(function(ctx.region, *ranges), out.aval.dtype, ctx.region)
    columns = [_column(fact, dtype, count) for fact, dtype in zip(operands, dtypes, strict=True)]
    ranges = [function(ctx.region, *row) for row in zip(*columns, strict=True)]
    return ValueFact.of_elements(ranges, out.aval.dtype, ctx.region)


def _vector_length(atom: Atom) -> int | None:
    shape = dims_of(atom)
    if len(shape) != 1 or not isinstance(shape[0], int) or not 0 < shape[0] <= MAX_ELEMENTS:
        return None
    return shape[0]


def _column(fact: ValueFact, dtype: Any, count: int) -> list[Range]:
    """A range for each of ``count`` elements, repeated where the operand is broadcast."""
    given = fact.elements or (fact.range(dtype),)
    ranges = [dtype_range(dtype) if r is None else r for r in given]
    return ranges if len(ranges) == count else ranges * count


def _value_of(function: RangeFunction):
    def value(ctx: Context, eqn: JaxprEqn, *operands: ValueFact) -> list[ValueFact]:
        return [apply(function, ctx, eqn, operands)]

    return value


def _logical_value(name: str):
    def value(ctx: Context, eqn: JaxprEqn, *operands: ValueFact) -> list[ValueFact]:
        function = (_BOOLEAN if eqn.outvars[0].aval.dtype == np.bool_ else _BITWISE)[name]
        return [NAC_VALUE if function is None else apply(function, ctx, eqn, operands)]

    return value


def _convert_value(ctx: Context, eqn: JaxprEqn, operand: ValueFact) -> list[ValueFact]:
    """Integers keep their value where the new type holds it; booleans are ``x != 0``."""
    to_bool = eqn.outvars[0].aval.dtype == np.bool_ != eqn.invars[0].aval.dtype
    function = (lambda region, a: arithmetic.not_equal(region, a, Range(0, 0))) if to_bool else None
    return [apply(function or arithmetic.identity, ctx, eqn, (operand,))]


def _integer_pow_value(ctx: Context, eqn: JaxprEqn, operand: ValueFact) -> list[ValueFact]:
    if eqn.params["y"] != 2:
        return [NAC_VALUE]
    return [apply(arithmetic.square, ctx, eqn, (operand,))]


_VALUES = {
    **{name: _value_of(function) for name, function in _ANY_INTEGER.items()},
    **{name: _logical_value(name) for name in _BOOLEAN},
    "convert_element_type": _convert_value,
    "integer_pow": _integer_pow_value,
}


def _bitcast_lanes(eqn: JaxprEqn) -> list[Places]:
    """A change of width adds or drops a last axis."""
    source, target = dims_of(eqn.invars[0]), dims_of(eqn.outvars[0])
    return [tuple(k if k < len(target) else None for k in range(len(source)))]


register_local("bitcast_convert_type", lanes=_bitcast_lanes)
register_local(*(ELEMENTWISE - set(_VALUES)), lanes=same_axes, shape=broadcast)
for _name, _value in _VALUES.items():
    register_local(_name, lanes=same_axes, shape=broadcast, value=_value)
