"""Runs every method in a fresh process, one after another, and collects their rows."""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sod2jax.bench import child
from sod2jax.bench.methods import REFERENCE
from sod2jax.bench.settings import Case, Settings
from sod2jax.bench.worker import TICK, Job

_BUSY_PERCENT = 25
_LOG_LINES = 12


@dataclass(frozen=True)
class Failure:
    """A worker that gave no result; `log` is the end of what it wrote to stderr."""

    model: str
    method: str
    batch: int
    log: str


@dataclass(frozen=True)
class Results:
    """What a run gave: rows of the table, in the JSON's schema, and what went wrong."""

    environment: dict[str, Any]
    rows: list[dict[str, Any]]
    failures: list[Failure]


def run(settings: Settings) -> Results:
    """Runs every case at every batch size by all its methods, with progress bars on stderr."""
    console = Console(stderr=True)
    environment = _environment(settings)
    if environment["busy_percent"] > _BUSY_PERCENT:
        busy = environment["busy_percent"]
        console.print(f"[yellow]Other programs use {busy:.0f}% of the CPU: expect noise.[/]")
    rows, failures = [], []
    for case, batch in itertools.product(settings.cases, settings.batches):
        for result in _run_methods(settings, case, batch, console):
            if isinstance(result, Failure):
                failures.append(result)
                continue
            rows.append(result["row"])
            environment.update(result["device"])
    return Results(environment, rows, failures)


def _run_methods(
    settings: Settings, case: Case, batch: int, console: Console
) -> list[dict[str, Any] | Failure]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[phase]}"),
        TimeElapsedColumn(),
    )
    results: list[dict[str, Any] | Failure] = []
    compare = REFERENCE in case.methods
    with (
        Progress(*columns, console=console) as progress,
        tempfile.TemporaryDirectory(prefix="sod2jax-bench-") as folder,
    ):
        for method in case.methods:
            job = _job(settings, case, batch, method, Path(folder), compare)
            results.append(_run_one(job, progress))
            if method == REFERENCE and isinstance(results[-1], Failure):
                compare = False
    return results


def _job(
    settings: Settings, case: Case, batch: int, method: str, folder: Path, compare: bool
) -> Job:
    return Job(
        suite=None if case.suite is None else str(case.suite),
        model=case.model,
        size=case.size,
        batch=batch,
        method=method,
        requests=settings.requests,
        passes=settings.passes,
        seed=settings.seed,
        weights=None if settings.weights is None else str(settings.weights.resolve()),
        reference=str(folder) if compare else None,
        result=str(folder / f"{method}.json"),
    )


def _run_one(job: Job, progress: Progress) -> dict[str, Any] | Failure:
    total = job.requests * (1 + job.passes)
    name = f"{job.model} {job.method:<11} batch {job.batch}"
    task = progress.add_task(name, total=total, phase="starting")

    done = itertools.count(1)

    def tick() -> None:
        completed = next(done)
        turn = completed // job.requests
        phase = "done" if completed == total else f"warm {turn}" if turn else "cold"
        progress.update(task, completed=completed, phase=phase)

    status, log = run_worker(job, tick, progress.console.print)
    if status == 0:
        if log:
            progress.console.print(f"{name}: {log}", style="dim", markup=False, highlight=False)
        return json.loads(Path(job.result).read_text())
    progress.update(task, phase="[red]failed[/]")
    progress.stop_task(task)
    log = "\n".join(log.splitlines()[-_LOG_LINES:]) or "it wrote nothing"
    return Failure(job.model, job.method, job.batch, f"exit status {status}\n{log}")


def run_worker(job: Job, tick: Callable[[], None], echo: Callable[[str], None]) -> tuple[int, str]:
    """Runs a job in a fresh interpreter.

    Args:
      job: what to run.
      tick: called after each request.
      echo: called with every other line the worker prints.

    Returns:
      The exit status and everything written to stderr.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sod2jax.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=child.environment(),
        )
        assert process.stdin is not None and process.stdout is not None
        with process:
            try:
                process.stdin.write(json.dumps(asdict(job)))
                process.stdin.close()
                for line in process.stdout:
                    text = line.rstrip("\n")
                    tick() if text == TICK else echo(text)
            except BaseException:
                process.kill()
                raise
        log.seek(0)
        return process.returncode, log.read().strip()


def _environment(settings: Settings) -> dict[str, Any]:
    versions = {name: _version(name) for name in ("jax", "jaxlib", "numpy", "sod2jax")}
    return {
        "python": platform.python_version(),
        **versions,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "busy_percent": psutil.cpu_percent(interval=0.3),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": settings.seed,
        "passes": settings.passes,
        "weights": None if settings.weights is None else settings.weights.name,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
