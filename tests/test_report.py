"""The report names each stage, each mask with its line, and what runs with exact shapes."""

from __future__ import annotations

import inspect

import jax.numpy as jnp
import pytest
from jax import lax

import sod2jax
from sod2jax.errors import ExactFallbackWarning
from tests.attention import W, attention, normal, optimized


def test_explain_has_each_mask_with_its_line_and_reason():
    f = optimized()
    assert "sod2jax report of attention" in f.explain()
    f(normal(2, 3, 4), W)
    report = f.explain()
    source = f"{inspect.getsourcefile(attention)}:{inspect.getsourcelines(attention)[1] + 3}"
    assert f"reduce_max at {source} (attention): pad lanes of s filled with -inf (" in report
    assert f"reduce_sum at {source} (attention)" in report
    assert f"dot_general at {source} (attention)" in report
    assert "masks that were not needed: " in report
    assert "  b: 3\n  s: 4, 8\n  [b=3, s=4] compiled in" in report
    assert "unknown source" not in report


def test_before_the_first_call_there_is_nothing_to_tell():
    report = optimized().explain()
    assert report.splitlines() == [
        "sod2jax report of attention",
        "",
        "so far: 0 calls, 0 traces, 0 compiles (0.00 s, added over threads), 0 exact "
        "fallbacks, padding waste 0.0%; calls per bucket: none",
    ]


def test_a_program_that_is_only_traced_has_buckets_and_no_masks():
    f = optimized()
    f.analyse(normal(2, 3, 4), W)
    report = f.explain()
    assert "x: float32[b,s,4]" in report
    assert "buckets:\n  b: 3\n  s: 4, 8\n  none compiled yet" in report
    assert "masks" not in report


def test_buckets_without_an_upper_bound_grow():
    f = optimized(lambda x: x * 2, shapes=("s",), buckets=None)
    f(normal(3))
    assert "buckets:\n  s: grows by powers of two\n  [s=16] compiled in" in f.explain()


def test_each_program_says_what_its_trace_relied_on():
    def scaled(x):
        return x * 2 if x.shape[0] > 4 else x

    f = optimized(scaled, shapes=("s",), buckets={"s": (8,)})
    for size in (3, 6):
        f(normal(size))
    report = f.explain()
    source = f"{__file__}:{inspect.getsourcelines(scaled)[1] + 1} (scaled)"
    assert "for 1 <= s <= 4" in report
    assert f"guard: s <= 4 at {source}" in report
    assert "for 5 <= s <= 8" in report
    assert f"only where s >= 5 (decided at {source})" in report


def test_what_repeats_is_told_once():
    f = optimized(
        lambda x: (jnp.exp(x).sum(), jnp.cos(x).sum()), shapes=("s",), buckets={"s": (8,)}
    )
    f(normal(3))
    report = f.explain()
    assert "relied on: zeros in the pad lanes of inputs, where calls put them\n" in report
    assert "masks: 2 inserted, on 64 B\n" in report
    assert "pad lanes of s filled with 0 (32 B); the sum would count them (2 times)\n" in report


def test_what_runs_with_exact_shapes_is_told_with_its_reason():
    f = sod2jax.optimize(lambda x: lax.approx_max_k(x, 1), shapes=("s",))
    with pytest.warns(ExactFallbackWarning):
        f(normal(3))
    assert "runs with exact shapes: primitive 'approx_top_k'" in f.explain()
    assert "1 exact fallback," in f.explain()
