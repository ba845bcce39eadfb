"""The plot of versions: one panel for each quantity, whatever is missing in it."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_a_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from sod2jax.bench import plan_plot

    panels = {
        "cpu time": {"net": {"off": 0.5, "full": 1.2}, "loss": {"off": 0.9}},
        "temporaries": {"net": {"off": 0.01, "full": None}, "loss": {"off": None}},
    }
    plan_plot.save(panels, ["off", "full"], tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
