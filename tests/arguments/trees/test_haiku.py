"""haiku's transformed functions take trees of arrays, and run as they are."""

from __future__ import annotations

import jax
import pytest

from tests.arguments.trees.compare import SIZES, compare, normal

hk = pytest.importorskip("haiku")


def net(x):
    h = hk.BatchNorm(True, True, 0.9)(hk.Linear(8)(x), True)
    return hk.Linear(2)(hk.dropout(hk.next_rng_key(), 0.5, jax.nn.relu(h)))


def test_parameters_state_and_random_streams():
    function = hk.transform_with_state(net)
    key = jax.random.key(0)
    parameters, state = function.init(key, normal(3, 4))
    calls = [(parameters, state, key, normal(n, 4)) for n in SIZES]
    assert compare(function.apply, calls).compiles == 2
