"""Symbolic dimensions mean what Python and JAX mean by them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import export

from sod2jax.errors import SpecError
from sod2jax.ir import dims
from tests import expressions
from tests.expressions import NAMES, python_value


@given(expressions.texts(), expressions.sizes())
def test_evaluates_as_python_does(text, sizes):
    assert dims.evaluate(dims.parse(text), sizes) == python_value(text, sizes)


@given(expressions.texts(), st.lists(expressions.sizes(), min_size=1, max_size=4))
def test_evaluates_arrays_elementwise(text, points):
    want = [python_value(text, p) for p in points]
    dim = dims.parse(text)
    columns = {name: np.array([p[name] for p in points]) for name in NAMES}
    found = np.broadcast_to(dims.evaluate(dim, columns), len(points))
    assert found.tolist() == want


@given(expressions.texts(max_leaves=4), expressions.sizes(high=5))
def test_evaluates_run_time_scalars(text, sizes):
    values = {name: jnp.int32(size) for name, size in sizes.items()}
    assert int(dims.evaluate(dims.parse(text), values)) == python_value(text, sizes)


def jax_dimension(text, scope):
    (dim,) = export.symbolic_shape(f"{text},", scope=scope)
    return dim


def jax_value(text):
    """The expression, computed by JAX's own dimensions; an ``int`` where it names no symbol."""
    scope = export.SymbolicScope()
    return python_value(
        text,
        {name: jax_dimension(name, scope) for name in NAMES},
        max=lambda a, b: jax_dimension(f"max({a}, {b})", scope),
        min=lambda a, b: jax_dimension(f"min({a}, {b})", scope),
    )


@given(expressions.texts(max_leaves=4), expressions.sizes())
def test_reads_what_jax_computes(text, sizes):
    assert dims.evaluate(dims.from_jax(jax_value(text)), sizes) == python_value(text, sizes)


@given(expressions.texts(max_leaves=4), expressions.sizes())
def test_jax_reads_what_it_writes(text, sizes):
    written = dims.jax_text(dims.parse(text))
    again = dims.from_jax(jax_dimension(written, export.SymbolicScope()))
    assert dims.evaluate(again, sizes) == python_value(text, sizes)
    assert dims.parse(written) == dims.parse(text)


def test_forms_of_jax_dimensions():
    a, b = export.symbolic_shape("a, b")
    assert dims.from_jax(a * (b + 1) - b) == dims.parse("a*b + a - b")
    assert dims.from_jax((a + 3) // 4) == dims.parse("floordiv(a + 3, 4)")
    assert dims.from_jax(a % 3) == dims.parse("mod(a, 3)")
    assert dims.from_jax(-2 * a + 7) == dims.parse("7 - 2*a")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a*(b + 1)", "a + a*b"),
        ("(a + b)^2", "a*a + 2*a*b + b*b"),
        ("2*a - a - a + 5", "5"),
        ("a // 2", "floordiv(a, 2)"),
        ("a % 2", "mod(a, 2)"),
        ("max(a, a)", "a"),
        ("floordiv(a, 1)", "a"),
        ("floordiv(7, 2)", "3"),
        ("mod(-7, 4)", "1"),
        ("max(1, 2, 3)", "3"),
        ("min(3*2, 5)", "5"),
    ],
)
def test_equal_expressions_have_one_form(one, other):
    assert dims.parse(one) == dims.parse(other)


def test_numbers_become_integers():
    assert type(dims.parse("2*3")) is int
    assert type(dims.normalise(dims.parse("a") - dims.parse("a"))) is int
    assert type(dims.from_jax(np.int64(3))) is int


@pytest.mark.parametrize(
    "text",
    ["", "a +", "a / 2", "a.b", "1.5", "True", "f(a)", "a < b", "s^-1", "2^s", "a^b", "'a'", "[a]"]
    + ["max", "floordiv + 1", "_min", "mod(a, 0)", "floordiv(a, 0)", "a // 0", "lambda"],
)
def test_refuses_what_is_no_dimension(text):
    with pytest.raises(SpecError, match="is not a dimension expression"):
        dims.parse(text)


def test_product():
    a = dims.parse("a")
    assert dims.product([]) == 1
    assert dims.product([2, 3]) == 6
    assert dims.product([a]) == a
    assert dims.product([a, dims.parse("b"), 4]) == dims.parse("4*a*b")


def test_symbols():
    assert dims.symbols_of(7) == frozenset()
    assert dims.symbols_of(dims.parse("max(a, floordiv(b, 2)) + 1")) == {"a", "b"}
    assert not dims.is_symbolic(7)
    assert dims.is_symbolic(dims.parse("a"))


B, S = dims.symbol("b"), dims.symbol("s")


@pytest.mark.parametrize(
    ("dim", "divisor", "whole"),
    [
        (12, 4, 3),
        (12, 5, None),
        (12, 0, None),
        (B, 0, None),
        (0, B, 0),
        (B, B, 1),
        (B, 1, B),
        (4 * B, B, 4),
        (4 * B, 2, 2 * B),
        (B * S, B, S),
        (B * S + B, B, S + 1),
        (B * S + 1, B, None),
        (6, B, None),
        (S + 1, 2, None),  # a half of it is no size, though it is a polynomial
        (2 * S + 4, 3 * S + 6, None),
        (dims.floordiv(S, 2) * B, B, dims.floordiv(S, 2)),
        (dims.floordiv(S, 2), S, None),
    ],
)
def test_quotients(dim, divisor, whole):
    assert dims.quotient(dim, divisor) == whole
    assert whole is None or dims.product((whole, divisor)) == dim


def test_symbols_in_nested_values():
    (jax_size,) = export.symbolic_shape("t + 2")
    assert dims.symbols_in((3, [B, (jax_size, "x", None)], S)) == {"b", "s", "t"}
    assert dims.symbols_in(jax_size) == {"t"}
    assert dims.symbols_in((4, "s", np.ones(2), ())) == frozenset()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("floordiv(n + 1, 2)*2 - 3", "2*((n + 1)//2) - 3"),
        ("mod(floordiv(n, 2), 3)", "(n//2) % 3"),
        ("-floordiv(-n, 2)", "-((-n)//2)"),
        ("floordiv(n, 2*m)", "n//(2*m)"),
        ("n - floordiv(n, 2)", "n - (n//2)"),
        ("mod(n, 4)**2", "(n % 4)**2"),
        ("max(n, floordiv(m, 2)) + 1", "max(n, m//2) + 1"),
        ("min(m, 3)", "min(m, 3)"),
    ],
)
def test_prints_as_python_writes_it(text, shown):
    dim = dims.parse(text)
    assert str(dim) == shown
    assert dims.parse(shown) == dim == dims.parse(dims.jax_text(dim))
    for n, m in ((7, 2), (4, 9), (1, 1)):
        sizes = {"n": n, "m": m}
        assert eval(shown, {}, sizes) == dims.evaluate(dim, sizes)
