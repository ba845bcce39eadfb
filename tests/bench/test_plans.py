"""The bench of versions: every program runs in all of them, exactly; a row says what it took."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from sod2jax.bench import plan_runs, plans
from sod2jax.bench.plan_models import PLANNED, matching
from sod2jax.bench.plan_programs import Planned

ROOT = Path(__file__).resolve().parents[2]
SUITES = sorted(path.stem for path in (ROOT / "bench" / "suites").glob("*.py"))


def small(name: str) -> Planned:
    """A program with a bucket that compiles and runs quickly."""
    planned = next(p for p in PLANNED if p.name == name)
    return dataclasses.replace(planned, bucket={"n": 12}, smaller={"n": 7})


def check_exactness(planned: Planned, tune: str) -> None:
    """Compares a version with `jax.jit` at the bucket's own shape and at the smaller size."""
    arguments = plan_runs.arguments_of(planned)
    executable, program = plan_runs.compiled(planned, tune, arguments[0][1])
    for sizes, args in arguments:
        got = plan_runs.runs(executable, program, args, sizes)()
        wanted = jax.tree.leaves(jax.jit(planned.fun)(*args))
        for padded, exact in zip(got, wanted, strict=True):
            seen = np.asarray(padded)[tuple(map(slice, exact.shape))]
            scale = np.abs(exact).max()
            np.testing.assert_allclose(seen, exact, rtol=1e-4, atol=1e-5 * scale)


def test_programs_have_names_of_their_own() -> None:
    assert len({planned.name for planned in PLANNED}) == len(PLANNED)
    for planned in PLANNED:
        assert planned.smaller.keys() == planned.bucket.keys()
        assert all(n < planned.bucket[name] for name, n in planned.smaller.items())


def test_rows_say_what_each_version_took() -> None:
    rows = plans.measure(small("max pool 5x5 56"), ["masks alone", "forms"], 1, lambda name: 5000)
    assert [row.version for row in rows] == ["jit", "masks alone", "forms"]
    for row in rows:
        assert row.seconds.keys() == {"wall", "cpu"} and row.compiling > 0
        assert all(len(took) == 2 and min(took) > 0 for took in row.seconds.values())
        assert (row.bucket, row.smaller, row.rss) == ({"n": 12}, {"n": 7}, 5000)
    assert [row.chosen for row in rows] == ["", "plain", "forms"]


def test_the_table_and_the_plot_have_ratios_to_jit() -> None:
    jit = plans.Row("net", "jit", {}, {}, {"cpu": (2.0, 1.0)}, 4_000_000, None, 1.5)
    ours = dataclasses.replace(
        jit,
        version="full",
        seconds={"cpu": (1.0, 0.8)},
        temporaries=0,
        rss=3_000_000,
        chosen="rows",
    )
    assert plans.lines([jit, ours], "cpu") == [
        ["net", "jit", "2000.00 ms", "1000.00 ms", "4.00 MB", "-", "1.50 s", ""],
        ["net", "full", "0.50", "0.80", "0.00 MB", "3.00 MB", "1.50 s", "rows"],
    ]
    assert plans.ratios([jit, ours], "cpu") == {
        "cpu time": {"net": {"full": 0.5}},
        "at a smaller size": {"net": {"full": 0.8}},
        "temporaries": {"net": {"full": 0.0025}},
    }
    none = dataclasses.replace(jit, temporaries=0)
    assert plans.ratios([none, ours], "cpu")["temporaries"] == {"net": {"full": None}}


def test_sizes_that_decide_between_programs_are_refused() -> None:
    planned = Planned(
        "by size",
        lambda x: x if x.shape[0] > 8 else x + 1,  # a guard
        ("n",),
        lambda rng, sizes: (np.ones(sizes["n"], np.float32),),
        {"n": 12},
        {"n": 7},
    )
    with pytest.raises(ValueError, match=r"another program at {'n': 7}: n - 1 >= 8"):
        plan_runs.built(planned, "masks alone", plan_runs.arguments_of(planned))


@pytest.mark.slow
@pytest.mark.parametrize("planned", PLANNED, ids=lambda planned: planned.name)
@pytest.mark.parametrize("tune", ["none", "off"])
def test_every_program_is_exact(planned: Planned, tune: str) -> None:
    check_exactness(small(planned.name), tune)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("tune", ["none", "off"])
def test_every_model_is_exact(name: str, tune: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (planned,) = matching(f"model {name} *", "tiny")
    check_exactness(planned, tune)


@pytest.mark.slow
def test_a_run_writes_draws_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    files = {name: tmp_path / f"out.{name}" for name in ("json", "png")}
    options = ["--program", "max pool*", "--rounds", "1", "--versions", "fast"]
    options += ["--json", str(files["json"]), "--plot", str(files["png"])]
    assert plans.main(options) == 0
    rows = json.loads(files["json"].read_text())
    assert [row["version"] for row in rows] == ["jit", "fast"] * 2
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    head, _, *printed = capsys.readouterr().out.splitlines()
    assert head.startswith("| program | version | time | smaller |")
    assert [row["program"] for row in rows] == [line.split(" | ")[0][2:] for line in printed]


def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--versions", "fastest"], ["--program", "none of these"]):
        with pytest.raises(SystemExit):
            plans.main(wrong)
        assert wrong[1] in capsys.readouterr().err


def test_repeats_are_of_calls_that_take_a_while() -> None:
    assert plans._repeats(lambda: time.sleep(0.05)) == 1
