"""Surgery on jaxprs: what comes out computes the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import pallas

from sod2jax import _compat
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.surgery import Copier, inlined, ordered, pruned, replaced_in_turn, with_bodies

X = np.arange(3, dtype=np.float32)


def evaluate(jaxpr: Any, *args: Any) -> list[Any]:
    return jax.core.eval_jaxpr(  # type: ignore[attr-defined]
        getattr(jaxpr, "jaxpr", jaxpr), _compat.constants(jaxpr), *args
    )


def names(jaxpr: Any) -> list[str]:
    return [eqn.primitive.name for eqn in jaxpr.eqns]


def always(eqn: Any) -> bool:
    del eqn
    return True


# Copies


def test_copies_have_variables_of_their_own_and_know_their_origin() -> None:
    jaxpr = jax.make_jaxpr(lambda x: jnp.cos(jnp.sin(x)))(X)
    copier, env = Copier(), {}
    first, second = copier.copies(jaxpr.eqns, env)
    assert first.outvars[0] is second.invars[0]
    assert env[jaxpr.outvars[0]] is second.outvars[0]
    assert not {*first.outvars, *second.outvars} & {*jaxpr.invars, *env}
    assert copier.original(second.outvars[0]) is jaxpr.outvars[0]
    again = copier.fresh(second.outvars[0])
    assert copier.original(again) is jaxpr.outvars[0]
    assert copier.original(jaxpr.invars[0]) is jaxpr.invars[0]


def test_a_body_on_other_operands() -> None:
    body = jax.make_jaxpr(lambda x, y: (x - y, x, 1.0))(X, X)
    whole = jax.make_jaxpr(lambda x, y: jnp.sin(y))(X, X)
    x, y = whole.invars
    eqns, outs = Copier().body(body, [y, x], whole.eqns[0])
    assert outs[1] is y and _compat.is_literal(outs[2])
    (difference, *_) = evaluate(_compat.with_equations(whole, eqns, outs), X, X + 5)
    np.testing.assert_array_equal(difference, np.full(3, 5))


def test_what_does_not_know_its_line_gets_that_of_the_call() -> None:
    (call,) = jax.make_jaxpr(lambda x: jnp.var(x))(X).eqns  # its equations stand in JAX's own files
    line = _compat.source_line(call)
    assert "test_surgery.py" in line
    body = call.params["jaxpr"]
    assert {_compat.source_line(eqn) for eqn in body.eqns} == {"unknown source"}
    eqns, _ = Copier().body(body, call.invars, call)
    assert {_compat.source_line(eqn) for eqn in eqns} == {line}


# Inlining


def test_calls_that_are_chosen_are_opened_however_deep() -> None:
    inner = jax.jit(lambda x: jnp.sin(x) + 1)
    jaxpr = jax.make_jaxpr(lambda x: jax.jit(lambda y: inner(y) * inner(y * 2))(x) - x)(X)
    opened = inlined(jaxpr, always, Copier())
    assert names(opened) == ["sin", "add", "mul", "sin", "add", "mul", "sub"]
    np.testing.assert_allclose(evaluate(opened, X)[0], evaluate(jaxpr, X)[0])
    made = [var for eqn in opened.eqns for var in eqn.outvars]
    assert len(made) == len(set(made))  # though one body was called twice


def test_calls_that_are_not_chosen_stay() -> None:
    def fun(x: Any) -> Any:
        return jax.jit(jnp.sin)(x) + jax.jit(jnp.cos)(x)

    jaxpr = jax.make_jaxpr(fun)(X)
    opened = inlined(jaxpr, lambda eqn: names(eqn.params["jaxpr"]) == ["cos"], Copier())
    assert names(opened) == ["jit", "cos", "add"]
    assert opened.eqns[0] is jaxpr.eqns[0]
    np.testing.assert_allclose(evaluate(opened, X)[0], fun(X), rtol=1e-6)


def test_a_loop_is_no_call() -> None:
    jaxpr = jax.make_jaxpr(lambda x: lax.fori_loop(0, 3, lambda k, y: y * 2, x))(X)
    assert inlined(jaxpr, always, Copier()).eqns[0] is jaxpr.eqns[0]


def test_a_call_that_passes_its_operand_on() -> None:
    jaxpr = jax.make_jaxpr(lambda x: jax.jit(lambda y: (y, y * 2))(x)[0] + 1)(X)
    opened = inlined(jaxpr, always, Copier())
    np.testing.assert_array_equal(evaluate(opened, X)[0], X + 1)


def closed_call(jaxpr: Any, args: Any) -> tuple[Any, list[Any]]:
    """An equation that calls a jaxpr, and its results."""
    like = jax.make_jaxpr(jnp.sin)(X).eqns[0]
    outs = [_compat.new_variable(var.aval) for var in jaxpr.outvars]
    return _compat.call_equation(jaxpr, args, outs, like), outs


def test_constants_of_a_body_become_those_of_the_whole() -> None:
    table = jnp.arange(3.0) * 10
    body = jax.make_jaxpr(lambda x: x + table)(X)
    assert len(body.constvars) == 1
    whole = jax.make_jaxpr(lambda x: x * table)(X)
    call, outs = closed_call(body, whole.outvars)
    twice, ends = closed_call(body, outs)  # the same variables stand for the constants again
    calling = _compat.with_equations(whole, [*whole.eqns, call, twice], ends)
    opened = inlined(calling, always, Copier())
    assert names(opened) == ["mul", "add", "add"]
    np.testing.assert_array_equal(evaluate(opened, X)[0], X * table + table + table)
    assert len(opened.constvars) == len(set(opened.constvars)) == len(opened.consts)


# What is dead, and in what order it stands


def test_only_what_outputs_or_effects_need_is_kept() -> None:
    def fun(x: Any) -> Any:
        jax.debug.print("{}", jnp.cos(x))
        jnp.tan(x)
        return jnp.sin(x), jnp.exp(x)

    jaxpr = jax.make_jaxpr(fun)(X)
    kept = [eqn.primitive.name for eqn in pruned(jaxpr.eqns, jaxpr.outvars[:1])]
    assert [name for name in kept if "print" not in name and "callback" not in name] == [
        "cos",
        "sin",
    ]
    assert len(kept) == 3
    assert pruned(jaxpr.eqns, jaxpr.outvars[1:])[-1].primitive.name == "exp"


def test_equations_are_put_behind_what_they_read() -> None:
    jaxpr = jax.make_jaxpr(lambda x: (jnp.sin(jnp.cos(x)) * 2, jnp.tan(x)))(X)
    cos, sin, mul, tan = jaxpr.eqns
    assert ordered([mul, tan, sin, cos]) == [cos, sin, mul, tan]
    assert ordered(jaxpr.eqns) == jaxpr.eqns


def test_operands_are_replaced_by_what_is_learnt_on_the_way() -> None:
    jaxpr = jax.make_jaxpr(lambda x: jnp.sin(jnp.cos(x)) * x)(X)
    env: dict[Any, Any] = {}
    new = []
    for eqn in replaced_in_turn(jaxpr.eqns, env):
        if eqn.primitive.name == "cos":
            env[eqn.outvars[0]] = eqn.invars[0]
            continue
        new.append(eqn)
    assert new[1] is jaxpr.eqns[2]  # which reads nothing that changed
    without = _compat.with_equations(jaxpr, new, jaxpr.outvars)
    np.testing.assert_allclose(evaluate(without, X)[0], np.sin(X) * X, rtol=1e-6)


# Bodies


def with_sines(jaxpr: Any) -> Any:
    """The jaxpr with ``sin`` in place of ``cos``."""
    if not any(eqn.primitive.name == "cos" for eqn in jaxpr.eqns):
        return jaxpr
    eqns = [
        _compat.new_equation(lax.sin_p, eqn.invars, eqn.outvars, eqn.params, eqn)
        if eqn.primitive.name == "cos"
        else eqn
        for eqn in jaxpr.eqns
    ]
    return _compat.with_equations(jaxpr, eqns)


@jax.custom_jvp
def cosine(x: Any) -> Any:
    return jnp.cos(x)


cosine.defjvps(lambda tangent, result, x: tangent * jnp.tan(x))


BODIES: dict[str, Callable[[Any], Any]] = {
    "jit": lambda x: jax.jit(jnp.cos)(x),
    "cond": lambda x: lax.cond(x[0] > 0, jnp.cos, jnp.tan, x),
    "scan": lambda x: lax.scan(lambda c, v: (jnp.cos(c), v), x[0], x)[0],
    "while": lambda x: lax.while_loop(lambda v: v[0] > 1, jnp.cos, x),
    "remat2": lambda x: jax.checkpoint(jnp.cos)(x),
    "custom_jvp_call": lambda x: cosine(x),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_calls_and_control_flow_are_changed(name: str) -> None:
    jaxpr = jax.make_jaxpr(BODIES[name])(X)
    eqn = next(e for e in jaxpr.eqns if any(True for _ in _compat.sub_jaxprs(e)))
    changed = with_bodies(eqn, with_sines)
    inside = {e.primitive.name for _, body in _compat.sub_jaxprs(changed) for e in body.eqns}
    assert "sin" in inside and "cos" not in inside
    assert changed.outvars == eqn.outvars and changed.invars == eqn.invars
    assert with_bodies(eqn, lambda body: body) is eqn


def kernel(x: Any, out: Any) -> None:
    out[...] = jnp.cos(x[...])


def test_kernels_stay_as_they_are() -> None:
    call = pallas.pallas_call(kernel, out_shape=jax.ShapeDtypeStruct(X.shape, X.dtype))
    jaxpr = jax.make_jaxpr(call)(X)
    (eqn,) = (e for e in equations(jaxpr) if e.primitive.name == "pallas_call")
    assert [body for _, body in _compat.sub_jaxprs(eqn)]
    assert with_bodies(eqn, with_sines) is eqn


@dataclasses.dataclass(frozen=True)
class _Template:
    """Stands for an equation of a primitive that nobody knows."""

    primitive: Any
    params: dict[str, Any]


def test_primitives_of_their_own_kind_stay_as_they_are() -> None:
    primitive = _compat.Primitive("made_up")
    eqn = _Template(primitive, {"jaxpr": jax.make_jaxpr(jnp.cos)(X)})
    assert with_bodies(eqn, with_sines) is eqn
