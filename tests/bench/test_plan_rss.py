"""What calls add to a process: large blocks that are alive at once count, also once freed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sod2jax.bench import plan_rss

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux forgets peaks")
MB = 1 << 20


def test_what_a_call_needs_meanwhile_counts_once() -> None:
    def run() -> float:
        return float(np.ones(64 * MB, np.int8).sum())

    grown = plan_rss.grown(run)
    assert grown is None or 60 * MB < grown < 100 * MB


@pytest.mark.slow
def test_every_version_has_a_process_of_its_own() -> None:
    jit, ours = (plan_rss.growth("short minor axis 512", v, None) for v in ("jit", "forms"))
    assert jit is None or (0 <= jit < 50 * MB and 0 <= (ours or 0) < 50 * MB)
