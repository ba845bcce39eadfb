"""Polynomials over unknowns have the values of the dimensions that they are made of."""

from __future__ import annotations

import math

import pytest
from hypothesis import given

from sod2jax.ir import dims
from sod2jax.ir.polynomials import Unknowns, isolated, replaced
from tests import expressions


def value(polynomial, unknowns):
    return sum(s * math.prod(unknowns[k] for k in m) for m, s in polynomial.items())


def values_of(made: Unknowns, sizes: dict[str, int]) -> dict[int, int]:
    out = {k: dims.evaluate(e, sizes) for k, e in enumerate(made.expressions) if e is not None}
    for q in made.quotients:
        out[q.unknown] = value(q.dividend, out) // value(q.divisor, out)
    return out


@given(expressions.texts(), expressions.sizes())
def test_a_polynomial_has_the_value_of_its_dimension(text, sizes):
    dim = dims.parse(text)
    if isinstance(dim, int):
        return
    made = Unknowns(lambda _: True)
    polynomial = made.polynomial(dim)
    assert value(polynomial, values_of(made, sizes)) == dims.evaluate(dim, sizes)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("floordiv(4*a + 9, 4)", "a + 2"),
        ("floordiv(9*a, 8)", "a + floordiv(a, 8)"),
        ("floordiv(-9*a, 8)", "floordiv(-a, 8) - a"),
        ("floordiv(6*a + 5, 9)", "floordiv(2*a + 1, 3)"),
        ("floordiv(a, -3)", "floordiv(-a, 3)"),
        ("mod(a, 4)", "a - 4*floordiv(a, 4)"),
        ("mod(8*a + 3, 4)", "3"),
        ("floordiv(a*b + c, b)", "a + floordiv(c, b)"),
    ],
)
def test_equal_quotients_are_one_unknown(text, same):
    made = Unknowns(lambda _: True)
    pair = [made.polynomial(dims.sympy.sympify(dims.parse(t))) for t in (text, same)]
    assert pair[0] == pair[1]


def test_an_equality_gives_an_unknown():
    assert isolated({(0,): 1, (1,): -8}) == (0, {(1,): 8})
    assert isolated({(0,): 2, (1,): -1, (): 3}) == (1, {(0,): 2, (): 3})
    assert isolated({(0,): 1, (0, 1): 1}) is None
    assert replaced({(0, 0): 1}, {0: {(1,): 1, (): 1}}) == {(1, 1): 1, (1,): 2, (): 1}


def test_a_divisor_that_may_be_negative_stays_whole():
    made = Unknowns(lambda _: False)
    polynomial = made.polynomial(dims.parse("floordiv(a, b - c)"))
    assert not made.quotients and len(polynomial) == 1
