"""One method in one fresh process: a job comes in on stdin, progress goes out on stdout."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import jax

from sod2jax.bench import builtin
from sod2jax.bench.measure import Reference, measure
from sod2jax.bench.methods import REFERENCE
from sod2jax.bench.suite import SuiteFile, load_file

TICK = "@request done"


@dataclass(frozen=True)
class Job:
    """Everything a worker needs; travels as JSON, so paths are strings.

    Attributes:
      suite: path of the suite file; None for the built-in suite.
      model: name of the suite.
      size: one of the suite's sizes.
      batch: rows per request.
      method: one of `METHODS`.
      requests: length of the stream.
      passes: warm passes.
      seed: of the weights and the stream.
      weights: checkpoint to load instead of random weights, or None.
      reference: folder of the reference results, or None when no reference method runs.
      result: file to write the measurement to, as JSON.
    """

    suite: str | None
    model: str
    size: str
    batch: int
    method: str
    requests: int
    passes: int
    seed: int
    weights: str | None
    reference: str | None
    result: str


def load_suite_file(path: str | None) -> SuiteFile:
    """The suite file at `path`, or the built-in one."""
    return builtin.SUITE if path is None else load_file(Path(path)).SUITE


def run(job: Job) -> None:
    """Runs the job and writes its result."""
    suite = load_suite_file(job.suite).build(
        job.size,
        batch=job.batch,
        requests=job.requests,
        seed=job.seed,
        weights=None if job.weights is None else Path(job.weights),
    )
    jax.block_until_ready(suite.params)
    folder = None if job.reference is None else Path(job.reference)
    reference = Reference(folder, write=job.method == REFERENCE)
    figures = measure(job.method, suite, job.passes, reference, _tick)
    labels = {"model": job.model, "size": job.size, "batch": job.batch, "method": job.method}
    device = jax.devices()[0]
    result = {
        "row": {**labels, **figures},
        "device": {"backend": device.platform, "device_kind": device.device_kind},
    }
    Path(job.result).write_text(json.dumps(result))


def _tick() -> None:
    print(TICK, flush=True)


if __name__ == "__main__":
    run(Job(**json.loads(sys.stdin.read())))
