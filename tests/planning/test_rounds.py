"""Programs with loops that are cut short give what they should where these end by themselves."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.errors import AuditWarning
from sod2jax.planning.rounds import limited


def _halved(x: jax.Array) -> jax.Array:
    """Takes as many rounds as the largest element needs to get below 1."""
    return lax.while_loop(lambda v: v.max() > 1, lambda v: v / 2, x)


def _nested(x: jax.Array) -> jax.Array:
    return lax.while_loop(lambda v: v.sum() > 1, lambda v: _halved(v * 3) / 4, x)


@jax.custom_jvp
def _custom(x: jax.Array) -> jax.Array:
    return _halved(x) + 1


_custom.defjvps(lambda tangent, _, x: tangent)


PROGRAMS: dict[str, tuple[Callable[[jax.Array], Any], int]] = {
    "none": (lambda x: jnp.sin(x) @ x, 0),
    "while": (_halved, 4),
    "called": (lambda x: jax.jit(_halved)(x) * 2, 4),
    "custom": (_custom, 4),
    "remat": (jax.checkpoint(_halved), 4),
    "nested": (_nested, 6),
    "mapped": (jax.vmap(lambda v: lax.while_loop(lambda u: u > 1, lambda u: u / 2, v)), 4),
    "scanned": (lambda x: lax.scan(lambda c, v: (c + v, _halved(c + v)), 0.0, x), 12),
    "branch": (lambda x: lax.cond(x[0] > 1, _halved, lambda v: v, x), 4),
    "other": (lambda x: lax.switch(jnp.int32(x[1]), [_halved, jnp.cos, _halved], x), 4),
    "backward": (lambda x: lax.scan(lambda c, v: (v, c), x[0], x, reverse=True), 0),
    "solver": (lambda x: jax.scipy.sparse.linalg.cg(lambda v: 2 * v, x)[0], 0),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_loops_that_end_are_not_changed(name):
    fun, rounds = PROGRAMS[name]
    x = np.array([9, 2, 5], np.float32)
    closed = jax.jit(fun).trace(x).jaxpr
    got, has_ended = jax.jit(limited(closed, 100))(x)
    assert has_ended
    for ours, theirs in zip(got, jax.tree.leaves(jax.jit(fun)(x)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    if rounds:
        assert jax.jit(limited(closed, rounds + 1))(x)[1]
        assert not jax.jit(limited(closed, rounds))(x)[1]


def test_rounds_that_do_not_end_are_no_reason_to_hang():
    closed = jax.jit(lambda x: lax.while_loop(lambda v: v.sum() == v.sum(), lambda v: v + 1, x))
    _, has_ended = jax.jit(limited(closed.trace(np.ones(3, np.float32)).jaxpr, 1000))(
        np.ones(3, np.float32)
    )
    assert not has_ended


def test_an_audit_of_a_loop_that_does_not_end_on_random_arrays_is_a_doubt():
    def fun(x: jax.Array) -> jax.Array:
        # Another form at each size, and a loop that only positive arrays end.
        other = x + x if builtins.type(x.shape[0]) is int else x * 2
        return lax.while_loop(lambda v: v.min() < 10, lambda v: v * 2, other)

    function = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (8,)})
    x = np.array([1, 3, 5], np.float32)
    with pytest.warns(AuditWarning, match="it has '(add|mul)'"):
        got = function(x)
    np.testing.assert_array_equal(got, jax.jit(fun)(x))
