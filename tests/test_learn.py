"""The bare decorator: right from the first call, and a wrong guess costs only a trace."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.dims import parse
from sod2jax.learn import Learner
from sod2jax.signature import Leaf


def leaf(*shape: int) -> Leaf:
    return Leaf("x", jax.core.ShapedArray(shape, np.dtype(np.float32)), shape)


def learned(calls: list[tuple[tuple[int, ...], ...]]) -> list[tuple]:
    learner = Learner()
    for shapes in calls:
        found = learner.specs("key", [leaf(*shape) for shape in shapes])
    return [entry.shape for entry in found]


def test_nothing_is_symbolic_until_it_varies():
    assert learned([((3, 8),)]) == [(3, 8)]
    assert learned([((3, 8),), ((3, 8),)]) == [(3, 8)]
    assert learned([((3, 8),), ((5, 8),)]) == [(parse("n0"), 8)]


def test_axes_equal_in_every_call_share_a_symbol():
    x, y = learned([((3, 8), (3,)), ((5, 8), (5,))])
    assert x[0] == y[0] == parse("n0")


def test_a_call_disproves_sharing():
    x, y = learned([((3,), (3,)), ((5,), (5,)), ((5,), (6,))])
    assert x[0] != y[0]
    assert {x[0], y[0]} == {parse("n0"), parse("n1")}


def test_a_symbol_keeps_its_name_when_others_leave_it():
    a, b, c = learned([((3,), (3,), (3,)), ((5,), (5,), (5,)), ((7,), (7,), (8,))])
    assert a == b == (parse("n0"),)
    assert c == (parse("n1"),)


def test_equal_numbers_may_part():
    a, b = learned([((4, 4), (4,)), ((4, 5), (4,))])
    assert (a[0], b[0]) == (4, 4)
    assert not isinstance(a[1], int)


@sod2jax.optimize
def loss(params, x, y):
    hidden = jax.nn.relu(x @ params["w"])
    return {"loss": ((hidden.sum(-1) - y) ** 2).mean(), "hidden": hidden}


def test_a_bare_function_is_right_from_the_first_call_on():
    params = {"w": np.eye(4, dtype=np.float32)}
    rng = np.random.default_rng(0)
    plain = jax.jit(loss.__wrapped__)
    for n in (5, 7, 7, 1, 20, 33, 6):
        x, y = rng.normal(size=(n, 4)).astype(np.float32), np.ones(n, np.float32)
        seen, want = loss(params, x, y), plain(params, x, y)
        assert seen["hidden"].shape == want["hidden"].shape
        np.testing.assert_allclose(seen["hidden"], want["hidden"], rtol=1e-5)
        np.testing.assert_allclose(seen["loss"], want["loss"], rtol=1e-5)
    stats = loss.stats()
    # one program for the first shape, one for the batch size once it varied
    assert (stats.traces, stats.exact_fallbacks) == (2, 0)
    assert stats.compiles <= 1 + 3
    assert all(isinstance(d, int) for s in loss.planner.specialisations for d in _weights(s))


def _weights(specialisation):
    return specialisation.regime.leaves[0].shape


def test_sizes_equal_by_chance_part_when_a_call_shows_it():
    @sod2jax.optimize
    def ratio(x, y):
        return x.sum() / y.sum() if x.shape == y.shape else x.sum() + y.sum()

    plain = jax.jit(ratio.__wrapped__)
    for n, m in [(3, 3), (4, 4), (4, 5), (6, 6), (2, 9)]:
        x, y = np.arange(1.0, n + 1), np.arange(1.0, m + 1)
        np.testing.assert_allclose(ratio(x, y), plain(x, y), rtol=1e-6)


def test_constraints_without_specs_are_refused():
    @sod2jax.optimize(constraints=("s <= 3",))
    def double(x):
        return 2 * x

    with pytest.raises(sod2jax.errors.SpecError, match="in no spec"):
        double(jnp.ones(2))
