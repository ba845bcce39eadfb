"""The README's examples print what the README says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


TEXT = README.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```.*?```text\n(.*?)```", TEXT, flags=re.DOTALL)


def test_every_example_shows_its_output():
    assert len(EXAMPLES) == TEXT.count("```python") == TEXT.count("```text")


@pytest.mark.parametrize(
    ("code", "expected"), EXAMPLES, ids=["optimize", "training", "ragged_vmap", "numpy"]
)
def test_the_example_prints_its_output(code, expected):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(README), "exec"), {"__name__": "readme"})
    assert printed.getvalue() == expected


def test_the_number_of_common_functions_is_that_of_the_bare_page():
    page = (ROOT / "docs" / "bare.md").read_text(encoding="utf-8")
    said = re.findall(r"(\d+) common (?:one-line )?functions", TEXT + page)
    assert len(said) == 2 and len(set(said)) == 1
