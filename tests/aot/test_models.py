"""Temporaries of all models on devices that are not there, against those of `jax.jit`.

At `tiny` sizes, which compile in seconds. On the GPU the workspace of cuBLAS (4 MB) hides what is
smaller in the transformers, so the Conformer is compiled at `mini`, too.
"""

from __future__ import annotations

import pytest

from models import NAMES
from sod2jax.target import topology
from tests.aot.compiled import both

AIM = 1.05


@pytest.mark.cuda_aot
@pytest.mark.optimised
@pytest.mark.parametrize(
    ("name", "size"), [*((name, "tiny") for name in NAMES), ("conformer", "mini")]
)
def test_temporaries_on_an_h100(name: str, size: str) -> None:
    ours, plain = both(name, topology("h100"), size)
    assert ours.temp_bytes and plain.temp_bytes
    assert ours.temp_bytes <= AIM * plain.temp_bytes


@pytest.mark.tpu_aot
@pytest.mark.optimised
@pytest.mark.parametrize("name", NAMES)
def test_peaks_on_a_tpu(name: str) -> None:
    """There the temporaries of a program that fits into fast memory are told as 0."""
    ours, plain = both(name, topology("tpu-v5e"))
    assert ours.peak_bytes and plain.peak_bytes
    assert ours.peak_bytes <= AIM * plain.peak_bytes
