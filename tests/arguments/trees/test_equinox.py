"""equinox modules: arrays inside are traced, what is no array is kept apart, or filtered."""

from __future__ import annotations

from typing import Any

import jax
import pytest

import sod2jax
from tests.arguments.trees.compare import SIZES, assert_same, compare, normal

eqx = pytest.importorskip("equinox")


class Net(eqx.Module):
    linear: eqx.nn.Linear
    norm: eqx.nn.LayerNorm
    activation: Any
    scale: float
    name: str = eqx.field(static=True, default="net")

    def __call__(self, x):
        return self.norm(self.activation(self.linear(x))) * self.scale


LINEAR = eqx.nn.Linear(4, 3, key=jax.random.key(0))
NET = Net(LINEAR, eqx.nn.LayerNorm(3), jax.nn.gelu, 2.0)


def forward(net, x):
    return jax.vmap(net)(x)


def test_modules_of_arrays():
    calls = [(LINEAR, normal(n, 4)) for n in SIZES]
    assert compare(forward, calls).traces == 2
    assert compare(forward, calls, shapes=(None, "n, 4")).traces == 1


def test_modules_are_returned():
    def step(linear, x):
        bias = linear.bias + x.sum(0)[:3]
        return eqx.tree_at(lambda m: m.bias, linear, bias), jax.vmap(linear)(x)

    assert compare(step, [(LINEAR, normal(n, 4)) for n in SIZES]).traces == 2


def test_partition_and_combine():
    def work(arrays, rest, x):
        return forward(eqx.combine(arrays, rest), x)

    arrays, rest = eqx.partition(NET, eqx.is_array)
    f = sod2jax.optimize(work, shapes={"x": "n, 4"}, static_argnums=1, poison=True)
    for n in SIZES:
        assert_same(f(arrays, rest, normal(n, 4)), eqx.filter_jit(forward)(NET, normal(n, 4)))
    assert (f.stats().traces, f.stats().exact_fallbacks) == (1, 0)


def test_gradients_of_a_partitioned_module():
    arrays, rest = eqx.partition(NET, eqx.is_inexact_array)

    def gradient(arrays, x):
        return jax.grad(lambda a: (forward(eqx.combine(a, rest), x) ** 2).mean())(arrays)

    assert compare(gradient, [(arrays, normal(n, 4)) for n in SIZES]).traces == 2


def test_what_is_no_array_is_named():
    with pytest.raises(TypeError, match=r"'net\.activation' is <function gelu.*filter=True"):
        sod2jax.optimize(forward)(NET, normal(5, 4))
    with pytest.raises(TypeError, match="activation"):
        jax.jit(forward)(NET, normal(5, 4))


def test_what_is_no_array_is_static_when_filtered():
    f = sod2jax.optimize(forward, filter=True, shapes={"x": "n, 4"}, poison=True)
    for n in SIZES:
        assert_same(f(NET, normal(n, 4)), eqx.filter_jit(forward)(NET, normal(n, 4)))
    assert (f.stats().traces, f.stats().exact_fallbacks) == (1, 0)


def test_inside_filter_jit_it_is_inlined():
    f = sod2jax.optimize(forward)
    linear = eqx.filter_jit(lambda m, x: f(m, x))
    assert_same(linear(LINEAR, normal(5, 4)), eqx.filter_jit(forward)(LINEAR, normal(5, 4)))
    assert f.stats().calls == 0
