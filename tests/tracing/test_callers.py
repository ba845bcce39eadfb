"""Calls that Python code makes are told from those of compiled code."""

from __future__ import annotations

import functools
import sys

import numpy as np
import pytest

from sod2jax.tracing import callers

SEEN = []


def original(*args, **kwargs):
    return args, kwargs


@functools.wraps(original)
def standin(*args, **kwargs):
    SEEN.append(callers.calls(sys._getframe(1), original))


class Module:
    original = staticmethod(standin)


BY_PYTHON = {
    "variable": lambda: standin(1),
    "attribute": lambda: Module.original(1, k=2),
    "star": lambda: Module.original(*[1], **{"k": 2}),
    "inside_another": lambda: print(Module.original(sorted([2, 1])), end=""),
    "several_lines": lambda: Module.original(
        1,
        k=2,
    ),
    "local": lambda: (lambda f: f(1))(standin),
    "partial": lambda: (lambda f: f(1))(functools.partial(standin, 2)),
    "chained": lambda: [Module.original(1), Module.original(2)][0],
}
BY_OTHERS = {
    "map": lambda: list(map(standin, [1])),
    "sorted": lambda: sorted([1], key=standin),
    "reduce": lambda: functools.reduce(standin, [1, 2]),
    "defaultdict": lambda: __import__("collections").defaultdict(standin)[1],
    "vectorize": lambda: np.frompyfunc(standin, 1, 1)(1),
}


@pytest.mark.parametrize("name", BY_PYTHON)
def test_calls_of_python_code(name):
    SEEN.clear()
    BY_PYTHON[name]()
    assert SEEN and all(SEEN)


@pytest.mark.parametrize("name", BY_OTHERS)
def test_calls_of_compiled_code(name):
    SEEN.clear()
    BY_OTHERS[name]()
    assert SEEN and not any(SEEN)
