"""What XLA assigns to all models at their largest bucket, against `jax.jit` at that shape.

On the CPU, at `tiny` sizes, with the version that the model chooses.
"""

from __future__ import annotations

import jax
import pytest

from models import NAMES
from tests.aot.compiled import both

AIM = 1.05


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", NAMES)
def test_temporaries_on_a_cpu(name: str) -> None:
    ours, plain = both(name, jax.devices("cpu")[0])
    assert ours.temp_bytes and plain.temp_bytes
    assert ours.temp_bytes <= AIM * plain.temp_bytes
