"""Donated arguments are consumed as under ``jax.jit``, at any size, and by nothing else."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
import sod2jax.numpy as snp

SPECS = (None, "n, 4")


def step(state: dict[str, jax.Array], x: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    """One step of a training loop: the state has a fixed shape."""
    gradient = jax.grad(lambda w: jnp.square(x @ w).mean())(state["w"])
    return {"w": state["w"] - 0.1 * gradient, "count": state["count"] + 1}, x * 2


def _state() -> dict[str, jax.Array]:
    return {"w": jnp.arange(8.0).reshape(4, 2), "count": jnp.zeros((), jnp.int32)}


def _x(size: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(size).standard_normal((size, 4), np.float32))


def _equal(got: Any, want: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, want)


@pytest.mark.parametrize("size", [1, 5, 8])
@pytest.mark.parametrize(
    "donated",
    [{"donate_argnums": 0}, {"donate_argnames": "state"}, {"donate_argnums": (0, 1)}],
)
def test_what_is_donated_is_gone_and_nothing_else(donated, size):
    function = sod2jax.optimize(step, shapes=SPECS, buckets={"n": (8,)}, **donated)
    state, x = _state(), _x(size)
    got = function(state, x)
    _equal(got, jax.jit(step)(_state(), _x(size)))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert x.is_deleted() == (1 in np.atleast_1d(donated.get("donate_argnums", ())))
    with pytest.raises(RuntimeError, match="deleted"):
        function(state, _x(size))
    if x.is_deleted():
        # JAX raises one, and what runs it the other.
        with pytest.raises((RuntimeError, ValueError), match="deleted"):
            x.sum()


def test_a_loop_carries_its_state_in_the_same_memory():
    function = sod2jax.optimize(step, shapes=SPECS, buckets={"n": (8,)}, donate_argnums=0)
    jitted, state, other = jax.jit(step), _state(), _state()
    for size in (3, 8, 1, 5):
        state, _ = function(state, _x(size))
        other, _ = jitted(other, _x(size))
    _equal(state, other)
    (program,) = function.planner.specialisations
    (executable,) = program.ready
    assert executable.donated == (True, True, False)
    assert executable.call.memory_analysis().alias_size_in_bytes >= 8 * 4


def test_memory_that_no_result_fits_is_freed_early_and_without_a_warning():
    function = sod2jax.optimize(
        lambda x: x.sum(), shapes=("n",), buckets={"n": (8,)}, donate_argnums=0
    )
    x = jnp.arange(8.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function(x) == 28
    assert x.is_deleted()


@pytest.mark.parametrize("size", [3, 8])
def test_numpy_arrays_stay_whole(size):
    function = sod2jax.optimize(
        lambda x: x + 1, shapes=("n",), buckets={"n": (8,)}, donate_argnums=0
    )
    x = np.arange(size, dtype=np.float32)
    for _ in range(3):
        np.testing.assert_array_equal(function(x), np.arange(1.0, size + 1))
    np.testing.assert_array_equal(x, np.arange(size))


def test_an_argument_that_is_the_result_stays():
    function = sod2jax.optimize(
        lambda x: (x, snp.compress(x > 1, x)),
        shapes=("n",),
        constraints=("n <= 8",),
        donate_argnums=0,
    )
    for size in (3, 8):
        same, chosen = function(jnp.arange(float(size)))
        np.testing.assert_array_equal(same, np.arange(size))
        np.testing.assert_array_equal(chosen, np.arange(2.0, size))


def test_what_runs_exactly_or_bare_donates_too():
    bare = sod2jax.optimize(lambda x: x * 2, donate_argnums=0)
    for size in (3, 5, 4):
        x = jnp.ones(size)
        np.testing.assert_array_equal(bare(x), np.full(size, 2.0))
        assert x.is_deleted()
    with jax.disable_jit():
        np.testing.assert_array_equal(bare(jnp.ones(3)), np.full(3, 2.0))


def test_a_check_and_an_audit_consume_nothing():
    function = sod2jax.optimize(step, shapes=SPECS, buckets={"n": (8,)}, donate_argnums=(0, 1))
    state, x = _state(), _x(8)
    assert sod2jax.check(function, state, x)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((state, x)))


def test_an_argument_is_not_static_and_donated():
    with pytest.raises(ValueError, match=r"static and donated: \[0\]"):
        sod2jax.optimize(step, static_argnums=0, donate_argnums=(0, 1))


def test_inside_other_traces_nothing_is_consumed():
    function = sod2jax.optimize(lambda x: x * x, donate_argnums=0)
    x = jnp.ones(3)
    gradient = jax.jit(jax.grad(lambda v: function(v).sum()))
    np.testing.assert_array_equal(gradient(x), np.full(3, 2.0))
    assert not x.is_deleted()
