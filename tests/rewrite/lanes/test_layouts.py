"""One layout for axes that run together."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import interpret
from sod2jax.rewrite.lanes.layouts import align_axes, broadcast_extents, transposed
from sod2jax.rewrite.padded import Padded, constant_fill
from sod2jax.target import Target
from tests.rewrite.values import REGION, A, B

MERGED = Padded(jnp.zeros((12, 3)), ((A, B), (B,)))
FLAT = Padded.prefix(jnp.zeros((12, 3)), (A * B, B))


def context() -> Context:
    two = {"a": jnp.int32(2), "b": jnp.int32(2)}
    return Context(two, REGION, interpret, lambda atom: None, Target("cpu"))


def test_axes_that_differ_become_prefixes_and_others_stay():
    one, other = align_axes(context(), (MERGED, FLAT))
    assert one.extents == other.extents == ((A * B,), (B,))
    assert other is FLAT
    assert align_axes(context(), (MERGED, MERGED)) == (MERGED, MERGED)
    assert align_axes(context(), (MERGED, FLAT), [1]) == (MERGED, FLAT)


def test_scalars_and_axes_of_size_1_have_no_say():
    scalar, row = Padded.exact(np.float32(1)), Padded.prefix(jnp.zeros((1, 3)), (1, B))
    values = align_axes(context(), (MERGED, scalar, row))
    assert values == (MERGED, scalar, row)
    assert broadcast_extents(values) == ((A, B), (B,))
    assert broadcast_extents((row, row)) == ((1,), (B,))


def test_operands_of_different_ranks_share_their_batch_axes():
    merged, vector = Padded(jnp.zeros((12, 3, 3)), ((A, B), (B,), (B,))), FLAT
    matrix, vector = align_axes(context(), (merged, vector), [0])
    assert matrix.extents == ((A * B,), (B,), (B,))
    assert vector is FLAT


def test_what_is_known_moves_with_its_axis():
    value = Padded(jnp.zeros((4, 3)), ((A,), (B,)), {0: constant_fill(0)}, nonnegative=True)
    turned = transposed(value, (1, 0))
    assert turned.shape == (B, A)
    assert turned.fills == {1: constant_fill(0)}
    assert turned.nonnegative
