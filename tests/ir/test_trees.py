"""Sizes in the static parts of results come out as the numbers that they are."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import sod2jax
from sod2jax.ir import trees


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["rows"], meta_fields=["count", "more"]
)
@dataclasses.dataclass
class Table:
    rows: Any
    count: Any
    more: Any = None


@dataclasses.dataclass(frozen=True)
class Layout:
    shape: tuple[Any, ...]
    name: str = "layout"


def tabled(x: jax.Array) -> Any:
    n = x.shape[0]
    more = ({"half": n // 2, "fixed": 3}, [n, Layout((n + 1, 2))])
    return {"table": Table(x * 2, n, more), "sum": x.sum()}


def test_sizes_are_found_and_evaluated():
    (n,) = export.symbolic_shape("n")
    symbolic = jax.tree.structure(Table(0, n + 1, (Layout((n,)), {"n": [n]})))
    assert trees.has_sizes(symbolic)
    want = jax.tree.structure(Table(0, 5, (Layout((4,)), {"n": [4]})))
    assert trees.evaluated(symbolic, {"n": 4}) == want
    assert not trees.has_sizes(want)
    plain = jax.tree.structure({"a": (1, None), "b": Table(0, 3, np.zeros)})
    assert trees.evaluated(plain, {}) == plain


@pytest.mark.parametrize("specs", [{"shapes": ("n",), "constraints": ("n <= 9",)}, {}])
def test_results_carry_the_true_numbers(specs):
    function = sod2jax.optimize(tabled, **specs)
    for size in (2, 3, 5, 9, 3):
        x = np.arange(1.0, size + 1, dtype=np.float32)
        got, want = function(x), jax.jit(tabled)(x)
        assert jax.tree.structure(got) == jax.tree.structure(want)
        assert type(got["table"].count) is int
        np.testing.assert_array_equal(got["table"].rows, want["table"].rows)


def test_rows_have_their_own_numbers():
    rows = [np.ones(size, np.float32) for size in (2, 4, 3)]
    assert [r["table"].count for r in sod2jax.ragged_vmap(tabled)(rows)] == [2, 4, 3]
    with pytest.raises(sod2jax.errors.ShapeError, match="outside of arrays"):
        padded = jnp.ones((2, 4)), jnp.array([2, 3])
        sod2jax.ragged_vmap(tabled, shapes=("n",))(sod2jax.Ragged(*padded))


def test_a_size_as_a_leaf_is_an_array():
    def fun(x: jax.Array) -> Any:
        return x.shape[0], x

    function = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 9",))
    for size in (1, 4, 9):
        got, want = function(np.ones(size, np.float32))[0], jax.jit(fun)(jnp.ones(size))[0]
        assert (got.dtype, got.weak_type, int(got)) == (want.dtype, want.weak_type, size)
