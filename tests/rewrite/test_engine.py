"""The engine binds what has no symbols, asks a rule for the rest, and checks what it returns."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from sod2jax.errors import InvariantError, UnsupportedPrimitiveError
from sod2jax.rewrite import engine
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.padded import Padded
from sod2jax.target import Target
from tests.rewrite.values import REGION, A


def symbolic(function, *specs):
    """The jaxpr of a function of float32 arrays of symbolic shapes."""
    scope = jax.export.SymbolicScope()
    shapes = [jax.export.symbolic_shape(spec, scope=scope) for spec in specs]
    args = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    return jax.jit(function).trace(*args).jaxpr


def interpret(jaxpr, *values):
    ctx = Context({"a": jnp.int32(2)}, REGION, engine.interpret, lambda atom: None, Target("cpu"))
    return ctx.run(jaxpr, values)


VALUE = Padded.prefix(jnp.ones(4), (A,))


def test_equations_with_symbols_are_told_apart():
    first, second = symbolic(lambda x, y: (x + 1, y + 1), "a", "3").eqns
    assert engine.has_symbolic(first)
    assert not engine.has_symbolic(second)
    (branches,) = symbolic(
        lambda x, i: jax.lax.cond(i[0] > 0, lambda: x.sum(), lambda: 0.0), "a", "1"
    ).eqns[-1:]
    assert engine.has_symbolic(branches)


def test_a_primitive_without_a_rule_is_refused(monkeypatch):
    monkeypatch.delitem(engine._RULES, "sin")
    jaxpr = symbolic(jnp.sin, "a")
    with pytest.raises(UnsupportedPrimitiveError, match="no rewrite rule") as refused:
        interpret(jaxpr, VALUE)
    assert refused.value.primitive == "sin"


def test_fixed_shapes_need_no_rule(monkeypatch):
    monkeypatch.delitem(engine._RULES, "sin")
    (out,) = interpret(symbolic(jnp.sin, "3"), Padded.exact(jnp.zeros(3)))
    assert out.array.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        Padded.exact(jnp.ones(4)),
        Padded.prefix(jnp.ones(5), (A,)),
        Padded.prefix(jnp.ones(4, np.int32), (A,)),
    ],
    ids=["true shape", "padded size", "dtype"],
)
def test_a_rule_that_returns_something_else_is_named(monkeypatch, wrong):
    monkeypatch.setitem(engine._RULES, "sin", lambda ctx, eqn, x: [wrong])
    with pytest.raises(InvariantError, match="rewrite rule of 'sin'"):
        interpret(symbolic(jnp.sin, "a"), VALUE)


def test_a_primitive_has_one_rule():
    with pytest.raises(InvariantError, match="'sin' has two rewrite rules"):
        engine.register_pad_rule("sin")(lambda ctx, eqn, x: [x])


def test_rules_see_what_others_have_masked():
    jaxpr = symbolic(lambda x: (x.sum(), x.sum()), "a")
    ctx = Context({"a": jnp.int32(2)}, REGION, engine.interpret, lambda atom: None, Target("cpu"))
    ctx.run(jaxpr, [VALUE])
    assert [record.emitted for record in ctx.notes.masks] == [True, False]
