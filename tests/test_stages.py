"""The stages of ``jax.jit``: traced, lowered and compiled, for the bucket that serves the call."""

from __future__ import annotations

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import ShapeError


def layer(params: dict[str, jax.Array], x: jax.Array, scale: float = 1.0) -> dict[str, jax.Array]:
    return {"y": jnp.tanh(x @ params["w"]) * scale, "total": x.sum()}


PARAMS = {"w": np.ones((4, 3), np.float32)}
SPECS = {"x": "n, 4"}


def _x(size: int) -> np.ndarray:
    return np.random.default_rng(size).standard_normal((size, 4), np.float32)


@pytest.fixture
def optimized():
    return sod2jax.optimize(layer, shapes=SPECS, buckets={"n": (8, 16)})


def test_is_what_jit_returns_for_those_who_ask(optimized):
    assert isinstance(optimized, jax.stages.Wrapped)
    jitted = jax.jit(layer)
    traced = optimized.trace(PARAMS, _x(5))
    assert isinstance(traced, jax.stages.Traced)
    assert str(traced.jaxpr) == str(jitted.trace(PARAMS, _x(5)).jaxpr)
    assert optimized.eval_shape(PARAMS, _x(5)) == jitted.eval_shape(PARAMS, _x(5))
    exported, theirs = (jax.export.export(f)(PARAMS, _x(5)) for f in (optimized, jitted))
    assert exported.in_avals == theirs.in_avals
    np.testing.assert_allclose(
        exported.call(PARAMS, _x(5))["y"], jitted(PARAMS, _x(5))["y"], rtol=1e-6
    )


def test_the_analysis_is_of_any_size(optimized):
    assert "x: float32[n,4]" in str(optimized.analyse(PARAMS, _x(5)))


@pytest.mark.parametrize("size", [1, 5, 8])
def test_lowered_is_the_bucket_that_serves(optimized, size):
    lowered = optimized.lower(PARAMS, _x(size))
    assert dict(lowered.bucket) == {"n": 8}
    assert "tensor<8x4xf32>" in lowered.as_text()
    assert "8x4xf32" in str(lowered.compiler_ir())
    assert lowered.cost_analysis()["flops"] > 0
    theirs = jax.jit(layer).lower(PARAMS, _x(size))
    assert lowered.in_tree == theirs.in_tree
    assert lowered.out_tree == theirs.out_tree
    assert lowered.out_info == theirs.out_info
    assert str(lowered.args_info) == str(theirs.args_info)


def test_compiled_runs_what_its_bucket_serves(optimized):
    compiled = optimized.lower(PARAMS, _x(5)).compile()
    assert optimized.stats().compiles == 1
    for size in (1, 5, 8):
        want = jax.jit(layer)(PARAMS, _x(size), scale=2.0)
        got = optimized.lower(PARAMS, _x(size), scale=2.0).compile()(PARAMS, _x(size), scale=2.0)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, want)
        np.testing.assert_allclose(
            compiled(PARAMS, _x(size))["y"], jax.jit(layer)(PARAMS, _x(size))["y"], rtol=1e-6
        )
    assert "f32[8,4]" in compiled.as_text()
    assert compiled.cost_analysis()["flops"] > 0
    assert compiled.memory_analysis().output_size_in_bytes > 0
    assert compiled.runtime_executable() is not None
    assert compiled.out_tree == jax.tree.structure({"y": 0, "total": 0})
    with pytest.raises(ShapeError, match=r"compiled for the bucket \[n=8\], and \[n=16\] serves"):
        compiled(PARAMS, _x(9))
    with pytest.raises(ShapeError, match="17"):
        compiled(PARAMS, _x(17))


def test_what_runs_with_exact_shapes_is_lowered_as_jit_does():
    empty = np.zeros((0, 4), np.float32)
    function = sod2jax.optimize(layer, shapes=SPECS)
    lowered = function.lower(PARAMS, empty)
    assert isinstance(lowered, jax.stages.Lowered)
    assert lowered.compile()(PARAMS, empty)["y"].shape == (0, 3)


def test_a_cleared_cache_is_filled_again(optimized):
    optimized(PARAMS, _x(5))
    optimized.clear_cache()
    assert "compiled none" in repr(optimized)
    np.testing.assert_allclose(
        optimized(PARAMS, _x(3))["y"], jax.jit(layer)(PARAMS, _x(3))["y"], rtol=1e-6
    )
    assert optimized.stats().compiles == 2


def test_a_copy_has_its_own_programs(optimized):
    optimized(PARAMS, _x(5))
    other = copy.deepcopy(optimized)
    assert other.options == optimized.options
    assert other.stats().calls == 0
    np.testing.assert_allclose(
        other(PARAMS, _x(3))["y"], jax.jit(layer)(PARAMS, _x(3))["y"], rtol=1e-6
    )


def test_it_says_what_it_is(optimized):
    assert repr(optimized) == "<optimized layer(no sizes yet): buckets none yet; compiled none>"
    optimized(PARAMS, _x(5))
    assert repr(optimized) == "<optimized layer(n): buckets [n=8], [n=16]; compiled [n=8]>"
    assert repr(optimized.lower(PARAMS, _x(5))) == "Lowered([n=8] of layer)"
    assert repr(optimized.lower(PARAMS, _x(5)).compile()) == "Compiled([n=8])"


def test_calls_in_other_traces_are_traced_once():
    traces = []

    @sod2jax.optimize
    def double(x: jax.Array) -> jax.Array:
        traces.append(x)
        return x * 2

    def ten(x: jax.Array) -> jax.Array:
        for _ in range(10):
            x = double(x)
        return x

    x = np.ones(3, np.float32)
    np.testing.assert_array_equal(jax.jit(ten)(x), x * 1024)
    assert len(traces) == 1
    assert "name=double" in str(jax.make_jaxpr(ten)(x))
    inlined = sod2jax.optimize(double.__wrapped__, inline=True)
    jitted = jax.jit(double.__wrapped__, inline=True)
    ours, theirs = (str(jax.make_jaxpr(lambda x, f=f: f(x))(x)) for f in (inlined, jitted))
    assert ours == theirs
    np.testing.assert_array_equal(jax.grad(lambda x: ten(x).sum())(x), np.full(3, 1024.0))
    outer = sod2jax.optimize(ten, shapes=("n",), buckets={"n": (8,)})
    np.testing.assert_array_equal(outer(x), x * 1024)
