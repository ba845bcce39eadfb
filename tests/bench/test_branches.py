"""The benchmark of branches measures, and says what the compiler decides."""

from __future__ import annotations

import pytest

from bench import branches


@pytest.mark.parametrize(
    ("name", "size", "decision"), [("add", 1, "select"), ("matmul", 64, "cond")]
)
def test_a_row(name: str, size: int, decision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, "SECONDS", 0.01)
    cells = branches.row(name, size).split()
    assert cells[:2] == [name, str(size)] and cells[-1] == decision
    assert len(list(map(float, cells[2:-1]))) == 4
