"""Every harness equals plain ``jax.jit``, whatever the padding holds."""

from __future__ import annotations

import pytest

from tests.harnesses import Harness, all_harnesses, check


@pytest.mark.parametrize("harness", [pytest.param(h, id=n) for n, h in all_harnesses().items()])
def test_equals_jit(harness: Harness) -> None:
    check(harness)
