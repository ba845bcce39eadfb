"""Matrices with pad lanes, and outputs that nothing may read."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import interpret
from sod2jax.rewrite.lanes.blocks import Withheld, align_batch, with_diagonal, zeroed
from sod2jax.rewrite.padded import Padded
from sod2jax.target import Target
from tests.rewrite.values import REGION, A, B

EQUATION = jax.make_jaxpr(jnp.linalg.cholesky)(np.eye(2)).eqns[0]


def context():
    ctx = Context(
        {"a": jnp.int32(2), "b": jnp.int32(2)}, REGION, interpret, lambda atom: None, Target("cpu")
    )
    ctx.eqns = (EQUATION,)
    return ctx


def test_pad_lanes_hold_zeros_and_ones_on_the_diagonal():
    value = Padded.prefix(jnp.full((3, 3), jnp.nan).at[:2, :2].set(5), (B, B))
    assert zeroed(context(), value).tolist() == [[5, 5, 0], [5, 5, 0], [0, 0, 0]]
    assert with_diagonal(context(), value, 1).tolist() == [[5, 5, 0], [5, 5, 0], [0, 0, 1]]


def test_matrices_in_pad_lanes_of_the_batch_are_diagonal():
    value = Padded.prefix(jnp.full((3, 2, 2), jnp.nan), (B, 2, 2))
    assert with_diagonal(context(), value, 1)[2].tolist() == [[1, 0], [0, 1]]


def test_matrices_and_vectors_share_their_batch():
    matrices = Padded(jnp.zeros((12, 3, 3)), ((A, B), (B,), (B,)))
    vectors = Padded.prefix(jnp.zeros((12, 3)), (A * B, B))
    one, other = align_batch(context(), [matrices, vectors], (2, 1))
    assert one.extents == ((A * B,), (B,), (B,))
    assert other is vectors


def test_whatever_reads_a_withheld_array_raises_its_reason():
    held = Withheld((3,), np.dtype("float32"), ValueError("signs"))
    for read in (lambda: jnp.add(held, 1), lambda: jax.lax.neg(held), lambda: held.weak_type):
        with pytest.raises(ValueError, match="signs"):
            read()
