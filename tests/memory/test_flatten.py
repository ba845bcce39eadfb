"""Jaxprs as flat steps: what is inlined, what becomes a copy or a body, what works in place."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from sod2jax.memory.flatten import flatten
from sod2jax.memory.roles import Role
from sod2jax.memory.steps import FlatProgram

M = 8
X = jax.ShapeDtypeStruct((M, M), jnp.float32)
HEADS = jax.ShapeDtypeStruct((2, 8, 4, 16), jnp.float32)


def flat(fun, *args) -> FlatProgram:
    return flatten(jax.make_jaxpr(fun)(*args))


def names(program: FlatProgram) -> list[str]:
    return [step.name for step in program.steps]


def test_values_and_steps_of_a_chain():
    program = flat(lambda x, w: jnp.tanh(x + w), X, X)
    add, tanh = program.steps
    assert program.arguments == add.operands == (0, 1)
    assert tanh.operands == add.results
    assert program.outputs == tanh.results
    assert {value.size for value in program.values} == {4 * M * M}
    assert tanh.expensive and not add.expensive


def test_literals_are_left_out_of_the_operands():
    (step,) = flat(lambda x: x * 2, X).steps
    assert step.operands == (0,)


@pytest.mark.parametrize(
    "wrap",
    [
        jax.jit,
        jax.checkpoint,
        lambda fun: jax.jit(jax.jit(fun)),
        lambda fun: _custom_jvp(fun),
        lambda fun: _custom_vjp(fun),
    ],
    ids=["jit", "checkpoint", "nested", "custom_jvp", "custom_vjp"],
)
def test_calls_are_inlined(wrap):
    def fun(x, w):
        return jnp.tanh(x @ w) @ w

    assert flat(wrap(fun), X, X) == flat(fun, X, X)


def _custom_jvp(fun):
    wrapped = jax.custom_jvp(fun)
    wrapped.defjvp(lambda primals, tangents: (fun(*primals), tangents[0]))
    return wrapped


def _custom_vjp(fun):
    wrapped = jax.custom_vjp(fun)
    wrapped.defvjp(lambda x, w: (fun(x, w), None), lambda _, g: (g, g))
    return wrapped


def test_transposes_fold_into_a_contraction_where_its_axes_stay_grouped():
    program = flat(lambda x, w: x @ w.T, X, X)
    assert program.steps[-1].name == "dot_general"
    assert program.steps[-1].operands == program.arguments


def test_operands_whose_axes_are_not_grouped_are_copied():
    program = flat(lambda q, k: jnp.einsum("bqhd,bkhd->bhqk", q, k), HEADS, HEADS)
    assert names(program)[:2] == ["transpose", "transpose"]
    assert [step.role for step in program.steps[:2]] == [Role.REINDEX, Role.REINDEX]


def test_operations_that_leave_the_bytes_are_aliases():
    def fun(x):
        y = x.reshape(1, M * M)
        return y.T.astype(jnp.float32), jnp.broadcast_to(y[None], (1, 1, M * M))

    assert {step.role for step in flat(fun, X).steps} == {Role.ALIAS}


def test_a_transpose_of_long_axes_moves_elements():
    assert [step.role for step in flat(lambda x: x.T, X).steps] == [Role.REINDEX]


def test_division_by_a_number_is_cheap_and_by_an_array_is_not():
    assert [step.expensive for step in flat(lambda x: x / 3, X).steps] == [False]
    assert [step.expensive for step in flat(lambda x, y: x / y, X, X).steps] == [True]


def test_a_scan_has_a_body_and_works_on_its_carry_in_place():
    def fun(c, xs):
        return jax.lax.scan(lambda c, x: (c + x, c * x), c, xs)

    (scan,) = flat(fun, X, jax.ShapeDtypeStruct((5, M, M), jnp.float32)).steps
    assert scan.in_place == ((scan.operands[0], scan.results[0]),)
    (body,) = scan.bodies
    assert body.is_loop
    assert names(body) == ["dynamic_slice", "add", "mul", "dynamic_update_slice"]
    assert body.carried == body.arguments[:1]
    assert body.steps[-1].effectful


def test_a_carry_that_is_passed_through_is_not_carried():
    def fun(c, w):
        return jax.lax.scan(lambda c, _: (c, (c @ w).sum()), c, None, length=4)

    (scan,) = flat(fun, X, X).steps
    assert scan.bodies[0].carried == scan.bodies[0].outputs == ()


def test_a_while_has_two_bodies_and_a_cond_one_for_each_branch():
    loop = flat(lambda x: jax.lax.while_loop(lambda c: c.sum() < 1, jnp.tanh, x), X).steps[-1]
    assert [body.is_loop for body in loop.bodies] == [False, True]
    assert loop.in_place == ((loop.operands[0], loop.results[0]),)
    cond = flat(lambda p, x: jax.lax.cond(p, jnp.tanh, jnp.exp, x), True, X).steps[-1]
    assert sorted(names(body)[0] for body in cond.bodies) == ["exp", "tanh"]


@pytest.mark.parametrize(
    ("fun", "position"),
    [
        (jnp.sort, 0),
        (lambda x: x.at[jnp.array([1, 2])].add(1.0), 0),
        (lambda x: jax.lax.dynamic_update_slice(x, jnp.ones((2, 2)), (jnp.int32(1), 0)), 0),
    ],
    ids=["sort", "scatter", "update"],
)
def test_what_is_written_over_its_operand(fun, position):
    (step,) = [step for step in flat(fun, X).steps if step.in_place]
    assert step.in_place == ((step.operands[position], step.results[0]),)
