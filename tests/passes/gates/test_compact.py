"""Batched gates: what is compacted, what is not and why, and that the work is really saved."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import pallas

import sod2jax
from sod2jax import _compat, rdp
from sod2jax.ir.program import Program
from sod2jax.passes import Remark
from sod2jax.passes.gates.compact import compact_gates
from sod2jax.target import Target
from tests.harnesses import gates
from tests.harnesses.base import Arg, Harness, assert_same, run_both
from tests.harnesses.gates import GATE, IMAGES, KERNEL, MATRIX, TOKENS, along, block, conv
from tests.passes.programs import count, program

BOUNDS = {"b": 8, "h": 9, "w": 8}
SEQUENCES = {"b": 8, "s": 40}
TABLE = {harness.name: harness for harness in gates.HARNESSES}
HEAVY = ("conv_general_dilated", "dot_general")
# How many regions a program gets, bodies of regions included; 1 where it is not named here.
REGIONS = {
    "gates_blocks_nested": 2,
    "gates_chain": 3,
    "gates_exits": 2,
    "gates_exits_by_branches": 2,
    "gates_gradient_of_masks": 0,
}


def compacted(fun: Any, *args: Arg, **bounds: int) -> tuple[Program, tuple[Remark, ...]]:
    before = program(fun, *args, **bounds)
    return compact_gates(before, rdp.analyse(before.jaxpr, before.region), Target("cpu"))


def heavy(jaxpr: Any, outside: str = "") -> int:
    return sum(count(jaxpr, name, outside) for name in HEAVY)


def masked(f: Any) -> Any:
    return lambda gate, x: jnp.where(along(gate, x), f(x), x)


# What is compacted


@pytest.mark.parametrize("name", [name for name in TABLE if name != "gates_gradient_of_branches"])
def test_every_gated_part_of_the_harnesses_is_compacted(name: str) -> None:
    harness = TABLE[name]
    symbols = {symbol: harness.full[symbol] for symbol in harness.symbols}
    found, changes = compacted(harness.fun, *harness.args, **symbols)
    regions = REGIONS.get(name, 1)
    assert count(found.jaxpr, "gated_rows") == regions
    told = {str(change) for change in changes if change.what.startswith("compacted")}
    assert bool(told) == bool(regions)
    if regions and name not in ("gates_repeated", "gates_all_keys"):
        assert heavy(found.jaxpr, outside="gated_rows") == 0


def test_what_is_compacted_is_told_with_line_and_numbers() -> None:
    _, (change,) = compacted(masked(block), GATE, IMAGES, **BOUNDS)
    assert change.what == "compacted a select by rows of 'b'"
    assert "test_compact.py" in change.source
    assert "case 1 takes 5 equations and 6.6e+05 flops a row" in change.reason


def test_selects_by_one_gate_become_one_region() -> None:
    found, (change,) = compacted(gates.two_results, GATE, TOKENS, **SEQUENCES)
    (region,) = [eqn for eqn in found.jaxpr.eqns if eqn.primitive.name == "gated_rows"]
    assert len(region.outvars) == 2
    assert "(2 results)" in change.what
    assert count(found.jaxpr, "select_n") == 0


def test_weights_are_not_repeated_for_each_row() -> None:
    """`vmap` of a `cond` broadcasts what its branches close over."""
    found, _ = compacted(gates.switched, Arg("b", np.int32), TOKENS, **SEQUENCES)
    shapes = [var.aval.shape for eqn in found.jaxpr.eqns for var in eqn.outvars]
    assert not any(len(shape) == 3 and shape[1:] == MATRIX.shape for shape in shapes)


def test_a_body_has_one_row_and_all_other_sizes() -> None:
    found, _ = compacted(masked(block), GATE, IMAGES, **BOUNDS)
    (region,) = [eqn for eqn in found.jaxpr.eqns if eqn.primitive.name == "gated_rows"]
    (body,) = region.params["bodies"]
    shapes = {str(var.aval.shape) for eqn in body.eqns for var in eqn.outvars}
    assert shapes == {"(1, h, w, 16)"}


def test_what_one_row_does_is_not_compacted_again() -> None:
    """Later stages stand in a branch within the loop over rows."""
    found, _ = compacted(gates.exits, GATE, GATE, IMAGES, **BOUNDS)
    (region,) = [eqn for eqn in found.jaxpr.eqns if eqn.primitive.name == "gated_rows"]
    (body,) = region.params["bodies"]
    assert count(body, "gated_rows") == 1
    assert heavy(body, outside="gated_rows") == 3  # of the second stage


def test_a_gate_of_a_fixed_number_of_rows() -> None:
    fixed = Arg((8, 9, 8, 16)), Arg((8,), bool)
    found, _ = compacted(lambda x, gate: masked(block)(gate, x), *fixed)
    assert heavy(found.jaxpr, outside="gated_rows") == 0


def test_inside_other_bodies() -> None:
    """In a scan over layers, and in a function under `jit`."""

    def layers(gate: jax.Array, x: jax.Array) -> jax.Array:
        kernels = jnp.stack([KERNEL, 2 * KERNEL])
        step = jax.jit(lambda c, k: jnp.where(along(gate, c), conv(c, k), c))
        return lax.scan(lambda c, k: (step(c, k), None), x, kernels)[0]

    found, _ = compacted(layers, GATE, IMAGES, **BOUNDS)
    assert heavy(found.jaxpr, outside="gated_rows") == 0


def test_constants_keep_their_order() -> None:
    table = jnp.arange(64.0)
    before = program(masked(lambda y: y @ MATRIX + table[None, None]), GATE, TOKENS, **SEQUENCES)
    after, _ = compact_gates(before, rdp.analyse(before.jaxpr, before.region), Target("cpu"))
    assert [id(c) for c in after.constants] == [id(c) for c in _compat.all_constants(after.jaxpr)]


# What is not


def test_a_program_without_gates_is_left_as_it_is() -> None:
    before = program(lambda x: jax.nn.relu(x @ MATRIX), TOKENS, **SEQUENCES)
    after, changes = compact_gates(before, rdp.analyse(before.jaxpr, before.region), Target("cpu"))
    assert after is before
    assert changes == ()


def test_elementwise_work_is_left_without_a_word() -> None:
    before = program(
        lambda g, x: jnp.where(along(g, x), jnp.sin(x), x).sum() + (x @ MATRIX).sum(),
        GATE,
        TOKENS,
        **SEQUENCES,
    )
    after, changes = compact_gates(before, rdp.analyse(before.jaxpr, before.region), Target("cpu"))
    assert after is before
    assert changes == ()


def test_a_mask_over_positions_is_no_gate() -> None:
    """It differs along two axes."""
    masks = Arg("b, s", bool)
    found, _ = compacted(
        lambda m, x: jnp.where(m[:, :, None], x @ MATRIX, x), masks, TOKENS, **SEQUENCES
    )
    assert count(found.jaxpr, "gated_rows") == 0


def test_rows_that_do_little_with_their_weights_are_left() -> None:
    """One vector for each row: a loop would read the matrix again and again."""
    vectors = Arg("b, 64")
    found, (change,) = compacted(masked(lambda x: x @ MATRIX @ MATRIX), GATE, vectors, b=8)
    assert count(found.jaxpr, "gated_rows") == 0
    assert "too little for a loop over rows" in change.reason


def normalised(x: jax.Array) -> jax.Array:
    """Over all examples."""
    return (x - x.mean((0, 1, 2), keepdims=True)) / x.std((0, 1, 2), keepdims=True)


MIXING = {
    "reduce_sum": lambda x: normalised(conv(x)),
    "softmax": lambda x: jax.nn.softmax(conv(x), axis=0),
    "sort": lambda x: jnp.sort(conv(x), axis=0),
    "cumsum": lambda x: jnp.cumsum(conv(x), axis=0),
    "rev": lambda x: conv(x)[::-1],
    "gather": lambda x: conv(x)[jnp.argsort(x[:, 0, 0, 0])],
    "roll": lambda x: jnp.roll(conv(x), 1, axis=0),
    "dot_general": lambda x: jnp.einsum("bhwc,dhwc,dhwe->bhwe", x, conv(x), conv(x)),
    "scan": lambda x: lax.scan(lambda c, r: (c + r, c), jnp.zeros(x.shape[1:]), conv(x))[1],
    "while": lambda x: lax.while_loop(lambda y: y.sum() > 1e9, lambda y: y * 0.5, conv(x)),
}


@pytest.mark.parametrize("name", MIXING)
def test_rows_that_need_other_rows_stay_together(name: str) -> None:
    found, changes = compacted(masked(MIXING[name]), GATE, IMAGES, **BOUNDS)
    assert count(found.jaxpr, "conv_general_dilated", outside="gated_rows") >= 1
    left = [change for change in changes if change.what.startswith("left")]
    assert all("needs all rows at" in change.reason for change in left)
    assert left or name == "dot_general"


@pytest.mark.parametrize("name", MIXING)
def test_mixed_rows_are_exact(name: str) -> None:
    harness = Harness(name, masked(MIXING[name]), (GATE, IMAGES), gates.BUCKET)
    inputs = [
        arg.values(np.random.default_rng(1), {"b": 3, "h": 5, "w": 7}) for arg in harness.args
    ]
    (seen,) = run_both(harness.optimized(), inputs)
    assert_same(seen, [jax.jit(harness.fun)(*inputs)], 1e-5, name)


def test_what_something_else_reads_stays_outside() -> None:
    def both(gate: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        first = conv(x)
        return jnp.where(along(gate, x), conv(first), x), first

    found, _ = compacted(both, GATE, IMAGES, **BOUNDS)
    assert count(found.jaxpr, "conv_general_dilated", outside="gated_rows") == 1
    assert count(found.jaxpr, "conv_general_dilated") == 2


def test_a_kernel_is_left_as_it_is() -> None:
    """Its jaxpr reads and writes references: what is around a select there is no program."""

    def kernel(gate: Any, x: Any, matrix: Any, out: Any) -> None:
        y = x[...]
        rows = gate[...][:, None, None]
        out[...] = jnp.where(rows, jnp.einsum("bij,jk->bik", y, matrix[...]), y)

    def fun(gate: jax.Array, x: jax.Array, matrix: jax.Array) -> jax.Array:
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        y = pallas.pallas_call(kernel, out_shape=shape)(gate, x, matrix)
        return jnp.where(along(gate, y), y @ matrix, y)

    args = Arg((8,), bool), Arg((8, 64, 64)), Arg((64, 64))
    before = program(fun, *args)
    after, (remark,) = compact_gates(before, rdp.analyse_program(before), Target("cpu"))
    assert "compacted a select by rows of '8'" in remark.what
    kernels = [
        next(eqn for eqn in made.jaxpr.eqns if eqn.primitive.name == "pallas_call")
        for made in (before, after)
    ]
    assert kernels[0].params["jaxpr"] is kernels[1].params["jaxpr"]


def test_effects_stay_outside() -> None:
    def printing(x: jax.Array) -> jax.Array:
        y = conv(x)
        jax.debug.print("{}", y.sum())
        return y

    found, _ = compacted(masked(printing), GATE, IMAGES, **BOUNDS)
    assert count(found.jaxpr, "gated_rows") == 0


# What is saved


def executable(name: str) -> Any:
    harness = TABLE[name]
    inputs = [arg.values(np.random.default_rng(0), harness.full) for arg in harness.args]
    optimized = harness.optimized()
    plan = optimized.planner.choose(optimized.planner.read(tuple(inputs), {}))
    return plan.specialisation.executables.get(plan.plan.bucket).jaxpr


@pytest.mark.parametrize("name", ["gates_rate_0.5", "gates_branches", "gates_fixed_rows"])
def test_contractions_run_inside_the_loop_only(name: str) -> None:
    jaxpr = executable(name)
    assert heavy(jaxpr, outside="while") == 0
    assert heavy(jaxpr) > 0
    for loop in (eqn for eqn in jaxpr.eqns if eqn.primitive.name == "while"):
        body = loop.params["body_jaxpr"]
        outputs = [eqn.outvars[0].aval.shape[0] for eqn in body.eqns if eqn.primitive.name in HEAVY]
        assert set(outputs) <= {1}


def test_one_row_becomes_a_branch() -> None:
    jaxpr = executable("gates_one_row")
    assert count(jaxpr, "while") == 0
    assert heavy(jaxpr, outside="cond") == 0


def test_later_stages_are_branches_of_the_loop() -> None:
    jaxpr = executable("gates_exits")
    assert count(jaxpr, "while") == 1
    assert count(jaxpr, "cond") == 1
    assert heavy(jaxpr, outside="cond") == 3
    assert heavy(jaxpr, outside="while") == 0


@pytest.mark.parametrize("on", [(), (2,), (0, 1, 2, 3, 4)])
def test_the_loop_runs_once_for_each_true_active_row(on: tuple[int, ...]) -> None:
    """Counted by what a body leaves behind in a row that it should not have run for."""
    harness = TABLE["gates_rate_0.5"]
    gate = np.isin(np.arange(5), on)
    x = IMAGES.values(np.random.default_rng(0), {"b": 5, "h": 5, "w": 7})
    x[~gate] = np.inf  # 0 * inf in the convolution would be NaN
    optimized = sod2jax.optimize(
        harness.fun, shapes=("b", "b, h, w, 16"), buckets={"b": (7,), "h": (9,), "w": (8,)}
    )
    (seen,) = run_both(optimized, [gate, x])
    assert_same(seen, [jax.jit(harness.fun)(gate, x)], 1e-5, str(on))


@pytest.mark.parametrize("name", ["exits_by_branches", "branches", "pooled", "two_bodies"])
def test_several_rows_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the last block has fewer rows than room."""
    monkeypatch.setattr(Target, "default", lambda: Target("gpu"))
    harness = dataclasses.replace(TABLE[f"gates_{name}"], bucket={"b": 9, "h": 9, "w": 8})
    optimized = harness.optimized()
    for rows in (9, 4):
        sizes = {"b": rows, "h": 5, "w": 7}
        inputs = [arg.values(np.random.default_rng(rows), sizes) for arg in harness.args]
        (seen,) = run_both(optimized, inputs)
        assert_same(seen, [jax.jit(harness.fun)(*inputs)], 1e-5, f"{name}, {rows} rows")
    assert "2 at a time" in optimized.explain()


def test_without_any_symbol() -> None:
    inputs = [arg.values(np.random.default_rng(0), gates.BUCKET) for arg in (GATE, IMAGES)]
    optimized = sod2jax.optimize(masked(block), shapes=(None, None), on_unsupported="error")
    (found,) = jax.tree.leaves(optimized(*inputs))
    assert_same([found], [jax.jit(masked(block))(*inputs)], 1e-5, "fixed sizes")
    assert "compacted a select by rows of '4'" in optimized.explain()


def test_explain_says_what_was_done() -> None:
    harness = TABLE["gates_exits"]
    inputs = [arg.values(np.random.default_rng(0), harness.full) for arg in harness.args]
    optimized = harness.optimized()
    optimized(*inputs)
    assert "compacted a select by rows of 'b'" in optimized.explain()
