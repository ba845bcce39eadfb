"""Sizes that depend on values: what tracing takes for granted of them is checked after the run."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.core import Tracer

import sod2jax
from sod2jax.errors import DataDependentSizeError, ExactFallbackWarning, ShapeError
from sod2jax.tracing import data_dependent
from tests.compile_log import compile_log

CUTS = ("never", "always")


def positive(x, most="size"):
    """The positive elements of a vector, in order, as user code could write it."""
    if not data_dependent.is_tracing():
        if isinstance(x > 0, Tracer):
            raise DataDependentSizeError("size of positive")
        return x[np.flatnonzero(x > 0)]
    mask = x > 0
    count, size = data_dependent.dimension(
        mask.sum(dtype=np.int32), mask.size if most else None, "k"
    )
    place = jnp.where(mask, jnp.cumsum(mask, dtype=np.int32) - 1, size)
    return jnp.zeros(count, x.dtype).at[place].set(x, mode="drop")


def optimized(fun, cut="never", **options):
    options = {"buckets": {"n": (8,)}, "on_unsupported": "error", **options}
    return sod2jax.optimize(fun, shapes=("n",), cut=cut, **options)


def vector(count, size=8):
    """`count` positive elements among `size`."""
    x = np.random.default_rng(count).uniform(1, 2, size).astype(np.float32)
    x[np.random.default_rng(size).permutation(size)[count:]] *= -1
    return x


def check(f, fun, counts=(0, 1, 2, 5, 8), size=8):
    for count in counts:
        x = vector(count, size)
        want = jax.tree.leaves(fun(jnp.asarray(x)))
        clean = jax.tree.leaves(f(x))
        poisoned = jax.tree.leaves(f.run((x,), {}, True, foreign=True))
        assert len(want) == len(clean)
        for a, b, c in zip(want, clean, poisoned, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(b, a, rtol=1e-5)
            assert np.asarray(b).tobytes() == np.asarray(c).tobytes()


@pytest.mark.parametrize("cut", CUTS)
def test_results_come_back_at_their_true_size(cut):
    def fun(x):
        y = positive(x)
        return y, y * 2, y.sum(), jnp.concatenate([y, x])

    f = optimized(fun, cut)
    check(f, fun)
    compiled = 1 if cut == "never" else 5
    # Each once for calls, and once for inputs with poison in the padding.
    assert (f.stats().traces, f.stats().compiles) == (1, 2 * compiled)
    assert "k_0" in f.explain()


@pytest.mark.parametrize("cut", CUTS)
def test_a_size_of_0_decides_the_course(cut):
    def fun(x):
        y = positive(x)
        return x.sum() if y.shape[0] == 0 else y.max()

    f = optimized(fun, cut)
    check(f, fun)
    assert f.stats().traces == 2


@pytest.mark.parametrize("cut", CUTS)
def test_slices_shorter_and_longer_than_the_size(cut):
    def fun(x):
        y = positive(x)
        return y[:3], y[3:], y[-2:]

    check(optimized(fun, cut), fun)


@pytest.mark.parametrize("cut", CUTS)
def test_equal_sizes_get_a_program_of_their_own(cut):
    def fun(x):
        y = positive(x)
        return y + x if y.shape[0] == x.shape[0] else y

    f = optimized(fun, cut)
    check(f, fun)
    assert any("k_0 == n" in str(s.regime.reasons[-1]) for s in f.planner.specialisations[1:])


def test_an_extremum_that_jax_settles_by_its_own_bounds_is_checked():
    def fun(x):
        y = positive(x)
        return y.sum() / jax.core.max_dim(y.shape[0], 1)

    f = optimized(fun)
    x = vector(0)
    assert float(f(x)) == 0.0
    np.testing.assert_allclose(f(vector(3)), vector(3)[vector(3) > 0].mean(), rtol=1e-6)


@pytest.mark.parametrize("cut", CUTS)
def test_sizes_of_sizes(cut):
    def fun(x):
        y = positive(x)
        z = positive(1.5 - y)
        return z, positive(jnp.concatenate([z, -y])), y.shape[0] * z.sum()

    check(optimized(fun, cut), fun)


@pytest.mark.parametrize("cut", CUTS)
def test_sizes_that_must_be_equal_are_taken_for_equal(cut):
    def fun(x):
        return positive(x) + positive(2 * x), positive(x) @ positive(x + 0)

    f = optimized(fun, cut)
    check(f, fun)
    assert f.stats().exact_fallbacks == 0


def test_sizes_that_must_be_equal_and_are_not_raise_what_the_function_raises():
    f = optimized(lambda x: positive(x) + positive(x - 1.5), on_unsupported="exact")
    with pytest.warns(ExactFallbackWarning), pytest.raises(TypeError, match="incompatible shapes"):
        f(vector(8))


def test_a_call_is_run_once_after_the_first_of_its_kind():
    def fun(x):
        y = positive(x)
        return y.sum() + (0 if y.shape[0] == 0 else y[0])

    f = optimized(fun)
    f(vector(0))
    (last,) = [s for s in f.planner.specialisations if s.regime.assumptions.fixed]
    plan = f.planner.choose(f.planner.read((vector(0),), {}))
    assert plan.specialisation is last


@pytest.mark.parametrize("cut", CUTS)
def test_nothing_is_compiled_after_compile(cut):
    def fun(x):
        y = positive(x)
        return y[:2], y.sum() if y.shape[0] == 0 else y.max(), positive(y - 1.5)

    f = optimized(fun, cut).compile(vector(3))
    with compile_log() as log:
        for count in (0, 1, 2, 8):
            jax.block_until_ready(f(vector(count)))
    assert not log
    assert f.stats().exact_fallbacks == 0


@pytest.mark.parametrize("cut", CUTS)
def test_gradients(cut):
    def fun(x):
        return jax.grad(lambda v: (positive(v) ** 2).sum() * positive(v).mean())(x)

    check(optimized(fun, cut), fun, (1, 3, 8))


def test_without_a_bound_the_program_is_cut():
    def fun(x):
        y = positive(x, most=None)
        return y[::-1], y.sum()

    f = optimized(fun)
    check(f, fun)
    assert len(f.planner.specialisations[0].parts) == 2
    assert "no upper bound" in f.explain()


@pytest.mark.parametrize("cut", CUTS)
def test_inside_jit_and_checkpoint(cut):
    def fun(x):
        return jax.jit(positive)(x), jax.checkpoint(lambda v: jnp.sin(positive(v)).sum())(x + 1)

    def plain(x):
        return positive(x), jnp.sin(positive(x + 1)).sum()

    check(optimized(fun, cut), plain)


def test_one_jitted_helper_called_twice_is_refused():
    helper = jax.jit(positive)
    f = optimized(lambda x: helper(x).sum() + helper(-x).sum())
    with pytest.raises(DataDependentSizeError, match="called twice"):
        f(vector(3))


def test_in_a_loop_it_is_refused_and_runs_step_by_step():
    def fun(x):
        return jax.lax.fori_loop(0, 2, lambda _, c: c + positive(x).sum(), 0.0)

    with pytest.raises(DataDependentSizeError, match=r"inside 'scan' at .*test_parts"):
        optimized(fun)(vector(3))


def test_under_vmap_it_is_refused():
    f = sod2jax.optimize(jax.vmap(positive), shapes=("n, 4",), on_unsupported="error")
    with pytest.raises(DataDependentSizeError, match="differs from row to row"):
        f(np.ones((3, 4), np.float32))


def test_ragged_vmap_refuses():
    f = sod2jax.ragged_vmap(lambda x: positive(x).sum(), shapes=("n",))
    with pytest.raises(DataDependentSizeError, match="differ from row to row"):
        f([np.ones(3, np.float32), np.ones(5, np.float32)])


def test_what_has_no_padded_form_runs_step_by_step():
    def fun(x):
        return lax.approx_max_k(positive(x), 1)[0]

    f = optimized(fun, on_unsupported="exact")
    with pytest.warns(ExactFallbackWarning, match="approx_top_k"):
        seen = f(vector(3))
    np.testing.assert_array_equal(seen, vector(3).max(keepdims=True))
    assert f.stats().exact_fallbacks == 1


def test_a_size_over_the_maximum_given_is_an_error():
    def fun(x):
        count, size = data_dependent.dimension((x > 0).sum(dtype=np.int32), 3, "few")
        return jnp.zeros(count).at[size - 1].set(1)

    f = optimized(fun)
    assert f(vector(3)).shape == (3,)
    with pytest.raises(ShapeError, match="few_0 = 5"):
        f(vector(5))


def test_outside_of_a_trace_a_dimension_is_a_number():
    dim, size = data_dependent.dimension(jnp.int32(3), 4, "k")
    assert (dim, int(size)) == (3, 3)
    with pytest.raises(DataDependentSizeError):
        jax.jit(lambda n: data_dependent.dimension(n, 4, "k"))(3)


def test_dimensions_are_nac_and_bounded():
    f = optimized(lambda x: positive(x) * 2)
    analysis = f.analyse(vector(3))
    assert analysis.classes.edo == 1
    assert analysis.classes.nac > 0
    assert analysis.program.data_dependent == {"k_0"}
    assert analysis.program.region.range("k_0") == (0, 8)
