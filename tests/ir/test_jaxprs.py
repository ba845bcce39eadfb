"""Reading jaxprs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import dependents, dims_of, equations, mentions, read, used_in, variables
from tests.harnesses import Arg
from tests.passes.programs import program

X = np.ones(3, np.float32)


def test_equations_at_any_depth() -> None:
    def fun(x: Any) -> Any:
        step = jax.jit(lambda c, v: (lax.cond(v > 0, jnp.sin, jnp.cos, c), None))
        return lax.scan(step, x.sum(), x)[0]

    names = [eqn.primitive.name for eqn in equations(jax.make_jaxpr(fun)(X))]
    assert names[:2] == ["reduce_sum", "scan"]
    assert {"jit", "cond", "sin", "cos"} <= set(names)


def test_what_stands_for_operands() -> None:
    jaxpr = jax.make_jaxpr(lambda x: x * 2)(X)
    ((var, literal),) = (eqn.invars for eqn in jaxpr.eqns)
    assert _compat.is_literal(literal)
    assert read({}, var) is var and read({var: 1}, var) == 1 and read({var: 1}, literal) is literal
    assert variables([literal, var, var]) == [var, var]


def test_what_equations_and_outputs_use() -> None:
    jaxpr = jax.make_jaxpr(lambda x, y, z, w: (x * y + y * 2, w))(X, X, X, X)
    x, y, _, w = jaxpr.invars
    made = {var for eqn in jaxpr.eqns for var in eqn.outvars}
    assert [var for var in used_in(jaxpr.eqns, jaxpr.outvars) if var not in made] == [x, y, w]
    assert list(used_in(jaxpr.eqns[:1], ())) == [x, y]


def test_what_depends_on_variables() -> None:
    jaxpr = jax.make_jaxpr(lambda x, y: (jnp.sin(x) * y, jnp.cos(y)))(X, X)
    x, y = jaxpr.invars
    product, cosine = jaxpr.outvars
    of_x, of_y = dependents(jaxpr.eqns, [x]), dependents(jaxpr.eqns, [y])
    assert x in of_x and product in of_x and cosine not in of_x
    assert {product, cosine} <= of_y and dependents(jaxpr.eqns, []) == set()


def test_dimensions() -> None:
    jaxpr = program(lambda x: jnp.concatenate([x, x]), Arg("s, 3"), s=8).jaxpr
    assert dims_of(jaxpr.outvars[0]) == (2 * dims.symbol("s"), 3)
    assert dims_of(_compat.new_literal(1, _compat.array_aval((), np.dtype(int)))) == ()


def test_symbols_that_equations_mention() -> None:
    def fun(x: Any, y: Any, k: Any) -> Any:
        total = lax.fori_loop(0, 2, lambda i, v: v + y.sum(), 0.0)
        return jnp.sin(x), total, jnp.asarray(k.shape[0]) * 2

    jaxpr = program(fun, Arg("s, 2"), Arg("t"), Arg("k"), s=8, t=8, k=8).jaxpr
    symbols = {eqn.primitive.name: mentions(eqn) for eqn in jaxpr.eqns}
    assert symbols["sin"] == {"s"}
    assert symbols["dim_as_value"] == {"k"}  # in a parameter
    assert symbols["scan"] == {"t"}
    assert symbols["mul"] == set()


def test_symbols_that_only_bodies_mention() -> None:
    def fun(x: Any) -> Any:
        return jax.jit(lambda: jnp.zeros(x.shape[0] * 2).sum())()

    (call,) = program(fun, Arg("s"), s=8).jaxpr.eqns
    assert not call.invars and mentions(call) == {"s"}
