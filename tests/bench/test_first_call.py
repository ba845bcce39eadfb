"""The bench of first calls: every program pads, and a row says what was measured."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from sod2jax.bench import first_call
from sod2jax.bench.programs import PROGRAMS


def test_there_are_ten_programs() -> None:
    assert len({program.name for program in PROGRAMS}) == 10


def test_first_calls_are_timed_and_those_of_new_sizes() -> None:
    program = next(p for p in PROGRAMS if p.name == "loop over rows")
    row = first_call.measure(program, 1, time.perf_counter)
    assert 0 < row.analysis < row.sod2jax[0]
    assert row.sod2jax[1] < row.jit[1]
    assert row.exact == 0


@pytest.mark.slow
def test_a_run_writes_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    options = ["--program", "loop*", "--repeats", "1", "--clock", "cpu", "--json", str(path)]
    assert first_call.main(options) == 0
    (row,) = json.loads(path.read_text())
    assert row["program"] == "loop over rows"
    assert capsys.readouterr().out.startswith("| program | jit first | jit new size | first |")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_every_program_pads_and_is_exact(program) -> None:
    optimized = first_call.optimized(program)
    for n in (2, *first_call.SIZES):
        args = program.arguments(np.random.default_rng(n), n)
        got, wanted = (
            optimized.run(args, {}, poison=True, foreign=True),
            jax.jit(program.fun)(*args),
        )
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)
    assert optimized.stats().exact_fallbacks == 0
    assert optimized.stats().compiles == 1


def test_the_table_tells_calls_that_ran_with_exact_shapes() -> None:
    row = first_call.Row("net", (2.0, 1.0), (3.0, 0.002), 0.5, 2)
    last = first_call.table([row]).splitlines()[-1]
    assert last == "| net (2 exact) | 2.00 | 1.00 | 3.00 | 0.50 | 0.002 | 1.50 |"
