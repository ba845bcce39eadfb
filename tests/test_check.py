"""``sod2jax.check`` agrees with itself, and finds what is wrong."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax


def attend(x, ids):
    weights = jax.nn.softmax(x @ x.T, axis=-1)
    return {"out": weights @ x, "longest": ids.max()}


X, IDS = np.ones((3, 4), np.float32), np.arange(3, dtype=np.int32)


def test_an_exact_function_passes_at_corners_and_edges():
    report = sod2jax.check(
        attend, X, IDS, shapes=("s, 4", "s"), constraints=("s <= 20",), samples=3
    )
    assert report
    assert (report.recompiles, report.exact_fallbacks) == (0, 0)
    assert {"s=1", "s=20"} <= set(report.sizes)
    assert {leaf.name for leaf in report.leaves} == {"['out']", "['longest']"}
    assert "equal to jax.jit at" in str(report)


def test_an_optimized_function_can_be_given():
    optimized = sod2jax.optimize(lambda x: x.cumsum(), shapes=("n",), buckets={"n": (4, 9)})
    report = sod2jax.check(optimized, np.ones(2, np.float32))
    assert report
    assert {"n=1", "n=4", "n=5", "n=9"} <= set(report.sizes)


def test_a_difference_makes_it_false(monkeypatch):
    optimized = sod2jax.optimize(lambda x: x * 2, shapes=("n",), buckets={"n": (4,)})

    def otherwise(args, kwargs):
        (x,) = map(jnp.asarray, args)
        return x if x.shape[0] == 3 else x * 2

    monkeypatch.setattr(optimized, "exactly", otherwise)
    report = sod2jax.check(optimized, np.ones(2, np.float32))
    assert not report
    assert report.leaves[0].wrong_at == ("n=3",)
    assert "NOT equal" in str(report)
    assert repr(report) == f"CheckReport(NOT equal to jax.jit at {len(report.sizes)} sizes)"


def test_the_report_says_what_was_varied():
    report = sod2jax.check(lambda x: x * 2, np.ones((2, 3), np.float32), shapes=("n, 3",))
    assert report.symbols == ("n, axis 0 of 'x', from 1 to 65",)
    assert "varied: n, axis 0 of 'x', from 1 to 65\n" in str(report)


def test_a_bare_function_is_checked_in_what_its_calls_have_shown():
    f = sod2jax.optimize(lambda x, y: x * 2 + y.sum())
    x, y = np.ones((2, 3), np.float32), np.ones(3, np.float32)
    with pytest.raises(sod2jax.errors.SpecError, match=r"no size varies\. Name those that do"):
        sod2jax.check(f, x, y)
    f(x, y)
    f(np.ones((5, 3), np.float32), y)
    report = sod2jax.check(f, x, y)
    assert report
    assert report.symbols == ("n0, axis 0 of 'x', from 1 to 65",)


def test_nothing_to_check_is_an_error():
    with pytest.raises(sod2jax.errors.SpecError, match="nothing to check"):
        sod2jax.check(attend, X, IDS, shapes=(None, None))
