"""Moves of elements are those of JAX."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax import lax

from sod2jax.tracing.audit import moves

X = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)


def equation(fun, *args):
    """The last equation of a function, with its primitive's parameters and the result."""
    eqn = jax.make_jaxpr(fun)(*args).eqns[-1]
    return eqn, np.asarray(fun(*args))


MOVING = {
    "broadcast": lambda x: lax.broadcast_in_dim(x, (5, 2, 3, 4), (1, 2, 3)),
    "stretch": lambda x: lax.broadcast_in_dim(x[:1], (2, 3, 4), (0, 1, 2)),
    "reshape": lambda x: lax.reshape(x, (4, 6)),
    "rev": lambda x: lax.rev(x, (0, 2)),
    "slice": lambda x: lax.slice(x, (0, 1, 0), (2, 3, 4), (1, 1, 3)),
    "squeeze": lambda x: lax.squeeze(x[:1], (0,)),
    "transpose": lambda x: lax.transpose(x, (2, 0, 1)),
}


@pytest.mark.parametrize("fun", MOVING.values(), ids=MOVING)
def test_moves(fun):
    eqn, want = equation(fun, X)
    before = np.arange(eqn.invars[0].aval.size).reshape(eqn.invars[0].aval.shape)
    operand = X[:1] if eqn.invars[0].aval.size < X.size else X
    places = moves.MOVES[eqn.primitive.name](before, eqn.params, want.shape)
    np.testing.assert_array_equal(operand.ravel()[places], want)


@pytest.mark.parametrize(
    "config",
    [
        ((1, 2, 0), (0, 0, 0), (0, 0, 0)),
        ((0, 0, 1), (0, 1, 2), (3, 0, 0)),
        ((-1, 1, 0), (0, -1, 1), (-2, -1, 1)),
        ((-2, 0, 0), (0, 0, 0), (0, 0, 0)),
    ],
)
def test_pads(config):
    want = np.asarray(lax.pad(X, np.float32(-7), config))
    places = moves.MOVES["pad"](
        np.arange(24).reshape(X.shape), {"padding_config": config}, want.shape
    )
    np.testing.assert_array_equal(np.where(places < 0, -7, X.ravel()[places]), want)


def numbers(offset, collapsed, index_map, batching=(), of_indices=()):
    return lax.GatherDimensionNumbers(offset, collapsed, index_map, batching, of_indices)


GATHERS = {
    "rows": (numbers((1, 2), (0,), (0,)), [[1], [0], [1]], (1, 3, 4)),
    "rows in the middle": (numbers((0, 2), (1,), (1,)), [[2], [0]], (2, 1, 4)),
    "points": (numbers((1,), (0, 2), (0, 2)), [[1, 3], [0, 2]], (1, 3, 1)),
    "blocks": (numbers((1, 2, 3), (), (1, 2)), [[1, 2], [0, 0]], (2, 2, 2)),
    "one block": (numbers((0, 1), (0,), (0, 2)), [1, 1], (1, 3, 2)),
    "axes exchanged": (numbers((1,), (0, 2), (2, 0)), [[3, 1], [2, 0]], (1, 3, 1)),
    "batched": (numbers((1,), (1,), (1,), (0,), (0,)), [[2], [0]], (1, 1, 4)),
}


@pytest.mark.parametrize(("dims", "indices", "block"), GATHERS.values(), ids=GATHERS)
def test_gathers(dims, indices, block):
    indices = np.array(indices)
    eqn, want = equation(lambda x: lax.gather(x, indices, dims, block), X)
    places = moves.gather(np.arange(24).reshape(X.shape), indices, eqn.params, want.shape)
    np.testing.assert_array_equal(X.ravel()[places], want)


def test_a_gather_outside_is_not_followed():
    dims, _, block = GATHERS["rows"]
    params = {"dimension_numbers": dims, "slice_sizes": block}
    places = np.arange(24).reshape(X.shape)
    for row in (-1, 2):
        assert moves.gather(places, np.array([[row]]), params, (1, 3, 4)) is None


def test_blocks_are_moved_inside():
    want = lax.dynamic_slice(X, (5, 2, 3), (1, 2, 3))
    places = moves.dynamic_slice(np.arange(24).reshape(X.shape), (5, 2, 3), (1, 2, 3))
    np.testing.assert_array_equal(X.ravel()[places], want)
