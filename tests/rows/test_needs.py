"""Which operands' rows a row of a result needs: one equation at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from sod2jax.ir import dims
from sod2jax.rows.needs import operand_needs
from sod2jax.rows.reads import Mixed, Row
from tests.harnesses import Arg
from tests.passes.programs import program

B, S = dims.symbol("b"), dims.symbol("s")
X, M = Arg("b, s, 6"), Arg((6, 6))
NUMBERS = ("NHWC", "HWIO", "NHWC")


def needs(fun: Callable[..., Any], *args: Arg, axis: int = 0, inner: Any = 1) -> list[Any]:
    """Of the operands of the last equation."""
    found = program(fun, *args, b=4, s=8)
    eqn = found.jaxpr.eqns[-1]
    return operand_needs(eqn, B, [Row(axis, inner)] * len(eqn.outvars))


@pytest.mark.parametrize(
    ("fun", "args", "found"),
    [
        (lambda x, y: x + y, (X, X), [Row(0), Row(0)]),
        (lambda x: x + 1, (X,), [Row(0), None]),
        (lambda x, y: lax.add(x, y), (X, Arg("1, s, 6")), [Row(0), None]),
        (lambda x, m: x @ m, (X, M), [Row(0), None]),
        (lambda m, x: jnp.einsum("ij,bsj->bsi", m, x), (M, X), [Row(0), None]),
        (lambda x, y: jnp.einsum("bsi,bti->bst", x, y), (X, X), [Row(0), Row(0)]),
        (lambda x, y: jnp.einsum("bsi,cti->bsct", x, y), (X, X), [Row(0), None]),
        (lambda x: x.sum(1), (X,), [Row(0)]),
        (lambda x: x.argmax(1), (X,), [Row(0)]),
        (lambda x: lax.cumsum(x, axis=1), (X,), [Row(0)]),
        (lambda x: lax.sort(x, dimension=1), (X,), [Row(0)]),
        (lambda x: lax.rev(x, (1,)), (X,), [Row(0)]),
        (lambda x: lax.slice(x, (0, 0, 1), (*x.shape[:2], 4)), (X,), [Row(0)]),
        (lambda x: lax.pad(x, 0.0, ((0, 0, 0), (1, 0, 0), (0, 0, 0))), (X,), [Row(0), None]),
        (lambda x: lax.concatenate([x, x], 1), (X,), [Row(0), Row(0)]),
        (lambda x: lax.broadcast_in_dim(x, (*x.shape, 3), (0, 1, 2)), (X,), [Row(0)]),
        (lambda m, x: lax.broadcast_in_dim(m, (x.shape[0], 6, 6), (1, 2)), (M, X), [None]),
        (lambda x: lax.broadcasted_iota(int, x.shape, 1), (X,), []),
        (lambda x: x.reshape(x.shape[0], -1), (X,), [Row(0)]),
        (lambda x, u: lax.dynamic_update_slice(x, u, (0, 1, 0)), (X, Arg("b, 1, 6")), None),
    ],
)
def test_rows_of_operands(fun, args, found) -> None:
    if found is None:
        found = [Row(0), Row(0), None, None, None]
    assert needs(fun, *args) == found


@pytest.mark.parametrize(
    ("fun", "args", "says"),
    [
        (lambda x: lax.cumsum(x, axis=0), (X,), "'cumsum' mixes rows"),
        (lambda x: lax.sort(x, dimension=0), (X,), "'sort' mixes rows"),
        (lambda x: lax.rev(x, (0,)), (X,), "'rev' mixes rows"),
        (lambda x: lax.broadcasted_iota(int, x.shape, 0), (X,), "by their position"),
        (lambda x: lax.dynamic_update_slice(x, x[:1], (1, 0, 0)), (X,), "mixes rows"),
        (lambda x: lax.dynamic_update_slice(jnp.zeros_like(x), x, (1, 0, 0)), (X,), None),
        (lambda x: x.at[1].set(0.0), (X,), "'scatter' is not known"),
        (lambda x: jnp.linalg.cholesky(x[:, :6]), (Arg("b, 6, 6"),), "is not known"),
    ],
)
def test_what_needs_other_rows_or_knows_its_place(fun, args, says) -> None:
    if says is None:  # both start at 0, where JAX puts what does not fit elsewhere
        assert needs(fun, *args)[:2] == [Row(0), Row(0)]
        return
    with pytest.raises(Mixed, match=says):
        needs(fun, *args)


def test_a_reshape_that_mixes_rows() -> None:
    with pytest.raises(Mixed, match="'reshape' splits or mixes rows"):
        needs(lambda x: x.reshape(x.shape[1], x.shape[0], 6), X, axis=1)


def test_a_merged_axis_is_split_again() -> None:
    """Rows of a convolution that JAX batched by its groups of channels."""
    shape = Arg("1, s, 6, 4*b")
    split = needs(lambda x: x.reshape(1, *x.shape[1:3], -1, 4), shape, axis=3)
    assert split == [Row(3, 4)]
    merged = Arg("1, s, 6, b, 4")
    assert needs(
        lambda x: x.reshape(1, *x.shape[1:3], 4 * x.shape[3]), merged, axis=3, inner=4
    ) == [Row(3)]


def test_a_convolution_in_groups_of_rows() -> None:
    def grouped(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=NUMBERS,
            feature_group_count=x.shape[3] // 4,
        )

    args = Arg("1, s, 6, 4*b"), Arg("3, 3, 4, 8*b")
    assert needs(grouped, *args, axis=3, inner=8) == [Row(3, 4), Row(3, 8)]


def test_a_call_is_as_its_body() -> None:
    assert needs(jax.jit(lambda x, m: jnp.tanh(x @ m)), X, M) == [Row(0), None]
    with pytest.raises(Mixed, match="read by rows and as a whole"):
        needs(jax.jit(lambda x: x - x.mean(0, keepdims=True)), X)


def test_a_scan_over_other_axes_keeps_rows_apart() -> None:
    def layers(x: jax.Array, m: jax.Array) -> jax.Array:
        return lax.scan(lambda c, w: (c * w, None), x, m)[0]

    assert needs(layers, X, Arg((5,))) == [Row(0), None]

    def columns(x: jax.Array) -> Any:
        return lax.scan(lambda c, v: (c + v, c * v), x[:, 0], jnp.swapaxes(x, 0, 1))

    found = program(columns, X, b=4, s=8).jaxpr.eqns[-1]
    assert operand_needs(found, B, [Row(0), Row(1)]) == [Row(0), Row(1)]
    with pytest.raises(Mixed, match="goes through the rows"):
        operand_needs(found, B, [Row(0), Row(0)])


def test_a_loop_that_ends_row_by_row() -> None:
    def halved(row: jax.Array) -> jax.Array:
        return lax.while_loop(lambda r: r.max() > 1, lambda r: r / 2, row)

    assert needs(jax.vmap(halved), X) == [Row(0)]
    with pytest.raises(Mixed):
        needs(halved, X)
