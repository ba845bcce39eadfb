"""Which values are written to memory, and which kernels read them."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from sod2jax.memory.flatten import flatten
from sod2jax.memory.fusion import fuse, is_broadcast
from sod2jax.memory.steps import FlatProgram

M = 64
X = jax.ShapeDtypeStruct((M, M), jnp.float32)
VECTOR = jax.ShapeDtypeStruct((M,), jnp.float32)


def flat(fun, *args) -> FlatProgram:
    return flatten(jax.make_jaxpr(fun)(*args))


def written(fun, *args) -> list[str]:
    """Names of the steps that write to memory, but for those that make the outputs."""
    program = flat(fun, *args)
    values = fuse(program).materialised - set(program.outputs)
    return [step.name for step in program.steps if values & set(step.results)]


def test_a_pointwise_chain_is_one_kernel():
    program = flat(lambda x: jnp.exp(-(x * 2 + 1)) * x, X)
    fusion = fuse(program)
    assert fusion.materialised == set(program.outputs)
    assert fusion.usage[0].kernels == {len(program.steps) - 1}


def test_a_reduction_takes_its_operand_in_and_is_written():
    assert written(lambda x: jnp.exp((x * 2).sum(0)), X) == ["reduce_sum"]


def two_kernels(fun):
    return lambda x, w: (lambda y: (y.sum(0), (y + w).max(1)))(fun(x))


def test_a_cheap_value_is_recomputed_and_an_expensive_one_kept():
    assert written(two_kernels(lambda x: x * 2), X, X) == []
    assert written(two_kernels(jnp.tanh), X, X) == ["tanh"]


def test_what_is_recomputed_reads_its_operands_in_each_kernel():
    program = flat(two_kernels(lambda x: x * 2), X, X)
    at = {step.name: number for number, step in enumerate(program.steps)}
    assert fuse(program).usage[0].kernels == {at["reduce_sum"], at["reduce_max"]}


def test_an_expensive_value_that_a_broadcast_repeats_is_kept():
    assert written(lambda x, v: x + jnp.exp(v)[None, :], X, VECTOR) == ["exp"]
    assert written(lambda x, v: x + (v * 2)[None, :], X, VECTOR) == []


def test_a_contraction_reads_whole_operands():
    assert written(lambda x, w: (x * 2) @ w, X, X) == ["mul"]


def test_what_is_only_reshaped_is_used_whole_where_its_alias_is():
    assert written(lambda x, w: (x * 2).reshape(-1).reshape(M, M) @ w, X, X) == ["mul"]


def test_dead_steps_do_not_run():
    def fun(x, unused):
        _ = unused @ unused
        return x * 2

    program = flat(fun, X, X)
    fusion = fuse(program)
    assert [program.steps[number].name for number in fusion.live] == ["mul"]
    assert not fusion.usage[1].any


def test_a_step_stretches_operands_of_another_shape():
    program = flat(
        lambda x, v: jax.lax.add(x, jax.lax.broadcast_in_dim(v, (M, M), (1,))), X, VECTOR
    )
    spread, add = program.steps
    assert not is_broadcast(program, spread, spread.operands[0])  # it repeats, and says so itself
    assert not any(is_broadcast(program, add, operand) for operand in add.operands)
    whole = dataclasses.replace(add, operands=(0, spread.operands[0]))
    assert [is_broadcast(program, whole, operand) for operand in whole.operands] == [False, True]
