"""Whole programs, through fusion, calls and control flow, against what XLA counts of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import models
import sod2jax
from sod2jax.cost import Counter
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import equations
from sod2jax.passes.branches.conds import is_cond
from tests.cost.programs import BS, SIZES, S, close, symbolic, xla_analysis
from tests.cost.test_formulas import ROWS
from tests.harnesses.base import Arg
from tests.quick import QUICK


@pytest.mark.parametrize("name", ["elementwise", "gelu", "sum", "matmul", "valid_conv", "mlp"])
def test_bytes_follow_fusion(name: str) -> None:
    fun, args, _ = ROWS[name]
    cost = Counter().jaxpr(symbolic(fun, *args))
    for sizes in SIZES[1:]:
        traffic = xla_analysis(fun, sizes, *args)["bytes accessed"]
        assert 0.3 < cost.at(sizes).bytes / traffic < 1.5


def test_elementwise_chains_read_once_and_write_once() -> None:
    cost = Counter().jaxpr(symbolic(lambda x: jnp.tanh(x) * x + x, BS))
    assert str(cost) == "3*b*s flops, 8*b*s bytes"
    assert cost.transcendentals == dims.parse("b*s")


def _scanned(x: jax.Array) -> jax.Array:
    return lax.scan(lambda c, row: (jnp.tanh(c @ jnp.ones((8, 8)) + row), c.sum()), x[0], x)[0]


def test_a_scan_costs_its_length_times_its_body() -> None:
    cost = Counter().jaxpr(symbolic(_scanned, Arg("s, 8")))
    once = xla_analysis(_scanned, {"s": 5}, Arg("s, 8"))  # XLA counts one iteration of a loop
    body = once["flops"] + once["transcendentals"]
    for s in (1, 5, 100):
        assert close(cost.at({"s": s}).flops / s, body, 0.03)


def test_a_scan_costs_what_its_unrolling_costs() -> None:
    def unrolled(x: jax.Array) -> jax.Array:
        return lax.scan(lambda c, row: (jnp.tanh(c + row), None), x[0], x, unroll=True)[0]

    args = (Arg((6, 50)),)
    xla = xla_analysis(unrolled, {}, *args)
    ours = Counter().jaxpr(symbolic(unrolled, *args))
    assert ours.flops == xla["flops"] + xla["transcendentals"] == 6 * 2 * 50


def test_a_while_without_one_counts_once_and_says_so() -> None:
    def search(x: jax.Array) -> jax.Array:
        return lax.while_loop(lambda c: (c > 1).all(), lambda c: c * 0.5, x)

    cost = Counter().jaxpr(symbolic(search, S))
    assert cost.at({"s": 100}).flops == 100 + 99 + 100
    assert len(cost.assumed) == 1 and "search)" in cost.assumed[0]
    assert "one iteration" in str(cost)


ONES = np.ones((4, 9), np.float32)


def test_a_cond_costs_its_most_expensive_branch() -> None:
    def fun(p: jax.Array, x: jax.Array) -> jax.Array:
        return lax.cond(p, lambda y: y @ jnp.ones((4, 9)), lambda y: (y @ y.T) @ y @ ONES, x)

    args = (Arg((), np.bool_), Arg("s, 4"))
    jaxpr = symbolic(fun, *args)
    (cond,) = filter(is_cond, equations(jaxpr))
    for s in (1, 3, 50):
        xla = xla_analysis(fun, {"s": s}, *args)
        assert close(Counter().jaxpr(jaxpr).at({"s": s}).flops, xla["flops"], 0.0)
        costs = map(Counter().jaxpr, cond.params["branches"])
        cheap, dear = sorted(cost.at({"s": s}).flops for cost in costs)
        assert (cheap, dear) == (2 * s * 4 * 9, 2 * (s * 4 * s + s * s * 4 + s * 4 * 9))


# XLA leaves out what convolutions read of padding, and computes one of the GELUs twice.
@pytest.mark.parametrize(
    ("name", "points", "tolerance"),
    [
        ("codebert", [{"b": 1, "s": 7}, {"b": 3, "s": 40}], 0.2),
        ("blockdrop", [{"b": 1, "h": 40, "w": 33}, {"b": 2, "h": 64, "w": 64}], 0.2),
    ],
)
def test_models(name: str, points: list[dict[str, int]], tolerance: float) -> None:
    model = models.load(name, "tiny")
    optimized = sod2jax.optimize(model.fun, shapes=model.shapes, constraints=model.constraints)
    for sizes in points:
        inputs = model.inputs(np.random.default_rng(0), **sizes)
        program = optimized.analyse(model.params, *inputs).program
        xla = jax.jit(model.fun, compiler_options=QUICK).lower(model.params, *inputs).compile()
        counted = xla.cost_analysis()
        expected = counted["flops"] + counted.get("transcendentals", 0)
        ours = Counter().jaxpr(program.jaxpr).at(sizes).flops
        assert close(ours, expected, tolerance), f"{ours:,} at {sizes}, XLA: {expected:,}"


def test_gated_rows_count_as_if_all_were_on() -> None:
    """A compacted program costs at most what the dense one does, but for the loop around it."""
    model = models.load("skipnet")
    f = sod2jax.optimize(model.fun, shapes=model.shapes, constraints=("b <= 4",))
    images = np.zeros((2, 8, 8, 3), np.float32)
    analysis = f.analyse(model.params, images)
    assert any(change.what.startswith("compacted") for change in analysis.remarks)
    compacted = Counter().jaxpr(analysis.program.jaxpr).at({"b": 4, "h": 16, "w": 16})
    dense = Counter().jaxpr(jax.jit(model.fun).trace(model.params, np.zeros((4, 16, 16, 3))).jaxpr)
    assert close(int(compacted.flops), int(dense.flops), 0.1)
