"""What is no array is static, leaf by leaf."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

import sod2jax
from sod2jax.arguments.kept import Kept, kept, kept_arguments, opened
from tests.arguments.trees.compare import SIZES, assert_same, normal

TREE = {"f": np.sin, "x": np.ones(3), "n": [1, 1.0, True, None, "text"], "t": jax.numpy.float32}


def test_arrays_are_the_only_leaves():
    tree = kept(TREE)
    assert [type(leaf) for leaf in jax.tree.leaves(tree)] == [np.ndarray]
    assert opened(tree) == TREE
    assert opened(jax.tree.map(lambda x: x + 1, tree))["n"] == TREE["n"]


def test_values_are_equal_to_those_of_their_type():
    structures = {jax.tree.structure(kept([value])) for value in (1, 1.0, True, 1, "1")}
    assert len(structures) == 4
    nan = float("nan")
    assert Kept(nan) == Kept(nan) and Kept(1) != 1
    assert repr(Kept(1)) == "Kept(value=1)"


def test_what_has_no_hash_is_named():
    with pytest.raises(TypeError, match=r"^f was called with something of type set, at \[0\]\[1\]"):
        kept_arguments("f", (([1, {2}]), {}))
    assert kept_arguments("f", (([1, 2],), {})) == (([Kept(1), Kept(2)],), {})


@pytest.mark.parametrize("specs", [None, {"x": "n, 4"}])
def test_sizes_in_results_are_numbers(specs):
    f = sod2jax.optimize(
        lambda k, x: {"n": x.shape[0] * k, "rest": (x.ndim, "text"), "x": x * k},
        filter=True,
        shapes=specs,
        poison=True,
        on_unsupported="error",
    )
    for n in SIZES:
        seen = f(3, normal(n, 4))
        assert (seen["n"], seen["rest"], type(seen["n"])) == (3 * n, (2, "text"), int)
        assert_same(seen["x"], jax.jit(lambda x: x * 3)(normal(n, 4)))
    assert f.stats().exact_fallbacks == 0


def test_functions_returned_know_their_sizes():
    f = sod2jax.optimize(lambda x: (functools.partial(np.full, x.shape[0]), x), filter=True)
    for n in SIZES:
        assert f(normal(n, 4))[0](2.0).shape == (n,)


def test_static_arguments_stay_what_they_are():
    f = sod2jax.optimize(
        lambda k, m, x: x * k if m == "times" else x,
        filter=True,
        static_argnums=0,
        on_unsupported="error",
    )
    for n in SIZES:
        assert_same(f(2, "times", normal(n, 4)), jax.jit(lambda x: x * 2)(normal(n, 4)))
    assert f.stats().compiles == 2


def test_inside_of_other_traces_and_around():
    f = sod2jax.optimize(lambda g, x: (g(x).sum(), "text"), filter=True)
    assert_same(
        jax.jit(lambda x: f(jax.numpy.sin, x)[0])(normal(5)), f(jax.numpy.sin, normal(5))[0]
    )
    gradient = jax.grad(lambda x: f(jax.numpy.sin, x)[0])
    for n in SIZES:
        np.testing.assert_allclose(gradient(normal(n)), np.cos(normal(n)), rtol=1e-5)


def test_without_it_numbers_are_arrays():
    f = sod2jax.optimize(lambda k, x: (x * k, 3))
    assert isinstance(f(2, normal(5))[1], jax.Array)
