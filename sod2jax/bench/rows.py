"""Rows of the special benches: by which clock they are measured, and where they are written."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--clock`` and ``--json``."""
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: of all threads, on a busy machine"
    )
    parser.add_argument("--json", type=Path, help="where to write the results, too")


def write(rows: Sequence[Any], path: Path | None) -> None:
    """Writes dataclasses as JSON, if there is a path."""
    if path is not None:
        path.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
