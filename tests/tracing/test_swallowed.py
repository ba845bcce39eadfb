"""Errors that compiled code raises for the class of a size, and a function catches, are doubts."""

from __future__ import annotations

import colorsys
import contextlib
import datetime
import inspect
import ipaddress
import json
import marshal
import pickle
import sqlite3
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import jax
import numpy as np
import pytest

import sod2jax
from sod2jax.tracing import reach, swallowed
from tests.tracing.test_guards import record

Build = Callable[[Any], Any]


def selected(n: Any) -> Any:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        return database.execute("select ?", (n,)).fetchone()[0]


COMPILED: dict[str, Build] = {
    "json": lambda n: int(json.dumps(n)),
    "in a table": lambda n: json.loads(json.dumps({"n": [n]}))["n"][0],
    "decimal": lambda n: int(Decimal(n)),
    "days": lambda n: datetime.timedelta(days=n).days,
    "pickle": lambda n: pickle.loads(pickle.dumps(n)),
    "marshal": lambda n: marshal.loads(marshal.dumps(n)),
    "database": selected,
    "address": lambda n: int(ipaddress.ip_address(n)),
    "color": lambda n: round(colorsys.rgb_to_hsv(n, n, n)[2]),
    "nested call": lambda n: int(Decimal((lambda: n)())),
}


def caught(build: Build) -> Callable[[jax.Array], Any]:
    def fun(x: jax.Array) -> Any:
        try:
            k = build(x.shape[0])
        except Exception:
            k = -1
        return x * 2 if k == 5 else x * 3

    return fun


def suppressed(x: jax.Array) -> Any:
    d = Decimal(0)
    with contextlib.suppress(TypeError):
        d = Decimal(x.shape[0])
    return x * 2 if d == 5 else x * 3


def in_finally(x: jax.Array) -> Any:
    d = 0
    try:
        d = Decimal(x.shape[0])
    finally:
        return x * 2 if d == 5 else x * 3  # noqa: B012


class Model:
    def scale(self, n: Any) -> Any:
        try:
            return Decimal(n)
        except TypeError:
            return 0

    def __call__(self, x: jax.Array) -> Any:
        return x * 2 if self.scale(x.shape[0]) == 5 else x * 3


SWALLOWED: dict[str, Callable[[jax.Array], Any]] = {
    **{name: caught(build) for name, build in COMPILED.items()},
    "suppressed": suppressed,
    "finally": in_finally,
    "method": Model(),
}


def noticed(fun: Callable[[jax.Array], Any]) -> list[str]:
    with swallowed.noticed(reach.functions(fun)):
        return list(record(fun, "n").doubts)


@pytest.mark.parametrize("name", SWALLOWED)
def test_what_compiled_code_refuses_is_a_doubt_with_its_line(name):
    assert any("of compiled code at" in doubt for doubt in noticed(SWALLOWED[name]))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["json", "decimal", "suppressed", "finally", "method"])
def test_results_are_those_of_jit(name):
    fun = SWALLOWED[name]
    f = sod2jax.optimize(fun, audit=False)
    for size in (12, 7, 5, 9):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(f(x), jax.jit(fun)(x))
    assert "trust: checked" in f.explain()


def two(a: Any, b: Any) -> Any:
    return a + b


def tries(fun: Callable[[jax.Array], Any], kind: type[Exception]) -> Callable[..., Any]:
    def call(x: jax.Array) -> Any:
        try:
            return fun(x)
        except kind:
            return x * 7

    return call


def unpacked(x: jax.Array) -> Any:
    try:
        a, b = x.shape
    except ValueError:
        return x * 7
    return x * a * b


def probed(x: jax.Array) -> Any:
    try:
        return two(x)  # type: ignore[call-arg]
    except TypeError:
        return two(x, x)


def of_other_things(x: jax.Array) -> Any:
    n = x.shape[0]
    for value in ("a", None):
        try:
            x = x * int(value)
        except (TypeError, ValueError):
            x = x * 2
    return x + n


def raised(x: jax.Array) -> Any:
    try:
        if x.shape[0] == 3:
            raise ValueError(3)
    except ValueError:
        return x * 7
    return x


CERTAIN: dict[str, Callable[[jax.Array], Any]] = {
    "unpacked": unpacked,
    "probed": probed,
    "of other things": of_other_things,
    "raised by Python": raised,
    "item": tries(lambda x: [x, x][2], IndexError),
    "key": tries(lambda x: {"a": x}["b"], KeyError),
    "next": tries(lambda x: next(iter([x][:0])), StopIteration),
    "attribute": tries(lambda x: x.no_attribute, AttributeError),
    "signature": tries(lambda x: inspect.signature(two).bind(x), TypeError),
}


@pytest.mark.parametrize("name", CERTAIN)
def test_what_sizes_have_no_part_in_is_no_doubt(name):
    assert not noticed(CERTAIN[name])


def test_functions_are_as_they_were_after_the_last_trace():
    code = suppressed.__code__
    functions = reach.functions(suppressed)
    with swallowed.noticed(functions), swallowed.noticed(functions):
        if sys.version_info < (3, 12):
            assert suppressed.__code__ is not code
    assert suppressed.__code__ is code


def test_what_somebody_puts_in_place_meanwhile_stays():
    def fun(x: Any) -> Any:
        try:
            return x
        except TypeError:
            return 0

    with swallowed.noticed([fun]):
        fun.__code__ = (lambda x: x).__code__
    assert fun(3) == 3
    assert "lambda" in fun.__code__.co_name
