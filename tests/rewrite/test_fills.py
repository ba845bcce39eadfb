"""The law of fills: what is claimed of pad lanes is true of the primitive's own results."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from sod2jax.ir.dims import parse
from sod2jax.rewrite import fills
from sod2jax.rewrite.padded import ANYTHING, FINITE, Padded, RowReduction, constant_fill

FEW = settings(max_examples=settings.default.max_examples // 2)  # of each of many cases
ROWS, TRUE, PADDED = 3, 5, 17
EXTENTS = ((ROWS,), (parse("s"),))

UNARY = {
    "abs": lax.abs,
    "atan": lax.atan,
    "ceil": lax.ceil,
    "cos": lax.cos,
    "erf": lax.erf,
    "exp": lax.exp,
    "exp2": lax.exp2,
    "expm1": lax.expm1,
    "floor": lax.floor,
    "is_finite": lax.is_finite,
    "log": lax.log,
    "log1p": lax.log1p,
    "logistic": lax.logistic,
    "neg": lax.neg,
    "not": lax.bitwise_not,
    "round": lax.round,
    "rsqrt": lax.rsqrt,
    "sign": lax.sign,
    "sin": lax.sin,
    "sqrt": lax.sqrt,
    "square": lax.square,
    "tanh": lax.tanh,
}
BINARY = {
    "add": lax.add,
    "and": lax.bitwise_and,
    "div": lax.div,
    "eq": lax.eq,
    "ge": lax.ge,
    "gt": lax.gt,
    "le": lax.le,
    "lt": lax.lt,
    "max": lax.max,
    "min": lax.min,
    "mul": lax.mul,
    "ne": lax.ne,
    "or": lax.bitwise_or,
    "sub": lax.sub,
}
FLOATS, INTEGERS = ("float32", "bfloat16"), ("int32", "uint8")
BITWISE = {"and", "or", "not"}
ORDERED = {"max", "min", "ge", "gt", "le", "lt"}
SIGNED = {"abs"}
FOR_ALL = {"add", "div", "eq", "mul", "ne", "neg", "sign", "square", "sub"}


def dtypes(name):
    if name in BITWISE:
        return (*INTEGERS, "bool")
    if name in ORDERED | {"eq", "ne"}:
        return (*FLOATS, *INTEGERS, "bool")
    if name in SIGNED:
        return (*FLOATS, "int32")
    return (*FLOATS, *INTEGERS) if name in FOR_ALL else FLOATS


CASES = [(name, dtype) for name in (*UNARY, *BINARY) for dtype in dtypes(name)]
CASES += [("square", "complex64"), ("mul", "complex64"), ("div", "complex64"), ("exp", "complex64")]


def numbers(dtype):
    """Numbers of interest that a dtype holds."""
    if dtype == "bool":
        return [False, True]
    if dtype in INTEGERS:
        info = jnp.iinfo(dtype)
        return [0, 1, 2, int(info.max), int(info.min), int(info.max) - 1]
    if dtype == "complex64":
        return [0.0, 1.0, -1.0, 2j, 1 - 1j]
    return [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 88.0, math.inf, -math.inf, math.nan]


@st.composite
def operands(draw, dtype):
    """A padded operand whose lanes keep the promise of its fill; every kind of promise occurs."""
    kinds = ["anything", "fill", "fill", "finite", "constant", "scalar", "scalar constant"]
    inexact = jnp.issubdtype(dtype, np.inexact)
    kind = draw(st.sampled_from([*kinds, "fill or nan row"] if inexact else kinds))
    pool = np.array(numbers(dtype))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    value = draw(st.sampled_from(numbers(dtype)))
    if kind.startswith("scalar"):
        array = jnp.asarray(value, dtype)
        return Padded.exact(array, constant=value if kind == "scalar constant" else None)
    array = rng.choice(pool, (ROWS, PADDED)).astype(jnp.dtype(dtype))
    pads = np.s_[:, TRUE:]
    promised = {}
    if kind == "constant":
        return Padded(jnp.full((ROWS, PADDED), value, dtype), EXTENTS, constant=value)
    if kind.startswith("fill") and value == value:
        array[pads] = value
        promised = {1: constant_fill(value, or_nan_row=kind == "fill or nan row")}
    if kind == "fill or nan row" and promised:
        array[draw(st.integers(0, ROWS - 1))] = np.nan
    if kind == "finite":
        array[pads] = 1
        array[:, TRUE + 1 :: 2] = 2
        promised = {1: FINITE}
    return Padded(jnp.asarray(array), EXTENTS, promised)


def is_true(claim, lanes, row):
    """Whether what is claimed of the pad lanes of a row holds; ``row`` has its true lanes."""
    if claim.or_nan_row and np.isnan(row).all():
        return True
    if claim.value is not None and not (lanes == claim.value).all():
        return False
    return not claim.finite or bool(np.isfinite(lanes).all())


def check(name, bind, values):
    out = bind(*(v.array for v in values))
    facts = fills.elementwise(name, values, EXTENTS, out.dtype)
    if np.shape(out) != (ROWS, PADDED):
        return
    lanes = np.asarray(out).astype(np.complex128 if out.dtype.kind == "c" else np.float64)
    claim = facts["fills"].get(1, ANYTHING)
    for row in lanes:
        assert is_true(claim, row[TRUE:], row[:TRUE]), (claim, row)
    if facts["nonnegative"]:
        assert not (lanes.real < 0).any()


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_claims_about_arithmetic_are_true(name, dtype):
    bind = jax.jit(UNARY.get(name) or BINARY[name])

    @FEW
    @given(st.tuples(*[operands(dtype)] * (1 if name in UNARY else 2)))
    def law(values):
        check(name, bind, values)

    law()


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_claims_about_select_are_true(dtype):
    @given(operands("bool"), operands(dtype), operands(dtype))
    def law(which, one, other):
        if one.rank and other.rank:
            check("select_n", jax.jit(lax.select_n), (which, one, other))

    law()


@given(operands("float32"), operands("float32"), operands("float32"))
def test_claims_about_clamp_are_true(low, value, high):
    if value.rank:
        check("clamp", jax.jit(lax.clamp), (low, value, high))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (o, n)
        for o in ("float32", "int32", "bool")
        for n in (*FLOATS, *INTEGERS, "bool", "float8_e4m3fn")
    ],
)
def test_claims_about_conversions_are_true(old, new):
    convert = jax.jit(lambda x: lax.convert_element_type(x, new))

    @given(operands(old))
    def law(value):
        if value.rank:
            check("convert_element_type", convert, (value,))

    law()


@given(
    st.lists(
        st.sampled_from([0.0, 1.0, -1.0, 3.0, math.inf, -math.inf, math.nan]),
        min_size=TRUE,
        max_size=TRUE,
    )
)
def test_claims_about_a_row_and_its_own_reduction_are_true(row):
    true = np.tile(np.array(row, np.float32), (ROWS, 1))
    for name, kind, fill in (("sub", "max", -math.inf), ("div", "sum", 0.0)):
        lanes = np.abs(true) if kind == "sum" else true
        array = jnp.asarray(np.pad(lanes, ((0, 0), (0, PADDED - TRUE)), constant_values=fill))
        reduced = jnp.broadcast_to(getattr(jnp, kind)(array, 1, keepdims=True), array.shape)
        reduction = RowReduction(kind, array, frozenset({1}), kind == "sum", (0, None))
        value = Padded(array, EXTENTS, {1: constant_fill(fill)})
        other = Padded(reduced, EXTENTS, row=reduction)
        promised = fills.elementwise(name, (value, other), EXTENTS, np.dtype(np.float32))["fills"]
        assert promised == {1: constant_fill(fill, or_nan_row=True)}
        check(name, jax.jit(BINARY[name]), (value, other))


SPECIAL = st.sampled_from([0.0, 1.0, -1.0, 3.0, math.inf, -math.inf, math.nan])


@FEW
@given(st.lists(SPECIAL, min_size=4, max_size=4))
def test_claims_about_rows_and_a_reduction_over_both_axes_are_true(numbers):
    """Each row along each axis, those in pad lanes of the other axis, too."""
    for name, kind, fill in (("sub", "max", -math.inf), ("div", "sum", 0.0)):
        lanes = np.array(numbers, np.float32).reshape(2, 2)
        lanes = np.abs(lanes) if kind == "sum" else lanes
        array = jnp.asarray(np.pad(lanes, ((0, 3), (0, 1)), constant_values=fill))
        reduction = RowReduction(kind, array, frozenset({0, 1}), kind == "sum", (None, None))
        extents = ((parse("s"),), (parse("t"),))
        known = {k: constant_fill(fill) for k in range(2)}
        reduced = jnp.broadcast_to(getattr(jnp, kind)(array, keepdims=True), array.shape)
        value, other = Padded(array, extents, known), Padded(reduced, extents, row=reduction)
        promised = fills.elementwise(name, (value, other), extents, np.dtype(np.float32))["fills"]
        assert promised == dict.fromkeys((0, 1), constant_fill(fill, or_nan_row=True))
        result = np.asarray(BINARY[name](array, reduced))
        for rows in (result, result.T):
            for row in rows:
                assert np.isnan(row[:2]).all() or (row[2:] == fill).all()


@pytest.mark.parametrize("dtype", ["int32", "complex64"])
def test_nothing_is_claimed_of_rows_that_cannot_be_nan(dtype):
    array = jnp.zeros((ROWS, PADDED), dtype)
    row = RowReduction("sum", array, frozenset({1}), True, (0, None))
    value, other = Padded(array, EXTENTS, {1: constant_fill(0)}), Padded(array, EXTENTS, row=row)
    assert fills.elementwise("div", (value, other), EXTENTS, array.dtype)["fills"] == {}


def claim(name, *values, dtype="float32"):
    return fills.elementwise(name, values, EXTENTS, np.dtype(dtype))["fills"].get(1, ANYTHING)


def filled(fill, dtype="float32"):
    return Padded(jnp.zeros((ROWS, PADDED), dtype), EXTENTS, {1: fill})


def test_the_masked_softmax_is_followed():
    lowest = filled(constant_fill(-math.inf, or_nan_row=True))
    assert claim("exp", lowest) == constant_fill(0, or_nan_row=True)
    scale = Padded.exact(np.float32(8), constant=8.0)
    assert claim("div", filled(constant_fill(-math.inf)), scale) == constant_fill(-math.inf)
    assert claim("mul", filled(constant_fill(0)), filled(FINITE)) == constant_fill(0)
    assert claim("mul", filled(constant_fill(0)), filled(ANYTHING)) == ANYTHING
    assert claim("tanh", filled(FINITE)) == FINITE
    assert claim("log", filled(FINITE)) == ANYTHING


def test_a_row_of_nan_is_forgotten_where_other_lanes_may_be_chosen():
    which = Padded(jnp.ones((ROWS, PADDED), bool), EXTENTS, {1: constant_fill(True)})
    unknown = Padded(jnp.zeros((ROWS, PADDED)), EXTENTS)
    assert claim("select_n", which, unknown, filled(constant_fill(0))) == constant_fill(0)
    rows = filled(constant_fill(0, or_nan_row=True))
    assert claim("select_n", which, unknown, rows) == ANYTHING


def test_what_keeps_a_value_keeps_its_reduction():
    row = RowReduction("max", jnp.zeros((ROWS, PADDED)), frozenset({1}), False, (0, None))
    value = Padded(jnp.zeros((ROWS, PADDED)), EXTENTS, row=row)
    lowest = Padded.exact(np.float32(-math.inf), constant=-math.inf)
    for name, values in (
        ("stop_gradient", (value,)),
        ("max", (value, lowest)),
        ("max", (lowest, value)),
    ):
        assert fills.elementwise(name, values, EXTENTS, np.dtype("float32"))["row"] is row
    assert "row" not in fills.elementwise("neg", (value,), EXTENTS, np.dtype("float32"))


def test_every_name_is_tested():
    spelled = {"add_any", "convert_element_type", "copy", "select_n", "stop_gradient", "clamp"}
    named = {
        *fills._FOLD,
        *fills._NAN_IN_NAN_OUT,
        *fills._FINITE_IN_FINITE_OUT,
        *fills._NONNEGATIVE,
    }
    assert named <= {*UNARY, *BINARY, *spelled}
