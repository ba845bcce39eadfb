"""The coverage page says what the tables say."""

from __future__ import annotations

from tests.coverage_page import PAGE, page


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.coverage_page"
