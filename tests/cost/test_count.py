"""Counted work against what XLA counts of the compiled program, at several sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import models
import sod2jax
from sod2jax import rdp
from sod2jax.cost import Cost, branch_costs, program_cost
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.region import Region
from sod2jax.passes.branches.conds import is_cond
from sod2jax.target import Target
from tests.harnesses.base import QUICK, Arg

SIZES = ({"b": 1, "s": 1}, {"b": 3, "s": 17}, {"b": 4, "s": 64})
BS, S = Arg("b, s"), Arg("s")
IMAGES = Arg("b, 3, s + 4, 9")
KERNEL = Arg((8, 3, 3, 3))


def symbolic(fun: Callable[..., Any], *args: Arg) -> Any:
    """The symbolic jaxpr of a function."""
    scope = jax.export.SymbolicScope()
    specs = [
        jax.ShapeDtypeStruct(
            jax.export.symbolic_shape(arg.spec, scope=scope)
            if isinstance(arg.spec, str)
            else arg.spec,
            arg.dtype,
        )
        for arg in args
    ]
    return jax.jit(fun).trace(*specs).jaxpr


def xla_analysis(fun: Callable[..., Any], sizes: Mapping[str, int], *args: Arg) -> dict[str, float]:
    """What XLA counts at given sizes."""
    specs = [jax.ShapeDtypeStruct(arg.shape(sizes), arg.dtype) for arg in args]
    return jax.jit(fun, compiler_options=QUICK).lower(*specs).compile().cost_analysis()


def close(found: float, expected: float, tolerance: float, slack: float = 16) -> bool:
    """Within a share of the expected number, and a few scalar operations."""
    return abs(found - expected) <= tolerance * expected + slack


def _mlp(x: jax.Array, w: jax.Array, v: jax.Array) -> jax.Array:
    return jax.nn.log_softmax(jax.nn.relu(x @ w) @ v).sum(0)


def _attention(x: jax.Array) -> jax.Array:
    return jax.nn.softmax(jnp.einsum("bsd,btd->bst", x, x)) @ x


def _normalised(x: jax.Array) -> jax.Array:
    return (x - x.mean(1, keepdims=True)) * lax.rsqrt(x.var(1, keepdims=True) + 1e-5)


def _nested(x: jax.Array) -> jax.Array:
    return jax.jit(lambda y: jax.jit(jnp.tanh)(y) @ jnp.ones((5, 5)))(x)


# (function, arguments, tolerance): XLA simplifies, merges and repeats some operations.
ROWS = {
    "matmul": (lambda x, w: x @ w, (Arg("s, 32"), Arg((32, 8))), 0.0),
    "matmul_of_symbols": (lambda x, y: x.T @ y, (Arg("s, 7"), Arg("s, b")), 0.0),
    "batched": (lambda x, y: jnp.einsum("bij,bjk->bik", x, y), (Arg("b, s, 5"), Arg("b, 5, 6")), 0),
    "elementwise": (lambda x: jnp.where(x > 0, x * 2 + 1, -x), (BS,), 0.0),
    "transcendental": (lambda x: jnp.tanh(x) + jnp.exp(x) * jnp.sqrt(jnp.abs(x)), (BS,), 0.0),
    "gelu": (jax.nn.gelu, (BS,), 0.0),
    "sigmoid": (jax.nn.sigmoid, (BS,), 0.0),
    "power": (lambda x: x**5, (BS,), 0.0),
    "sum": (lambda x: x.sum(1), (BS,), 0.0),
    "max_of_all": (lambda x: x.max(), (BS,), 0.0),
    "argmax": (lambda x: x.argmax(1), (Arg("s, 16"),), 0.25),
    "softmax": (jax.nn.softmax, (Arg("s, 16"),), 0.05),
    "layer_norm": (_normalised, (Arg("s, 16"),), 0.2),
    "window": (
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3), (1, 1), "VALID"),
        (Arg("b, s + 4"),),
        0.0,
    ),
    "valid_conv": (lambda x, k: lax.conv(x, k, (1, 1), "VALID"), (IMAGES, KERNEL), 0.0),
    # Products with padding are not counted by XLA.
    "same_conv": (lambda x, k: lax.conv(x, k, (1, 1), "SAME"), (IMAGES, KERNEL), 0.5),
    "sort": (lambda x: jnp.sort(x, axis=1), (Arg("s, 16"),), 1.2),
    "mlp": (_mlp, (Arg("s, 32"), Arg((32, 64)), Arg((64, 10))), 0.01),
    "attention": (_attention, (Arg("b, s, 16"),), 0.15),
    "calls": (_nested, (Arg("s, 5"),), 0.0),
    "moves": (lambda x: lax.rev(x.T.reshape(-1), (0,)), (BS,), 0.0),
    "gradient": (jax.grad(lambda x: jnp.sin(x @ x.T).sum()), (Arg("s, 5"),), 0.1),
}


@pytest.mark.parametrize("name", ROWS)
def test_flops_are_those_of_xla(name: str) -> None:
    fun, args, tolerance = ROWS[name]
    cost = program_cost(symbolic(fun, *args))
    for sizes in SIZES:
        xla = xla_analysis(fun, sizes, *args)
        expected = xla.get("flops", 0) + xla.get("transcendentals", 0)
        found = cost.at(sizes)
        assert close(found.flops, expected, tolerance), f"{found} at {sizes}, XLA: {expected}"


@pytest.mark.parametrize("name", ["elementwise", "gelu", "sum", "matmul", "valid_conv", "mlp"])
def test_bytes_follow_fusion(name: str) -> None:
    fun, args, _ = ROWS[name]
    cost = program_cost(symbolic(fun, *args))
    for sizes in SIZES[1:]:
        traffic = xla_analysis(fun, sizes, *args)["bytes accessed"]
        assert 0.3 < cost.at(sizes).bytes / traffic < 1.5


def test_elementwise_chains_read_once_and_write_once() -> None:
    cost = program_cost(symbolic(lambda x: jnp.tanh(x) * x + x, BS))
    assert str(cost) == "3*b*s flops, 8*b*s bytes"
    assert cost.transcendentals == dims.parse("b*s")


def _scanned(x: jax.Array) -> jax.Array:
    return lax.scan(lambda c, row: (jnp.tanh(c @ jnp.ones((8, 8)) + row), c.sum()), x[0], x)[0]


def test_a_scan_costs_its_length_times_its_body() -> None:
    cost = program_cost(symbolic(_scanned, Arg("s, 8")))
    once = xla_analysis(_scanned, {"s": 5}, Arg("s, 8"))  # XLA counts one iteration of a loop
    body = once["flops"] + once["transcendentals"]
    for s in (1, 5, 100):
        assert close(cost.at({"s": s}).flops / s, body, 0.03)


def test_a_scan_costs_what_its_unrolling_costs() -> None:
    def unrolled(x: jax.Array) -> jax.Array:
        return lax.scan(lambda c, row: (jnp.tanh(c + row), None), x[0], x, unroll=True)[0]

    args = (Arg((6, 50)),)
    xla = xla_analysis(unrolled, {}, *args)
    found = program_cost(symbolic(unrolled, *args))
    assert found.flops == xla["flops"] + xla["transcendentals"] == 6 * 2 * 50


def test_a_while_with_a_known_trip_count() -> None:
    def powers(x: jax.Array) -> jax.Array:
        return lax.fori_loop(0, x.shape[0], lambda i, c: c @ c, x[:, :4].T @ x[:, :4])

    jaxpr = symbolic(powers, Arg("s, 4"))
    facts = rdp.analyse(jaxpr, Region.of(("s",), [Comparison.parse("s <= 64")]))
    cost = program_cost(jaxpr, facts.value_range)
    assert not cost.assumed
    matmuls = 2 * 4 * 4 * 4
    for s in (1, 7, 64):
        assert s * matmuls <= cost.at({"s": s}).flops - s * 2 * 16 <= s * (matmuls + 4)


def test_a_while_without_one_counts_once_and_says_so() -> None:
    def search(x: jax.Array) -> jax.Array:
        return lax.while_loop(lambda c: (c > 1).all(), lambda c: c * 0.5, x)

    cost = program_cost(symbolic(search, S))
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
        assert close(program_cost(jaxpr).at({"s": s}).flops, xla["flops"], 0.0)
        cheap, dear = sorted(c.at({"s": s}).flops for c in branch_costs(cond))
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
        program = optimized.trace(model.params, *inputs).program
        xla = jax.jit(model.fun, compiler_options=QUICK).lower(model.params, *inputs).compile()
        counted = xla.cost_analysis()
        expected = counted["flops"] + counted.get("transcendentals", 0)
        found = program_cost(program.jaxpr).at(sizes).flops
        assert close(found, expected, tolerance), f"{found:,} at {sizes}, XLA: {expected:,}"


def test_costs_add_up() -> None:
    a, b = Cost(flops=dims.parse("2*s"), bytes=10), Cost(flops=5, bytes=dims.parse("s"))
    assert (a + b).at({"s": 3}) == Cost(11, 13)
    assert a.times(dims.parse("b")).at({"b": 2, "s": 3}) == Cost(12, 20)
    assert a.most(b).at({"s": 2}) == Cost(5, 10)
    assert Cost(10**10, 10**10, 10**9).seconds(Target("cpu")) == 3.0
    with pytest.raises(TypeError, match="depends on sizes"):
        _ = a.seconds(Target("cpu"))


def test_the_largest_cost_over_a_region() -> None:
    region = Region.of(("b", "s"), [Comparison.parse("s <= 10")])
    assert Cost(flops=dims.parse("s*s"), bytes=3).largest(region) == Cost(100, 3)
    assert Cost(flops=dims.parse("b*s")).largest(region) is None


def test_gated_rows_count_as_if_all_were_on() -> None:
    """A compacted program costs at most what the dense one does, but for the loop around it."""
    model = models.load("skipnet")
    f = sod2jax.optimize(model.fun, shapes=model.shapes, constraints=("b <= 4",))
    images = np.zeros((2, 8, 8, 3), np.float32)
    analysis = f.trace(model.params, images)
    assert any(change.what.startswith("compacted") for change in analysis.remarks)
    compacted = program_cost(analysis.program.jaxpr).at({"b": 4, "h": 16, "w": 16})
    dense = program_cost(jax.jit(model.fun).trace(model.params, np.zeros((4, 16, 16, 3))).jaxpr)
    assert close(int(compacted.flops), int(dense.flops), 0.1)
