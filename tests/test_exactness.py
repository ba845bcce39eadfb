"""Every harness equals plain ``jax.jit``, whatever the padding holds."""

from __future__ import annotations

import pytest

from tests.harnesses import Harness, all_harnesses, check

CASES = [
    pytest.param(harness, id=name, marks=[pytest.mark.slow] if harness.slow else [])
    for name, harness in all_harnesses().items()
]


@pytest.mark.parametrize("harness", CASES)
def test_equals_jit(harness: Harness) -> None:
    check(harness)
