"""Handlers tell what they are entered with, and the code does what it did."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import traceback
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import pytest

from sod2jax.tracing import handlers, reach

pytestmark = pytest.mark.skipif(not handlers.WRITES, reason="bytecode of another version")


def plain(n):
    return n + 1


def tried(n):
    try:
        return 1 // n
    except ZeroDivisionError as error:
        return str(error)


def passed_on(n):
    try:
        try:
            return [1][n]
        except KeyError:
            return "no"
    except LookupError:
        return "yes"
    finally:
        n += 1


def returned_in_finally(n):
    try:
        return 1 // n
    finally:
        return "finally"  # noqa: B012, SIM107


def suppressed(n):
    with contextlib.suppress(ZeroDivisionError), contextlib.nullcontext():
        return 1 // n
    return "suppressed"


def in_a_loop(n):
    found = []
    for k in range(4):
        try:
            found.append(6 // (k - n))
        except ZeroDivisionError:
            continue
        else:
            found.append("else")
    return found


def inner(n):
    def call(k: int) -> Any:
        try:
            return [6 // j for j in (k, n)]
        except ZeroDivisionError:
            raise ValueError(n) from None

    try:
        return call(1)
    except ValueError as error:
        return repr(error)


def generated(n):
    def numbers() -> Iterator[Any]:
        try:
            yield 1 // n
        except ZeroDivisionError:
            yield "none"
        try:
            yield 2
        except GeneratorExit:
            yielded.append("closed")
            raise

    yielded: list[Any] = []
    values = numbers()
    yielded += [next(values), next(values)]
    values.close()
    return yielded


def raises(n):
    try:
        return 1 // n
    except KeyError:
        return "no"


exec(  # a way back that one byte does not hold
    "def far(n):\n    try:\n        return 1 // n\n    except ZeroDivisionError:\n"
    + "        n = n + 1 if n else n + 2\n" * 400
    + "        return n\n"
)
FUNCTIONS = [plain, tried, passed_on, returned_in_finally, suppressed, in_a_loop, inner, generated]
FUNCTIONS += [raises, globals()["far"]]


def outcome(fun: Callable[[int], Any], n: int) -> Any:
    try:
        return fun(n)
    except Exception as error:
        lines = [(f.name, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
        return type(error), str(error), lines[1:]


@pytest.mark.parametrize("fun", FUNCTIONS, ids=lambda fun: fun.__name__)
def test_results_and_errors_stay_as_they_are(fun):
    told: list[BaseException] = []
    code = handlers.telling(fun.__code__, told.append)
    new = FunctionType(code, fun.__globals__, fun.__name__)
    for n in (2, 0, 1, -1):
        assert outcome(new, n) == outcome(fun, n)
    assert bool(told) is (fun is not plain)
    assert (code is fun.__code__) is (fun is plain)
    assert list(code.co_lines())[: len(list(fun.__code__.co_lines()))] == list(
        fun.__code__.co_lines()
    )
    assert inspect.getsource(new) == inspect.getsource(fun) if fun.__name__ != "far" else True


def test_handlers_are_told_the_error_with_where_it_was_raised():
    told: list[BaseException] = []
    FunctionType(handlers.telling(tried.__code__, told.append), globals())(0)
    (error,) = told
    assert isinstance(error, ZeroDivisionError)
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code.co_name == "tried"


def all_codes() -> Iterator[CodeType]:
    for module in (argparse, contextlib, inspect, traceback):
        for value in vars(module).values():
            if isinstance(value, FunctionType):
                yield from reach.codes(value.__code__)


def test_tables_of_exceptions_are_written_as_python_writes_them():
    tables = {code.co_exceptiontable for code in all_codes()}
    assert len(tables) > 10
    for table in tables:
        entries = list(handlers._entries(table))
        assert b"".join(handlers._written(*entry) for entry in entries) == table
