"""Random Python programs about sizes give what ``jax.jit`` gives, or say that they do not."""

from __future__ import annotations

import collections

import jax
import numpy as np
import pytest

from tests.fuzz.python_programs.failures import FAILURES
from tests.fuzz.python_programs.failures import program as small
from tests.fuzz.python_programs.generate import FEATURES, Program, generate
from tests.fuzz.python_programs.judge import arguments, judge, loaded, plainly
from tests.fuzz.python_programs.shrink import shrunk

UNSEEN = "int.__class__(x.shape[0])"


def judged(program: Program, compiled: bool = False) -> str:
    verdict = judge(program, compiled)
    assert not verdict.is_failure, f"{verdict.kind}: {verdict.detail}\n{program}"
    return verdict.kind


def test_programs_are_right_or_flagged():
    kinds = collections.Counter(judged(generate(seed)) for seed in range(16))
    assert kinds["same"] > 2, kinds


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(20))
def test_many_programs_are_right_or_flagged(hundred):
    for seed in range(100 * hundred, 100 * (hundred + 1)):
        judged(generate(seed))


@pytest.mark.slow
def test_programs_are_right_when_compiled():
    for seed in range(2000, 2030):
        judged(generate(seed), compiled=True)


@pytest.mark.parametrize("name", FAILURES)
def test_past_failures_are_right_or_flagged(name):
    judged(FAILURES[name])


def test_a_wrong_program_is_found():
    """No hook sees ``type`` by another name, and nobody audits."""
    body = f"return x * (2 if {UNSEEN} is int else 3)"
    assert judge(small(body, ("n",), bare=False)).kind == "wrong"


def test_a_failure_is_made_small():
    body = f"k = x.sum() + 1\nif x.shape[0] > 2:\n    k = k + (2 if {UNSEEN} is int else 3)"
    failing = small(f"{body}\nreturn x, k", ("n",), bare=False)
    smaller, verdict = shrunk(failing, judge(failing))
    assert verdict.kind == "wrong"
    assert UNSEEN in smaller.body
    assert len(smaller.body) < 0.7 * len(failing.body)


def test_numpy_runs_programs_as_jax_does():
    for seed in range(6):
        program = generate(seed)
        inputs = arguments(program, program.points[0])
        try:
            want = jax.jit(loaded(program))(*inputs)
        except Exception:
            continue
        seen = plainly(loaded(program))(*inputs)
        assert jax.tree.structure(seen) == jax.tree.structure(want)
        for a, b in zip(jax.tree.leaves(seen), jax.tree.leaves(want), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_features_can_be_left_out():
    programs = [generate(seed, frozenset({"text", "grad", "fftgrad"})) for seed in range(50)]
    assert all("grad(" not in program.body for program in programs)
    seen = frozenset().union(*(generate(seed).features for seed in range(300)))
    assert FEATURES - seen <= {"escape", "scalar"}
