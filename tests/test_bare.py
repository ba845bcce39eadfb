"""Common one-line functions, used without specs: exact, and made of few programs."""

from __future__ import annotations

import pytest

from tests.bare_page import PAGE, page
from tests.harnesses import bare
from tests.harnesses.bare import Bare

_EVERY = 11  # one of so many entries runs in the fast tier

CASES = [
    pytest.param(entry, id=name, marks=[pytest.mark.slow] if k % _EVERY else [])
    for k, (name, entry) in enumerate(bare.ENTRIES.items())
]


@pytest.mark.parametrize("entry", CASES)
def test_equals_jit_from_few_programs(entry: Bare) -> None:
    bare.check(entry)


def test_there_are_300_common_functions_that_differ():
    assert len(bare.ENTRIES) >= 300
    functions = {line.split("|")[2] for line in page().splitlines() if line.startswith("| ")}
    assert len(functions) >= 300
    usual = [
        e for e in bare.ENTRIES.values() if (e.traces, e.executables) == (3, 4) and not e.exact
    ]
    assert len(usual) >= 400


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.bare_page"
