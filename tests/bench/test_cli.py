from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sod2jax.bench import child, cli, runner, worker
from sod2jax.bench.settings import Case, Settings

TINY = ["--size", "tiny", "--requests", "3", "--passes", "2", "--batch", "1"]
PNG = b"\x89PNG\r\n\x1a\n"
ROW_KEYS = [
    "model",
    "size",
    "batch",
    "method",
    "executables",
    "compile_s",
    "cold_s",
    "warm_s",
    "median_ms",
    "p90_ms",
    "waste",
    "rss_mb",
    "peak_bytes",
    "max_error",
    "requests",
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current folder without models/ and bench/."""
    monkeypatch.chdir(tmp_path)


def test_run_prints_a_table_and_saves_json_and_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", "out.json", "--plot", "out.png"]
    assert cli.main([*TINY, "--methods", "jit-pow2,jit-exact", *files]) == 0
    printed = capsys.readouterr().out
    assert "built-in encoder" in printed
    assert "3 requests" in printed
    assert "jit-pow2" in printed
    assert "…" not in printed

    report = json.loads((tmp_path / "out.json").read_text())
    assert list(report) == ["environment", "rows"]
    listed = {"python", "jax", "jaxlib", "numpy", "sod2jax", "platform", "cpu_count", "date"}
    assert listed | {"device_kind"} <= set(report["environment"])
    assert [row["method"] for row in report["rows"]] == ["jit-exact", "jit-pow2"]
    for row in report["rows"]:
        assert list(row) == ROW_KEYS
        assert (row["model"], row["size"], row["batch"]) == ("encoder", "tiny", 1)
        assert list(row["peak_bytes"]) == ["min", "median", "max"]
        assert row["max_error"] < 1e-5
        assert len(row["requests"]) == 3
        assert list(row["requests"][0]) == ["dims", "cold_ms", "warm_ms"]
        assert list(row["requests"][0]["dims"]) == ["s"]
        assert row["rss_mb"] > 50
    assert (tmp_path / "out.png").read_bytes().startswith(PNG)


def test_runs_as_a_module() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "sod2jax.bench", "--methods", "fast"],
        capture_output=True,
        text=True,
        env=child.environment(),
    )
    assert process.returncode == 2
    assert process.stderr.startswith("python -m sod2jax.bench: error: unknown method 'fast'")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "codebert"], "unknown model 'codebert'; known: encoder"),
        (["--size", "huge"], "unknown size 'huge'; known: tiny, small"),
        (["--methods", "sod2jax", "eager"], "unknown method 'eager'"),
        (["--methods", ","], "--methods: expected at least one"),
        (["--batch", "0"], "--batch: '0' is not a positive number"),
        (["--batch", "1,x"], "--batch: 'x' is not a positive number"),
        (["--requests", "-3"], "--requests: '-3' is not a positive number"),
        (["--requests", "2.5"], "--requests: '2.5' is not a positive number"),
        (["--passes", "0"], "--passes: '0' is not a positive number"),
        (["--seed", "-1"], "--seed: '-1' is not a number from 0"),
        (["--json", "none/out.json"], "--json: no folder"),
        (["--json", "."], "--json: cannot write"),
        (["--plot", "out.pdf"], "--plot: out.pdf does not end in .png"),
        (["--weights", "w.safetensors"], "--weights: the model 'encoder' has no weights to load"),
        (["--model", "all"], "--model all: no suite in bench/suites that jit-exact"),
        (["--model", "all", "--size", "tiny"], "--size: means one model, not --model all"),
        (["--model", "all", "--plot", "out.png"], "--plot: means one model, not --model all"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_wrong_arguments_exit_2_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_missing_extra_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--plot", "out.png"])
    assert exit_.value.code == 2
    assert "needs matplotlib: pip install 'sod2jax[bench]'" in capsys.readouterr().err


@pytest.fixture
def make_suite(tmp_path: Path) -> Callable[..., None]:
    """Writes a suite: the built-in one, with a line of Python that may change it."""

    def make(change: str, pads_by_hand: bool = True, name: str = "own") -> None:
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "bench" / "suites").mkdir(parents=True, exist_ok=True)
        source = (
            "import dataclasses\n"
            "import numpy as np\n"
            "from sod2jax.bench import builtin\n"
            "def build(*args, **options):\n"
            "    suite = builtin.build(*args, **options)\n"
            f"    {change}\n"
            "    return suite\n"
            "SUITE = dataclasses.replace(builtin.SUITE, about='a suite of my own', build=build,"
            f" pads_by_hand={pads_by_hand})\n"
        )
        (tmp_path / "bench" / "suites" / f"{name}.py").write_text(source)

    return make


def test_suite_of_the_current_folder_and_a_wrong_result(
    make_suite: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    make_suite(
        "suite = dataclasses.replace(suite, trim=lambda y, d: np.asarray(y)[:, : d['s']] + 1)"
    )
    assert cli.main([*TINY, "--methods", "jit-exact", "jit-pad-max"]) == 1
    printed = capsys.readouterr()
    assert "a suite of my own" in printed.out
    assert "1.0e+00" in printed.out
    assert "jit-pad-max at batch 1 differs from jit-exact by 1.0e+00" in printed.err


def test_failed_method_is_shown_and_the_others_run(
    make_suite: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    make_suite("suite = dataclasses.replace(suite, pad=None)")
    assert cli.main([*TINY, "--methods", "jit-exact", "jit-pad-max", "--json", "o.json"]) == 1
    printed = capsys.readouterr().out
    assert "jit-pad-max at batch 1 failed: exit status 1" in printed
    assert "ValueError: the suite encoder is not padded by hand" in printed
    rows = json.loads(Path("o.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["jit-exact"]


def test_suite_that_cannot_be_padded_by_hand(
    make_suite: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    make_suite("suite = dataclasses.replace(suite, pad=None, trim=None)", pads_by_hand=False)
    assert cli.main([*TINY, "--json", "o.json"]) == 0
    rows = json.loads(Path("o.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["jit-exact", "sod2jax"]

    with pytest.raises(SystemExit):
        cli.main(["--methods", "sod2jax", "jit-pow2"])
    assert "jit-pow2: own cannot be padded by hand" in capsys.readouterr().err


def test_all_suites_are_one_table(
    make_suite: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    make_suite("pass", name="first")
    make_suite("suite = dataclasses.replace(suite, pad=None, trim=None)", False, name="second")
    options = ["--requests", "2", "--passes", "1", "--methods", "jit-exact", "jit-pow2"]
    assert cli.main(["--model", "all", "--quick", *options, "--json", "o.json"]) == 0
    printed = capsys.readouterr().out
    assert "2 models: 2 requests each" in printed
    assert printed.count("XLA peak MB") == 1
    lines = [line.split()[:4] for line in printed.splitlines() if "jit-" in line]
    assert lines == [
        ["first", "tiny", "1", "jit-exact"],
        ["first", "tiny", "1", "jit-pow2"],
        ["second", "tiny", "1", "jit-exact"],
    ]
    rows = json.loads(Path("o.json").read_text())["rows"]
    assert [list(row) for row in rows] == [ROW_KEYS] * 3
    names = [[row["model"], row["size"], str(row["batch"]), row["method"]] for row in rows]
    assert names == lines


def test_failures_and_wrong_results_among_all_suites_are_named(
    make_suite: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    make_suite("raise RuntimeError('out of order')", False, name="broken")
    change = "suite = dataclasses.replace(suite, trim=lambda y, d: np.asarray(y)[:, : d['s']] + 1)"
    make_suite(change, name="wrong")
    options = ["--requests", "2", "--passes", "1", "--methods", "jit-exact", "jit-pad-max"]
    assert cli.main(["--model", "all", "--quick", *options, "--json", "o.json"]) == 1
    printed = capsys.readouterr()
    assert "broken: jit-exact at batch 1 failed: exit status 1" in printed.out
    assert "RuntimeError: out of order" in printed.out
    assert "wrong: jit-pad-max at batch 1 differs from jit-exact by 1.0e+00" in printed.err
    rows = json.loads(Path("o.json").read_text())["rows"]
    assert [row["model"] for row in rows] == ["wrong", "wrong"]


def test_all_suites_are_those_of_this_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(root)
    parser = cli._make_parser()
    settings = cli._settings(parser, parser.parse_args(["--model", "all", "--quick"]))
    cases = {case.model: case for case in settings.cases}
    assert sorted(cases) == sorted(path.stem for path in (root / "bench" / "suites").glob("*.py"))
    assert cases["codebert"].methods == ("jit-exact", "jit-pad-max", "jit-pow2", "sod2jax")
    assert cases["conformer"].methods == ("jit-exact", "sod2jax")
    assert cases["codebert"].size == cases["conformer"].size == "tiny"
    assert (settings.batches, settings.requests) == ((1,), cli.ALL_QUICK_REQUESTS)
    default = cli._settings(parser, parser.parse_args(["--model", "all"]))
    sizes = {case.model: case.size for case in default.cases}
    assert sizes["codebert"] == "small" and default.requests == cli.ALL_REQUESTS


def test_broken_suite_exits_2(
    make_suite: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    make_suite("return (")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--model", "own"])
    assert exit_.value.code == 2
    assert "cannot load the suite" in capsys.readouterr().err


def test_job_survives_json(tmp_path: Path) -> None:
    case = Case(None, "", "encoder", "tiny", ("jit-pow2",))
    settings = Settings(
        cases=(case,),
        batches=(1,),
        requests=3,
        passes=1,
        seed=0,
        weights=None,
        json=None,
        plot=None,
    )
    job = runner._job(settings, case, 1, "jit-pow2", tmp_path, compare=False)
    assert job.reference is None
    assert worker.Job(**json.loads(json.dumps(vars(job)))) == job
