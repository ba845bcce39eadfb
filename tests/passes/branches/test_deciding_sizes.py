"""Which conds sizes decide, and the last size before each change of branch."""

from __future__ import annotations

import jax.numpy as jnp
import pytest
from jax import lax

from sod2jax import rdp
from sod2jax.passes.branches.deciding_sizes import DecidingSizes
from tests.harnesses import Arg
from tests.passes.programs import program

S, B = Arg("s"), Arg("b")


def deciding(fun, *args, **bounds):
    traced = program(fun, *args, **bounds)
    return DecidingSizes(traced, rdp.analyse_program(traced))


def by_index(index):
    """Three branches, chosen by a number made of the size."""

    def fun(x):
        branches = [jnp.sin, jnp.cos, jnp.tan]
        return lax.switch(index(jnp.int32(x.shape[0])), branches, x)

    return fun


@pytest.mark.parametrize(
    ("index", "edges"),
    [
        (lambda n: n // 10, (9, 19)),
        (lambda n: (n > 12).astype(jnp.int32), (12,)),
        (lambda n: 1 - n, ()),  # clamped to 0 everywhere
    ],
)
def test_edges_are_the_last_sizes_before_a_change(index, edges):
    sizes = deciding(by_index(index), S, s=40)
    assert sizes.edges == {"s": edges}
    assert list(sizes.indices.values()) == [3]


def test_what_values_decide_has_no_edges():
    sizes = deciding(lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), S, s=40)
    assert not sizes.indices and sizes.edges == {}


def test_two_symbols_that_decide_together_are_both_concerned():
    def fun(x, y):
        return lax.cond(jnp.int32(x.shape[0]) > jnp.int32(y.shape[0]), jnp.sum, jnp.max, x)

    assert deciding(fun, S, B, s=8, b=8).edges == {"b": (), "s": ()}


def test_conds_inside_of_calls_and_loops_count():
    def fun(x):
        def step(carry, _):
            return by_index(lambda n: n // 10)(carry), None

        return lax.scan(step, x, None, length=2)[0]

    assert deciding(fun, S, s=15).edges == {"s": (9,)}
