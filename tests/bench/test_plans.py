"""The bench of versions: every program runs in all of them, exactly; a row says what it took."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from sod2jax.bench import plans
from sod2jax.bench.plan_programs import PLANNED, Planned

SMALL = {planned.program.name: planned for planned in PLANNED}


def small(name: str) -> Planned:
    """A program with a bucket that compiles and runs quickly."""
    return dataclasses.replace(SMALL[name], bucket=12, smaller=7)


def test_programs_have_names_of_their_own() -> None:
    assert len({planned.name for planned in PLANNED}) == len(PLANNED)
    assert all(planned.smaller < planned.bucket for planned in PLANNED)


def test_rows_say_what_each_version_took() -> None:
    rows = plans.measure(small("max pool 5x5"), ["masks alone", "forms"], 1, time.perf_counter)
    assert [row.version for row in rows] == ["jit", "masks alone", "forms"]
    assert all(row.seconds > 0 and row.smaller > 0 and row.compiling > 0 for row in rows)
    lines = plans.table(rows).splitlines()
    assert lines[2].startswith("| max pool 5x5 12 | jit | ") and len(lines) == 5


@pytest.mark.slow
@pytest.mark.parametrize("planned", PLANNED, ids=lambda planned: planned.program.name)
@pytest.mark.parametrize("tune", ["none", "off"])
def test_every_program_is_exact(planned: Planned, tune: str) -> None:
    planned = small(planned.program.name)
    calls = [
        planned.program.arguments(np.random.default_rng(n), n)
        for n in (planned.bucket, planned.smaller)
    ]
    executable, program = plans.compiled(planned, tune, calls[0])
    for args in calls:
        n = next(s for leaf in jax.tree.leaves(args[0:2]) for s in np.shape(leaf) if s in (12, 7))
        got = plans._runs(executable, program, args, n)()
        wanted = jax.tree.leaves(jax.jit(planned.program.fun)(*args))
        for padded, exact in zip(got, wanted, strict=True):
            seen = np.asarray(padded)[tuple(map(slice, exact.shape))]
            scale = np.abs(exact).max()
            np.testing.assert_allclose(seen, exact, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.slow
def test_a_run_writes_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    options = ["--program", "short*", "--rounds", "1", "--versions", "fast", "--json", str(path)]
    assert plans.main(options) == 0
    assert [row["version"] for row in json.loads(path.read_text())] == ["jit", "fast"]
    assert capsys.readouterr().out.startswith("| program | version | time | smaller |")
    with pytest.raises(SystemExit):
        plans.main(["--versions", "fastest"])
