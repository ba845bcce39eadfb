"""Inputs that the dispatcher pads with zeros need no mask; those that something else padded do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.runtime.compile import Executable
from sod2jax.runtime.executables import Executables
from sod2jax.transfer import pad

BUCKETS = {"n": (8,)}


def optimized(fun: Callable[..., Any], **options: Any) -> sod2jax.OptimizedFunction:
    return sod2jax.optimize(fun, shapes=("n",), buckets=BUCKETS, on_unsupported="error", **options)


def executables_of(f: sod2jax.OptimizedFunction) -> Executables:
    return f.planner.specialisations[0].executables


def emitted(executable: Executable) -> list[str]:
    return [mask.primitive for mask in executable.masks if mask.emitted]


def call(executable: Executable, x: np.ndarray, poison: bool) -> np.ndarray:
    """Runs an executable of one vector by hand, with zeros or poison in the padding."""
    inputs = [pad(x, shape, poison) for shape in executable.in_shapes]
    return np.asarray(executable.call(np.array(x.shape, np.int32), [], inputs)[0])


def test_a_call_needs_no_mask_on_its_inputs_and_foreign_padding_does() -> None:
    f = optimized(jnp.sum)
    x = np.arange(1, 6, dtype=np.float32)
    assert f(x) == f.run((x,), {}, True, foreign=True) == f.run((x,), {}, False, foreign=True) == 15
    own, foreign = executables_of(f).ready, executables_of(f).foreign.ready
    assert [e.zeroed for e in (*own, *foreign)] == [(True,), ()]
    assert [emitted(e) for e in (*own, *foreign)] == [[], ["reduce_sum"]]
    assert [mask.emitted for mask in own[0].masks] == [False]  # for explain() to tell
    assert np.isnan(call(own[0], x, poison=True))  # what it was promised is all that it knows
    assert call(foreign[0], x, poison=True) == 15


def test_poison_in_one_call_is_where_no_zeros_were_promised() -> None:
    f = optimized(jnp.sum)
    x = np.ones(5, np.float32)
    assert f(x) == f.run((x,), {}, True) == 5
    assert len(executables_of(f).ready) == 1
    assert not executables_of(f).foreign.ready  # nothing is compiled for a call with poison


@pytest.mark.parametrize("poison", [True, "deep"])
def test_poison_leaves_nothing_to_rely_on(poison: Any) -> None:
    f = optimized(jnp.sum, poison=poison)
    assert f(np.ones(5, np.float32)) == 5
    assert executables_of(f).foreign is executables_of(f)
    assert [emitted(e) for e in executables_of(f).ready] == [["reduce_sum"]]


def test_poison_inside_is_in_all_other_values() -> None:
    f = optimized(lambda x: (x.sum(), jnp.cos(x).sum()), poison="inside")
    x = np.ones(5, np.float32)
    np.testing.assert_allclose(f(x), [5, 5 * np.cos(1)], rtol=1e-6)
    (executable,) = executables_of(f).ready
    assert executable.zeroed == (True,) and emitted(executable) == ["reduce_sum"]
    selects = [eqn for eqn in executable.jaxpr.eqns if eqn.primitive.name == "select_n"]
    assert len(selects) > 1  # the mask, and the poison in the cosine


@pytest.mark.parametrize("dtype", [np.int8, np.uint32, np.float16, np.complex64, bool])
def test_zeros_of_every_type_are_known(dtype: Any) -> None:
    f = optimized(jnp.sum)
    x = np.array([1, 0, 1, 1, 1], dtype)
    assert f(x) == jnp.sum(x)
    assert emitted(executables_of(f).ready[0]) == []


def test_an_or_is_over_false() -> None:
    f = optimized(lambda x: (jnp.any(x), jnp.all(~x), jnp.all(x)))
    assert list(map(bool, f(np.zeros(5, bool)))) == [False, True, False]
    assert list(map(bool, f(np.ones(5, bool)))) == [True, False, True]
    assert emitted(executables_of(f).ready[0]) == ["reduce_and"]


def test_keys_are_no_numbers() -> None:
    f = optimized(lambda keys: jax.vmap(lambda k: jax.random.uniform(k))(keys).sum())
    keys = jax.random.split(jax.random.key(0), 5)
    np.testing.assert_allclose(f(keys), jax.vmap(jax.random.uniform)(keys).sum(), rtol=1e-6)
    assert emitted(executables_of(f).ready[0]) == ["reduce_sum"]


def test_what_an_earlier_part_made_is_not_relied_on() -> None:
    def fun(x: Any) -> Any:
        (places,) = sod2jax.numpy.nonzero(x > 0)
        return x[places].sum() + x.sum()

    f = optimized(fun, cut="always")
    for x in (np.array([1, -2, 3, -4, 5], np.float32), -np.ones(3, np.float32)):
        want = x[x > 0].sum() + x.sum()
        assert f(x) == f.run((x,), {}, True, foreign=True) == want
    parts = f.planner.specialisations[0].parts
    assert len(parts) > 1
    for part in parts:
        given = frozenset(f.planner.specialisations[0].analysis.program.jaxpr.invars)
        assert part.part.own == tuple(var in given for var in part.part.inputs)
        assert all(e.zeroed == part.part.own for e in part.ready)
    assert not all(own for part in parts for own in part.part.own)


def test_arrays_that_a_user_padded_are_masked() -> None:
    f = sod2jax.ragged_vmap(lambda x: x.sum(), shapes=("n",))
    data = np.full((2, 8), np.nan, np.float32)
    data[0, :3], data[1, :5] = 1, 2
    seen = f(sod2jax.Ragged(jnp.asarray(data), {"n": jnp.array([3, 5], np.int32)}))
    np.testing.assert_array_equal(seen, [3, 10])
