"""Every harness equals plain ``jax.jit``, whatever the padding holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harnesses import Harness, all_harnesses, check
from tests.tiers import REPORTED, repetitions

REPETITIONS = repetitions()


def marks(name: str, harness: Harness) -> Iterator[pytest.MarkDecorator]:
    if name in REPETITIONS:
        yield pytest.mark.slow
    if name in REPORTED or harness.delicate:
        yield pytest.mark.optimised


CASES = [
    pytest.param(harness, id=name, marks=tuple(marks(name, harness)))
    for name, harness in all_harnesses().items()
]


@pytest.mark.parametrize("harness", CASES)
def test_equals_jit(harness: Harness) -> None:
    check(harness)
