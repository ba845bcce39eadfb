"""Sizes that depend on values: what is assumed of them, and what happens where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
import sod2jax.numpy as snp
from sod2jax.errors import DataDependentSizeError, ExactFallbackWarning, TraceError
from sod2jax.ir.region import Region
from sod2jax.tracing import guards
from tests.harnesses.base import bits

CUTS = pytest.mark.parametrize("cut", ["never", "always"])


def optimized(fun: Callable[..., Any], cut: str = "never", **options: Any) -> Any:
    return sod2jax.optimize(
        fun,
        shapes=("n",),
        buckets={"n": (8,)},
        max_executables=1,
        cut=cut,
        **{"on_unsupported": "error", **options},
    )


def vector(n: int, positive: int, large: int = 0) -> np.ndarray:
    """So many numbers above 0, of which so many are above 1, at random places."""
    x = np.concatenate([np.full(large, 2.5), np.full(positive - large, 0.5), np.full(n, -1.5)])[:n]
    return np.random.default_rng(0).permutation(x + np.arange(n) / 64).astype(np.float32)


def positive(x: Any) -> Any:
    return snp.compress(x > 0, x)


def check(f: Any, x: np.ndarray, want: Any) -> None:
    """Asserts that a call gives this, whatever the padding holds."""
    clean, poisoned = (
        jax.tree.leaves(f.run((x,), {}, poison, foreign=poison)) for poison in (False, True)
    )
    want = jax.tree.leaves(want)
    assert len(clean) == len(want)
    for a, b, c in zip(clean, want, poisoned, strict=True):
        assert a.shape == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-5)
        assert bits(a) == bits(c)


# Sizes that decide the course


def branching(x: Any) -> Any:
    y = positive(x)
    if y.shape[0] == 0:
        return y, -x
    if y.shape[0] == x.shape[0]:
        return y, 3 * x
    if y.shape[0] > 3:
        return y, x + 1
    return y, x - 1


@CUTS
def test_branches_on_measured_sizes(cut: str) -> None:
    f = optimized(branching, cut)
    for n, count in [(8, 5), (8, 0), (8, 2), (8, 8), (8, 5), (6, 3), (6, 6), (5, 4), (5, 0)]:
        x = vector(n, count)
        check(f, x, branching(x))
    assert f.stats().exact_fallbacks == 0
    assert f.stats().traces <= 5


@CUTS
def test_an_axis_of_measured_size_one_is_squeezed(cut: str) -> None:
    f = optimized(lambda x: jnp.squeeze(positive(x)) * 2, cut)
    for count in (3, 1, 2, 0, 1):
        x = vector(6, count)
        check(f, x, np.squeeze(positive(x)) * 2)
    assert f.stats().exact_fallbacks == 0


def test_sizes_that_happen_to_be_equal_are_no_guess() -> None:
    def fun(x: Any) -> Any:
        a, b = snp.flatnonzero(x > 0), snp.flatnonzero(x > 1)
        return "same" if a.shape == b.shape else "different"

    def numbered(x: Any) -> Any:
        return jnp.float32(fun(x) == "same")

    f = optimized(numbered)
    for positive, large in [(4, 2), (4, 4), (3, 1), (0, 0)]:
        x = vector(8, positive, large)
        assert f(x) == (positive == large)


def test_all_that_a_run_violates_is_learned_at_once() -> None:
    def fun(x: Any) -> Any:
        parts = [snp.compress(x > k, x) for k in range(12)]
        return [jnp.float32(-1) if part.shape[0] == 0 else part.sum() for part in parts]

    f = optimized(fun)
    x = vector(8, 4)
    check(f, x, [x[x > 0].sum()] + [-1] * 11)
    assert f.stats().traces == 2
    assert f.stats().exact_fallbacks == 0


def test_division_by_a_size_of_zero() -> None:
    def fun(x: Any) -> Any:
        n = positive(x).shape[0]
        return x * (1 / n), x.shape[0] // n, x.shape[0] % n, n / x.shape[0]

    f = optimized(fun, on_unsupported="exact")
    for count in (3, 1):
        check(f, vector(7, count), fun(vector(7, count)))
    with pytest.warns(ExactFallbackWarning), pytest.raises(ZeroDivisionError):
        f(vector(7, 0))
    check(f, vector(7, 2), fun(vector(7, 2)))
    assert f.stats().exact_fallbacks == 1


# Sizes that must be equal


def masks_twice(x: Any) -> Any:
    return snp.boolean_index(x, x > 0) + snp.boolean_index(2 * x, x > 0)


@CUTS
def test_the_same_mask_written_twice_gives_one_size(cut: str) -> None:
    f = optimized(masks_twice, cut)
    for n, count in [(8, 5), (6, 0), (8, 8), (1, 1)]:
        x = vector(n, count)
        check(f, x, masks_twice(x))
    assert f.stats().exact_fallbacks == 0


def test_the_same_mask_gives_one_size() -> None:
    def fun(x: Any) -> Any:
        m = x > 0
        return snp.boolean_index(x, m) * snp.flatnonzero(m) + snp.compress(m, 2 * x)

    f = optimized(fun)
    for count in (3, 0, 6):
        check(f, vector(6, count), fun(vector(6, count)))
    assert f.stats().traces == 1


def test_sizes_taken_for_equal_that_are_not() -> None:
    f = optimized(lambda x: snp.compress(x > 0, x) + snp.compress(x > 1, x), on_unsupported="exact")
    equal, unequal = vector(8, 4, 4), vector(8, 4, 2)
    want = 2 * equal[equal > 0]
    np.testing.assert_allclose(f(equal), want)
    # As it would step by step.
    with pytest.warns(ExactFallbackWarning), pytest.raises(TypeError, match="shapes"):
        f(unequal)
    np.testing.assert_allclose(f(equal), want)
    assert f.stats().exact_fallbacks == 1


# Empty arrays, derivatives, random numbers


def consumers(x: Any) -> Any:
    y = positive(x)
    return {
        "sums": (jnp.sum(y), jnp.prod(y), jnp.any(y > 1), jnp.all(y > 1), jnp.linalg.norm(y)),
        "order": (jnp.sort(y), jnp.argsort(y), jnp.cumsum(y)[::-1], jnp.max(y, initial=0.0)),
        "shapes": (y[:, None] * x[None], jnp.stack([y, 2 * y]), jnp.pad(y, (1, 2)), y[None].T),
        "pieces": (y[:-1], jnp.repeat(y, 2), jnp.concatenate([y, x, y]), jnp.eye(y.shape[0])),
        "rows": jax.nn.softmax(jnp.outer(y, y), axis=-1),
        "loops": (
            jax.lax.scan(lambda c, v: (c + v, c * v), jnp.float32(0), y),
            jax.lax.while_loop(
                lambda s: s[0] < y.shape[0], lambda s: (s[0] + 1, s[1] * 2), (0, jnp.float32(1))
            ),
            jax.vmap(lambda v: v * x.sum())(y),
        ),
    }


@CUTS
def test_consumers_of_measured_sizes(cut: str) -> None:
    f = optimized(consumers, cut)
    for n, count in [(8, 5), (8, 0), (5, 5), (1, 0), (1, 1), (7, 1)]:
        x = vector(n, count)
        with jax.disable_jit():
            want = consumers(jnp.asarray(x)) if count and n == 8 else None
        if want is not None:
            check(f, x, want)
        y = x[x > 0]
        out = f(x)
        np.testing.assert_allclose(out["order"][2], np.cumsum(y)[::-1], rtol=1e-5)
        np.testing.assert_allclose(out["loops"][1][1], 2.0**count)
        np.testing.assert_allclose(out["shapes"][0], y[:, None] * x, rtol=1e-5)
        np.testing.assert_allclose(out["pieces"][2], np.concatenate([y, x, y]))
        assert [a.shape for a in out["pieces"][:2]] == [(max(count - 1, 0),), (2 * count,)]
    assert f.stats().exact_fallbacks == 0


@CUTS
def test_derivatives(cut: str) -> None:
    def fun(x: Any) -> Any:
        def loss(x: Any) -> Any:
            return jnp.sum(x[snp.flatnonzero(x > 0)] ** 2) + jnp.sum(
                snp.repeat(x, jnp.where(x > 1, 2, 1), max_size=16) * 3
            )

        return jax.value_and_grad(loss)(x)

    f = optimized(fun, cut)
    for n, count, large in [(8, 5, 2), (8, 0, 0), (3, 3, 3), (1, 1, 0)]:
        x = vector(n, count, large)
        times = np.where(x > 1, 2, 1)
        value = (x[x > 0] ** 2).sum() + 3 * (x * times).sum()
        check(f, x, (value, np.where(x > 0, 2 * x, 0) + 3 * times))


@CUTS
def test_random_numbers_of_measured_size(cut: str) -> None:
    def fun(x: Any) -> Any:
        return jax.random.normal(jax.random.key(0), (positive(x).shape[0], 2))

    f = optimized(fun, cut)
    for count in (5, 0, 2):
        check(f, vector(8, count), jax.random.normal(jax.random.key(0), (count, 2)))


# Where no program can be made


def test_sizes_in_loops_branches_and_batches() -> None:
    def scanned(x: Any) -> Any:
        return jax.lax.scan(lambda c, v: (c + snp.flatnonzero(x > v).sum(), v), 0, x)

    def branched(x: Any) -> Any:
        return jax.lax.cond(x.sum() > 0, lambda: positive(x).sum(), lambda: 0.0)

    def batched(x: Any) -> Any:
        return jax.vmap(lambda row: snp.compress(row > 0, row).sum())(x[:, None])

    for fun, place in [(scanned, "scan"), (branched, "cond"), (batched, "vmap")]:
        with pytest.raises(TraceError, match=place):
            optimized(fun)(vector(4, 2))
        with (
            pytest.warns(ExactFallbackWarning),
            pytest.raises(DataDependentSizeError, match=r"sod2jax\.optimize"),
        ):
            optimized(fun, on_unsupported="exact")(vector(4, 2))


def test_a_size_that_must_be_a_number_runs_step_by_step() -> None:
    f = optimized(
        lambda x: positive(x) * [1.0, 2.0][positive(x).shape[0] % 2], on_unsupported="exact"
    )
    with pytest.warns(ExactFallbackWarning):
        seen = f(vector(6, 3))
    assert isinstance(seen, jax.Array)
    np.testing.assert_allclose(seen, 2 * positive(vector(6, 3)))


def test_inside_an_inner_jit() -> None:
    inner = jax.jit(lambda x: snp.flatnonzero(x > 0))
    f = optimized(lambda x: (inner(x), inner(x[:, None] + 0)))
    for count in (2, 0):
        x = vector(6, count)
        check(f, x, (np.flatnonzero(x > 0),) * 2)
    with pytest.raises(TraceError, match=r"leave out that inner jax\.jit"):
        optimized(lambda x: (inner(x), inner(-x)))(vector(6, 2))


def test_learned_specs() -> None:
    f = sod2jax.optimize(lambda x: (positive(x), snp.unique(jnp.round(x))))
    for n, count in [(5, 3), (7, 0), (6, 6), (7, 2)]:
        x = vector(n, count)
        y, different = f(x)
        np.testing.assert_array_equal(y, x[x > 0])
        np.testing.assert_array_equal(different, np.unique(np.round(x)))
    assert f.stats().exact_fallbacks == 0


# What is told of them


def test_bound_and_kind_are_reported() -> None:
    f = optimized(lambda x: positive(x) * 2)
    analysis = f.analyse(vector(5, 2))
    assert analysis.classes.nac > 0
    assert analysis.classes.nac > 0
    f(vector(5, 2))
    assert "0 <= nonzero_0 <= 8, n >= nonzero_0" in f.explain()
    assert "EDO" in f.explain()


def test_keys_that_caches_still_hold_from_other_traces_are_no_guards() -> None:
    mine, other = jax.export.SymbolicScope(), jax.export.SymbolicScope()
    (n,) = jax.export.symbolic_shape("n", scope=mine)
    (old,) = jax.export.symbolic_shape("gone", scope=other)
    with guards.recording(Region.of(["n"], []), mine) as recorder:
        assert n != old
        assert old != n
        assert not recorder.guards
        assert n != 5
        assert recorder.guards


def test_gradients_without_a_trace() -> None:
    """Under an eager ``jax.grad`` the elements are known, and so are the sizes."""

    def fun(x: Any) -> Any:
        return (snp.boolean_index(x, x > 0) ** 2).sum() + snp.compress(x > 1, x).sum()

    x = np.arange(-2, 4).astype(np.float32)
    want = np.where(x > 0, 2 * x, 0) + (x > 1)
    np.testing.assert_allclose(jax.grad(fun)(jnp.asarray(x)), want)
    np.testing.assert_allclose(optimized(jax.grad(fun))(x), want)
