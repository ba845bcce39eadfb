"""How much calls of one version make a process grow: ``--rss`` of ``sod2jax.bench.plans``.

Memory that a process has had stays with it, so each version has a process of its own. There glibc
gives large blocks back as soon as they are free, and Linux forgets the peak before the calls that
count; elsewhere nothing is known.
"""

from __future__ import annotations

import glob
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from sod2jax.bench import child
from sod2jax.bench.measure import peak_rss_bytes
from sod2jax.bench.plan_models import matching
from sod2jax.bench.plan_runs import arguments_of, built

_CALLS = 3
_FORGET_PEAK = Path("/proc/self/clear_refs")
_GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 17), "MALLOC_TRIM_THRESHOLD_": str(1 << 17)}


def growth(program: str, version: str, size: str | None) -> int | None:
    """Peak bytes that calls at the bucket's own shape add to a new process, results included.

    None where the platform does not say.

    Args:
      program: its name.
      version: of it.
      size: configuration of models, as ``matching`` takes it.

    Raises:
      subprocess.CalledProcessError: the process failed; its output is on stderr.
    """
    done = subprocess.run(
        [sys.executable, "-m", "sod2jax.bench.plan_rss"],
        input=json.dumps([program, version, size]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**child.environment(), **_GIVE_BACK},
    )
    return json.loads(done.stdout.splitlines()[-1])


def grown(run: Callable[[], Any]) -> int | None:
    """Peak bytes that calls add to this process."""
    jax.block_until_ready(run())  # what is made at the first call stays
    try:
        _FORGET_PEAK.write_text("5")
    except OSError:
        return None
    before = peak_rss_bytes()
    for _ in range(_CALLS):
        jax.block_until_ready(run())
    return peak_rss_bytes() - before


def _run(program: str, version: str, size: str | None) -> int | None:
    (planned,) = matching(glob.escape(program), size, long=True)
    return grown(built(planned, version, arguments_of(planned)[:1]).calls[0])


if __name__ == "__main__":
    print(json.dumps(_run(*json.load(sys.stdin))))
