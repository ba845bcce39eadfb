"""The bench of gates: exact patterns, one row for each method, results compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sod2jax.bench import gates
from sod2jax.bench.suite import load_package

ROOT = Path(__file__).resolve().parents[2]


def test_patterns_have_the_share_that_they_say() -> None:
    masks = list(gates.patterns(gates.RATES, 8, 6, seed=0))
    assert [int(pattern.sum()) for pattern in masks] == [0, 12, 24, 36, 48]
    assert {pattern.shape for pattern in masks} == {(8, 6)}
    assert 0 < masks[2].sum(1).min() < 6  # shuffled over the examples


def test_every_gated_model_is_masks() -> None:
    load_package(ROOT / "models")
    assert {"blockdrop", "convnet_aig", "skipnet"} <= set(gates.gated_models())
    assert "codebert" not in gates.gated_models()


@pytest.mark.slow
def test_a_run_compares_all_methods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    options = "--model blockdrop --size tiny --batch 2 --image 8 --repeats 1".split()
    assert gates.main([*options, "--models", str(ROOT / "models"), "--json", str(path)]) == 0
    rows = json.loads(path.read_text())
    names = ["jit, dense mask", "jit, cond under vmap", "sod2jax, mask", "sod2jax, branches"]
    assert [row["method"] for row in rows] == names
    assert all(len(row["milliseconds"]) == len(gates.RATES) for row in rows)
    assert all(row["error"] <= gates.TOLERANCE for row in rows)
    printed = capsys.readouterr().out
    assert printed.startswith("| model | batch | method | 0% on | 25% on |")
    assert printed.count("| blockdrop | 2 |") == 4


def test_a_wrong_result_is_told() -> None:
    wanted = [np.array([1.0, -4.0])]
    assert gates.error([np.array([1.0, -4.0])], wanted) == 0
    assert gates.error([np.array([1.0, -3.0])], wanted) == 0.25


def test_the_table_has_ratios_to_all_gates_on() -> None:
    row = gates.Row("net", 8, "sod2jax, mask", (2.0, 4.0, 8.0), 1_500_000, 1e-7)
    text = gates.table([row], (0.0, 0.5, 1.0))
    last = "| net | 8 | sod2jax, mask | 2.0 (0.25) | 4.0 (0.50) | 8.0 (1.00) | 1.5 | 1e-07 |"
    assert text.splitlines()[-1] == last
