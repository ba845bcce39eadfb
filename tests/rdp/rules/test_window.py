"""Lanes through windows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from sod2jax import rdp
from tests.harnesses import Arg
from tests.passes.programs import program

X = Arg("b, s, 6")


def flow(fun: Any) -> tuple[frozenset[tuple[int, int]], ...]:
    found = program(fun, X, b=4, s=8)
    return rdp.analyse(found.jaxpr, found.region).flow(found.jaxpr.outvars[0])


def pool(x: jax.Array, window: tuple[int, ...], **more: Any) -> jax.Array:
    return lax.reduce_window(x, -jnp.inf, lax.max, window, (1, 1, 1), "SAME", **more)


@pytest.mark.parametrize(
    ("fun", "aligned"),
    [
        (lambda x: pool(x, (1, 3, 1)), (True, False, True)),
        (lambda x: pool(x, (1, 1, 2)), (True, True, False)),
        (lambda x: pool(x, (2, 1, 1)), (False, True, True)),
        (lambda x: pool(x, (1, 1, 1)), (True, True, True)),
        (
            lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 2, 1), (1, 2, 1), "VALID"),
            (True, False, True),
        ),
        (
            lambda x: lax.reduce_window(x, 1.0, lax.mul, (1, 2, 1), (1, 1, 1), "SAME"),
            (True, False, True),
        ),
        (jax.grad(lambda x: pool(x, (1, 3, 1)).sum()), (True, False, True)),
        (
            lambda x: jax.jvp(lambda y: pool(y, (1, 3, 1)), (x,), (x,))[1],
            (True, False, True),
        ),
        (
            lambda x: lax.reduce_window(
                x, 0.0, lax.add, (1, 1, 1), (1, 1, 1), ((0, 0), (1, 0), (0, 0))
            ),
            (True, False, True),
        ),
    ],
)
def test_an_axis_along_which_nothing_moves_keeps_its_lanes(fun, aligned) -> None:
    found = flow(fun)
    assert tuple((0, k) in lanes for k, lanes in enumerate(found)) == aligned
