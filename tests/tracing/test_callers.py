"""Calls of Python code are told from those of compiled code, and so is what remembers."""

from __future__ import annotations

import functools
import sys
import types

import jax
import numpy as np
import pytest

from sod2jax import _compat
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


class Key:
    """Is hashed by who is called with it."""

    def __hash__(self):
        frame = sys._getframe(1)
        listed = _compat.is_harmless_equality(frame.f_code, with_zero=False)
        SEEN.append(listed or callers.remembers(frame))
        return 0


@functools.lru_cache
def table(key):
    return key


tables = types.SimpleNamespace(
    table=table, of={"table": table}, jitted=jax.jit(lambda key: 0, static_argnums=0)
)


REMEMBERS = {
    "variable": lambda: table(Key()),
    "attribute": lambda: tables.table(Key()),
    "star": lambda: tables.table(*[Key()]),
    "keyword": lambda: table(key=Key()),
    "local": lambda: (lambda f: f(Key()))(table),
    "jit": lambda: tables.jitted(Key()),
    "several_lines": lambda: table(
        Key(),
    ),
}
DOES_NOT = {
    "builtin": lambda: hash(Key()),
    "dictionary": lambda: {Key(): 1},
    "method": lambda: tables.of.get(Key()),
    "found": lambda: tables.of["table"](Key()),
    "made": lambda: functools.lru_cache(lambda key: key)(Key()),
}


@pytest.mark.parametrize("name", [*REMEMBERS, *DOES_NOT])
def test_what_remembers(name):
    SEEN.clear()
    (REMEMBERS | DOES_NOT)[name]()
    assert SEEN and set(SEEN) == {name in REMEMBERS}
