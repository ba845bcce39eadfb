"""Real programs whose sizes depend on values equal plain NumPy, cut and uncut."""

from __future__ import annotations

import pytest

from tests.data_dependent import PROGRAMS, check


@pytest.mark.parametrize("cut", ["never", "always"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_numpy(name: str, cut: str) -> None:
    check(PROGRAMS[name], cut)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_the_function_step_by_step(name: str) -> None:
    if name != "masked_loss_gradient":  # jax.grad traces it, also step by step
        check(PROGRAMS[name], "auto", eagerly=True)
