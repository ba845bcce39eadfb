"""Which variables hold one value, and what decides a cond."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax.passes.branches import conds
from sod2jax.passes.branches.value_numbering import Numbering


def numbers(fun: Callable[..., Any], *args: Any) -> list[Any]:
    """Those of the results of a function."""
    jaxpr = jax.make_jaxpr(fun)(*args)
    numbering = Numbering(jaxpr.eqns)
    return list(map(numbering.of, jaxpr.outvars))


X, P, K = np.ones(3, np.float32), np.True_, np.int32(1)


def test_one_computation_has_one_number() -> None:
    a, b = numbers(lambda x: (jnp.sin(x) * x, jnp.sin(x) * x), X)
    assert a == b


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: (jnp.sin(x), jnp.cos(x)),
        lambda x: (x - 1, 1 - x),
        lambda x: (x * 2, x * 3),
        lambda x: (x.sum(keepdims=True), x.max(keepdims=True)),
        lambda x: (x.astype(np.int32), x.astype(np.int16)),
        lambda x: (lax.slice(x, (0,), (2,)), lax.slice(x, (1,), (3,))),
        lambda x: tuple(jnp.linalg.eigh(jnp.outer(x, x))),
    ],
)
def test_other_primitives_operands_parameters_and_results_have_others(fun: Any) -> None:
    a, b = numbers(fun, X)
    assert a != b


def test_literals_are_compared_by_value_and_type() -> None:
    a, b, c = numbers(lambda: (np.float32(2), np.float32(2), np.int32(2)))
    assert a == b != c


def test_an_effect_is_a_value_of_its_own() -> None:
    def draw(x: jax.Array) -> jax.Array:
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.experimental.io_callback(np.sin, shape, x)  # type: ignore[attr-defined]

    a, b = numbers(lambda x: (draw(x), draw(x)), X)
    assert a != b


def indices(fun: Callable[..., Any], *args: Any) -> list[tuple[Any, bool]]:
    """What decides each cond of a function."""
    eqns = jax.make_jaxpr(fun)(*args).eqns
    numbering = Numbering(eqns)
    return [numbering.index(eqns[at]) for at in conds.positions(eqns)]


def choose(index: Any, x: Any, count: int = 2) -> Any:
    if count == 2:
        return lax.cond(index, jnp.sin, jnp.cos, x)
    return lax.switch(index, [lambda y, k=k: y * k for k in range(count)], x)


def test_a_predicate_and_its_negation_differ_in_their_sign_only() -> None:
    def fun(p: Any, x: Any) -> Any:
        return choose(p, x), choose(~p, x), choose(~~p, x)

    first, negated, twice = indices(fun, P, X)
    assert first[0] == negated[0] == twice[0]
    assert [first[1], negated[1], twice[1]] == [False, True, False]


def test_a_predicate_that_was_made_a_number() -> None:
    def fun(p: Any, x: Any) -> Any:
        return choose(p, x), lax.switch(p.astype(np.int32), [jnp.cos, jnp.sin], x)

    first, number = indices(fun, P, X)
    assert first == number


def test_numbers_are_clamped_to_the_branches_there_are() -> None:
    same, again, more = (
        index
        for index, _ in indices(
            lambda i, x: (choose(i, x, 3), choose(i, x, 3), choose(i, x, 4)), K, X
        )
    )
    assert same == again != more
    assert same[0] is more[0]  # the number before it is clamped


def test_the_predicate_of_a_cond_is_the_boolean_before_its_conversion() -> None:
    jaxpr = jax.make_jaxpr(lambda p, i, x: (choose(p, x), choose(i, x, 3)))(P, K, X)
    numbering = Numbering(jaxpr.eqns)
    first, second = (jaxpr.eqns[at] for at in conds.positions(jaxpr.eqns))
    assert numbering.predicate(first) is jaxpr.invars[0]
    assert numbering.predicate(second) is None
