"""The models of ``bench/suites`` as programs to compare versions of, and the choice of programs."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sod2jax.bench.plan_classes import CLASSES
from sod2jax.bench.plan_programs import FORMS, Planned, Sizes
from sod2jax.bench.programs import Arguments
from sod2jax.bench.suite import Inputs, Suite, find_suites, load_file
from sod2jax.ir import dims

PLANNED = (*FORMS, *CLASSES)
_REQUESTS = 9  # of which the median one is run


class NoSuchSizeError(ValueError):
    """A model has no configuration of that name."""


def matching(pattern: str, size: str | None = None, long: bool = False) -> Iterator[Planned]:
    """Yields the programs whose names match a pattern; models are built when their turn comes.

    Args:
      pattern: as a shell has it.
      size: configuration of models, as their suites define them; by default each suite's default.
      long: whether to yield those, too, that take seconds for one run.

    Raises:
      NoSuchSizeError: before anything is yielded, if a model that matches has no such size.
    """
    models = {}
    for stem, path in find_suites().items():
        file = load_file(path).SUITE
        name = f"model {stem} {size or file.default_size}"
        if not fnmatch.fnmatch(name, pattern):
            continue
        if size not in (None, *file.sizes):
            raise NoSuchSizeError(f"{stem} has no size {size!r}; it has: {', '.join(file.sizes)}")
        models[name] = path, size or file.default_size
    yield from (p for p in PLANNED if fnmatch.fnmatch(p.name, pattern) and (long or not p.long))
    yield from (of_suite(name, *where) for name, where in models.items())


def of_suite(name: str, path: Path, size: str) -> Planned:
    """A model at the shape of its largest bucket, and at that of a request of medium size."""
    suite: Suite = load_file(path).SUITE.build(size, batch=1, requests=_REQUESTS, seed=0)
    ordered = sorted(suite.requests, key=lambda inputs: math.prod(suite.dims(inputs).values()))
    request = ordered[_REQUESTS // 2]
    smaller = suite.dims(request)

    def arguments(rng: np.random.Generator, sizes: Sizes) -> Arguments:
        del rng  # requests are what they are
        return suite.params, *(request if sizes == smaller else enlarged(suite, request, sizes))

    return Planned(
        name,
        suite.fun,
        suite.shapes,
        arguments,
        dict(suite.maximum),
        smaller,
        tuple(suite.constraints),
    )


def enlarged(suite: Suite, request: Inputs, sizes: Sizes) -> Inputs:
    """Inputs of other true sizes: as one pads by hand, or the request repeated."""
    if suite.pad is not None:
        # Without the mask that it may add: all of it counts.
        return suite.pad(request, sizes)[: len(request)]
    return tuple(
        repeated(array, spec, sizes) for array, spec in zip(request, suite.shapes[1:], strict=True)
    )


def repeated(array: np.ndarray, spec: str | None, sizes: Sizes) -> np.ndarray:
    """An array as large as its spec says, filled with itself again and again."""
    if spec is None:
        return array
    parts = [part.strip() for part in spec.split(",")]
    shape = [
        n if part == "_" else dims.evaluate(dims.parse(part), sizes)
        for part, n in zip(parts, array.shape, strict=True)
    ]
    for axis, n in enumerate(shape):
        array = array.take(np.arange(n) % array.shape[axis], axis)
    return array
