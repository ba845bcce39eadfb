"""Equations on a block of rows compute those rows of what the whole ones do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax import _compat
from sod2jax.ir import dims
from sod2jax.rows.narrow import aval_of, equation_of_block, jaxpr_of_block
from sod2jax.rows.needs import jaxpr_needs
from sod2jax.rows.reads import UNUSED, Mixed, Row
from tests.harnesses import Arg
from tests.passes.programs import program

ROWS, BLOCK = 6, 2
X, M = Arg((ROWS, 4, 3)), Arg((3, 3))


def narrowed(fun: Callable[..., Any], *args: Arg, axis: int = 0) -> tuple[Any, Any, list[Any]]:
    """A jaxpr, the same for a block of rows of its results, and what it needs of its inputs."""
    jaxpr = program(fun, *args).jaxpr
    outs = [Row(axis)] * len(jaxpr.outvars)
    needs, _ = jaxpr_needs(jaxpr, ROWS, outs)
    avals = [aval_of(v.aval, need, BLOCK) for v, need in zip(jaxpr.invars, needs, strict=True)]
    return jaxpr, jaxpr_of_block(jaxpr, avals, ROWS, BLOCK, outs), needs


def rows(array: Any, need: Any, start: int) -> Any:
    if not isinstance(need, Row):
        return array
    return lax.slice_in_dim(array, start, start + BLOCK, axis=need.axis)


def evaluate(jaxpr: Any, args: list[Any]) -> list[Any]:
    plain = getattr(jaxpr, "jaxpr", jaxpr)
    return jax.core.eval_jaxpr(plain, _compat.constants(jaxpr), *args)  # type: ignore[attr-defined]


def grouped(x: jax.Array) -> jax.Array:
    """A convolution whose groups of channels are rows."""
    image = x.reshape(1, 1, ROWS * 4, 3).transpose(0, 1, 3, 2)
    kernel = jnp.ones((1, 2, 4, ROWS * 5))
    return lax.conv_general_dilated(
        image,
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=ROWS,
    ).reshape(1, 1, 3, ROWS, 5)


BODIES: dict[str, tuple[Callable[..., Any], tuple[Arg, ...], int]] = {
    "elementwise": (lambda x, m: jnp.tanh(x @ m) + 1, (X, M), 0),
    "broadcast": (lambda x: jnp.broadcast_to(x[:, None], (ROWS, 5, 4, 3)) * 2, (X,), 0),
    "transpose": (lambda x: jnp.swapaxes(x, 0, 1) * 2, (X,), 1),
    "reshape": (lambda x: x.reshape(ROWS, -1) * 2, (X,), 0),
    "slice": (lambda x: x[:, 1:3] - x[:, :2], (X,), 0),
    "dynamic_slice": (lambda x: lax.dynamic_slice(x, (0, 1, 0), (ROWS, 2, 3)), (X,), 0),
    "iota": (lambda x: x * lax.broadcasted_iota(x.dtype, x.shape, 1), (X,), 0),
    "call": (lambda x: jax.jit(lambda y: jnp.sort(y, axis=1))(x), (X,), 0),
    "cond": (lambda p, x: lax.cond(p > 0, jnp.sin, jnp.cos, x), (Arg(()), X), 0),
    "scan": (lambda x, m: lax.scan(lambda c, w: (c * w[0], None), x, m)[0], (X, M), 0),
    "scan_over_columns": (
        lambda x: lax.scan(lambda c, v: (c + v, None), x[:, 0], jnp.swapaxes(x, 0, 1))[0],
        (X,),
        0,
    ),
    "while": (
        jax.vmap(lambda r: lax.while_loop(lambda v: v.max() > 1, lambda v: v / 2, r)),
        (X,),
        0,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_block_has_the_rows_of_the_whole(name: str) -> None:
    fun, args, axis = BODIES[name]
    jaxpr, block, needs = narrowed(fun, *args, axis=axis)
    rng = np.random.default_rng(0)
    values = [(3 * rng.normal(size=var.aval.shape)).astype(np.float32) for var in jaxpr.invars]
    wanted = evaluate(jaxpr, values)
    for start in range(0, ROWS, BLOCK):
        given = [rows(value, need, start) for value, need in zip(values, needs, strict=True)]
        seen = evaluate(block, given)
        for got, want in zip(seen, wanted, strict=True):
            np.testing.assert_allclose(got, rows(want, Row(axis), start), rtol=1e-6)


def test_groups_of_a_convolution_are_as_many_as_rows() -> None:
    jaxpr = program(grouped, X).jaxpr
    kernel = next(eqn for eqn in jaxpr.eqns if eqn.primitive.name == "conv_general_dilated")
    before = [Row(3, 4), Row(3, 5)]
    invars = [
        _compat.new_variable(aval_of(atom.aval, need, BLOCK))
        for atom, need in zip(kernel.invars, before, strict=True)
    ]
    narrow = equation_of_block(kernel, invars, ROWS, BLOCK, [Row(3, 5)], before)
    assert narrow.params["feature_group_count"] == BLOCK
    assert narrow.outvars[0].aval.shape == (1, 1, 3, BLOCK * 5)


def test_values_of_a_block() -> None:
    aval = _compat.array_aval((4, 12), np.dtype(np.float32))
    assert aval_of(aval, Row(0), 2).shape == (2, 12)
    assert aval_of(aval, Row(1, 3), 2).shape == (4, 6)
    assert aval_of(aval, None, 2) is aval and aval_of(aval, UNUSED, 2) is aval


def test_merged_rows_keep_their_symbols() -> None:
    (var,) = program(lambda x: x, Arg("b*s, 4"), b=4, s=8).jaxpr.invars
    (size, _) = aval_of(var.aval, Row(0, dims.symbol("s")), 2).shape
    assert dims.from_jax(size) == 2 * dims.symbol("s")
    fixed = _compat.array_aval((4,), np.dtype(np.float32))
    with pytest.raises(Mixed, match="no dimension to be named after"):
        aval_of(fixed, Row(0, dims.symbol("s")), 2)


def test_what_nothing_reads_is_left_out() -> None:
    def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.sin(x), jnp.cumsum(x, axis=0)

    jaxpr = program(both, X).jaxpr
    first = _compat.with_equations(jaxpr, jaxpr.eqns, jaxpr.outvars[:1])
    avals = [aval_of(jaxpr.invars[0].aval, Row(0), BLOCK)]
    block = jaxpr_of_block(first, avals, ROWS, BLOCK, [Row(0)])
    assert [eqn.primitive.name for eqn in block.eqns] == ["sin"]


def test_an_equation_that_infers_other_rows_is_refused() -> None:
    (eqn,) = program(lambda x: lax.rev(x, (1,)), X).jaxpr.eqns
    wrong = _compat.new_variable(eqn.invars[0].aval)  # with all rows
    with pytest.raises(Mixed, match="'rev' gives"):
        equation_of_block(eqn, [wrong], ROWS, BLOCK, [Row(0)], [Row(0)])
