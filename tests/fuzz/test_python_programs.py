"""Random Python programs about sizes give what ``jax.jit`` gives, or say that they do not."""

from __future__ import annotations

import collections

import jax
import numpy as np
import pytest

from tests.fuzz.python_programs.failures import FAILURES
from tests.fuzz.python_programs.generate import FEATURES, Program, generate
from tests.fuzz.python_programs.grammar import PREAMBLE
from tests.fuzz.python_programs.judge import arguments, judge, loaded, plainly


def judged(program: Program, compiled: bool = False) -> str:
    verdict = judge(program, compiled)
    assert not verdict.is_failure, f"{verdict.kind}: {verdict.detail}\n{program}"
    return verdict.kind


def test_programs_are_right_or_flagged():
    kinds = collections.Counter(judged(generate(seed)) for seed in range(40))
    assert kinds["same"] > 5, kinds


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
    """The judge sees what a size decides in a way that no trace can tell."""
    hidden = "import gc\n\ndef f(x):\n    return x * len(gc.get_referents(x.shape)[0].__class__.__name__)"
    program = Program(0, PREAMBLE + hidden, ("n",), {"shapes": ("n",)}, ({"n": 3}, {"n": 5}))
    assert judge(program).kind == "wrong"


def test_numpy_runs_programs_as_jax_does():
    for seed in range(12):
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
    programs = [generate(seed, frozenset({"text", "grad"})) for seed in range(50)]
    assert all("grad(" not in program.body for program in programs)
    seen = frozenset().union(*(generate(seed).features for seed in range(300)))
    assert FEATURES - seen <= {"scalar", "escape"}
