"""Plans of whole layers beside XLA's own buffer assignment on CPU."""

from __future__ import annotations

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from sod2jax.memory import XlaMemory, overlaps, plan_memory
from sod2jax.target import Target

CPU = Target("cpu")

BATCH, LENGTH, WIDTH, HEADS = 4, 64, 128, 4


def array(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def mlp(x, w1, b1, w2, b2):
    return jax.nn.gelu(x @ w1 + b1[None, None]) @ w2 + b2[None, None]


def attention(x, wq, wk, wv, wo):
    batch, length, width = x.shape

    def heads(w):
        return (x @ w).reshape(batch, length, HEADS, width // HEADS)

    scores = jnp.einsum("bqhd,bkhd->bhqk", heads(wq), heads(wk)) / math.sqrt(width // HEADS)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), heads(wv))
    return mixed.reshape(batch, length, width) @ wo


def layer_norm(x, scale, bias):
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-5) * scale[None, None] + bias[None, None]


def encoder_layer(x, attention_params, mlp_params, norm1, norm2):
    x = layer_norm(x + attention(x, *attention_params), *norm1)
    return layer_norm(x + mlp(x, *mlp_params), *norm2)


def lstm(xs, state, wx, wh):
    def cell(state, x):
        h, c = state
        i, f, g, o = jnp.split(x @ wx + h @ wh, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return jax.lax.scan(cell, state, xs)


def conv_block(x, w):
    return jax.nn.relu(
        x
        + jax.lax.conv_general_dilated(
            jax.nn.relu(x), w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )


X = array(BATCH, LENGTH, WIDTH)
SQUARE, VECTOR = array(WIDTH, WIDTH), array(WIDTH)
MLP = (array(WIDTH, 4 * WIDTH), array(4 * WIDTH), array(4 * WIDTH, WIDTH), VECTOR)
ATTENTION = (SQUARE,) * 4

LAYER = (ATTENTION, MLP, (VECTOR,) * 2, (VECTOR,) * 2)

PROGRAMS = {
    "mlp": (mlp, (X, *MLP)),
    "attention": (attention, (X, *ATTENTION)),
    "encoder layer": (encoder_layer, (X, *LAYER)),
    "one request": (encoder_layer, (array(1, 256, WIDTH), *LAYER)),
    "lstm": (lstm, (X, (array(LENGTH, WIDTH),) * 2, *(array(WIDTH, 4 * WIDTH),) * 2)),
    "convolution": (conv_block, (array(2, 16, 16, 32), array(3, 3, 32, 32))),
}
# Planned over XLA's temporary bytes; XLA's order and its CPU libraries account for the rest.
LEAST, LARGEST = 0.55, 1.25


@pytest.fixture(scope="module", params=list(PROGRAMS))
def planned(request):
    fun, args = PROGRAMS[request.param]
    traced = jax.jit(fun).trace(*args)
    stats = traced.lower().compile().memory_analysis()
    return plan_memory(traced.jaxpr, bucket={"s": LENGTH}, target=CPU, compiled_stats=stats)


def test_temporaries_are_close_to_xla(planned):
    assert LEAST <= planned.arena_bytes / planned.xla.temp_bytes <= LARGEST, str(planned)


def test_arguments_and_outputs_are_those_of_xla(planned):
    assert planned.argument_bytes == planned.xla.argument_bytes
    # A tuple of results has a table of 8-byte pointers in XLA.
    assert 0 <= planned.xla.output_bytes - planned.output_bytes <= 64


def test_plan_is_consistent(planned):
    plan = planned
    assert overlaps(plan.allocations) == []
    assert plan.lower_bound <= plan.arena_bytes <= 1.1 * plan.lower_bound
    assert plan.peak_bytes == plan.argument_bytes + plan.output_bytes + plan.arena_bytes
    assert all(a.offset % plan.target.alignment == 0 for a in plan.allocations)


@pytest.mark.parametrize(("platform", "alignment"), [("cpu", 64), ("gpu", 256), ("tpu", 256)])
def test_alignment_of_the_platform(platform, alignment):
    jaxpr = jax.make_jaxpr(lambda x, w: jnp.tanh(x @ w).sum(0) + w[0])(array(3, 5), array(5, 5))
    plan = plan_memory(jaxpr, bucket={}, target=Target(platform))
    assert plan.target.alignment == alignment
    assert plan.allocations
    assert all(a.size % alignment == 0 for a in plan.allocations)


def test_a_dead_temporary_lives_in_the_output_before_it_is_written():
    jaxpr = jax.make_jaxpr(lambda x, w: x @ w @ w @ w)(SQUARE, SQUARE)
    plan = plan_memory(jaxpr, bucket={}, target=CPU)
    assert [(h.buffer.name, h.output) for h in plan.hosted] == [("dot_general.0", "out0")]
    assert [a.name for a in plan.allocations] == ["dot_general.1"]


def test_printed_plan_shows_allocations_totals_and_xla():
    traced = jax.jit(mlp).trace(X, *MLP)
    stats = traced.lower().compile().memory_analysis()
    sizes = {"b": BATCH, "s": LENGTH}
    text = str(plan_memory(traced.jaxpr, bucket=sizes, target=CPU, compiled_stats=stats))
    assert text.startswith("memory plan for (b=4, s=64) on cpu, 64-byte alignment")
    assert f"{stats.temp_size_in_bytes:,}" in text
    assert "dot_general." in text
    assert "plan / XLA" in text
    assert "peak" in text


def test_printed_plan_without_xla_or_temporaries():
    plan = plan_memory(jax.make_jaxpr(lambda x: x * 2)(X), bucket={"s": 64}, target=CPU)
    assert plan.xla is None
    assert "no temporaries" in str(plan)


def test_repr_is_one_line():
    jaxpr = jax.make_jaxpr(lambda x, w: x @ w @ w)(X, SQUARE)
    plan = plan_memory(jaxpr, bucket={"s": 64}, target=CPU)
    assert repr(plan) == (
        f"MemoryPlan([s=64] on cpu: arena {plan.arena_bytes:,} B, peak {plan.peak_bytes:,} B)"
    )


def test_missing_figures_of_xla_are_none():
    analysis = SimpleNamespace(temp_size_in_bytes=7, argument_size_in_bytes=3)
    xla = XlaMemory.from_analysis(analysis)
    assert xla == XlaMemory(7, 3, None, None, None)
    assert xla.total_bytes is None
    assert XlaMemory(7, 3, 2, 1, None).total_bytes == 11
    assert XlaMemory.from_analysis(None) == XlaMemory(None, None, None, None, None)
