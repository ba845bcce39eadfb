"""Errors that compiled code raises where it is given a size, and the function catches.

``json.dumps({"n": n})``, ``Decimal(n)`` look at the class of a size as no method of it tells, and
raise what they would not for an ``int``. An error that ends the trace is no matter; one that
a handler of the function is entered with is a doubt, unless Python code raised it, whose questions
are seen, or it was raised about other things than sizes.
"""

from __future__ import annotations

import contextlib
import dis
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import CodeType, FrameType, FunctionType, MethodType, TracebackType
from typing import Any

from sod2jax import _compat
from sod2jax.tracing import callers, frames, handlers, reach
from sod2jax.tracing.holding import holds_size
from sod2jax.tracing.recorder import attentive, busy

# What is raised where something is not there: hashes, indices and attributes tell; or by Python.
_ELSEWHERE = (
    *(AssertionError, AttributeError, GeneratorExit, ImportError, LookupError, NameError),
    *(StopAsyncIteration, StopIteration),
)
_MOST_CODES = 1 << 14
_telling: dict[int, tuple[CodeType, CodeType]] = {}
_replaced: dict[int, tuple[FunctionType, CodeType, CodeType]] = {}
_lock = threading.Lock()
_traces = 0
_tool: int | None = None


@contextlib.contextmanager
def noticed(functions: Sequence[FunctionType]) -> Iterator[None]:
    """Leaves doubts where functions catch such errors inside the block.

    Args:
      functions: that what is traced meanwhile seems to call.
    """
    global _traces
    with _lock:
        if handlers.WRITES:
            _replace(functions)
        elif not _traces:
            _watch()
        _traces += 1
    try:
        yield
    finally:
        with _lock:
            _traces -= 1
            if not _traces:
                _restore()


def _replace(functions: Iterable[FunctionType]) -> None:
    """Has the handlers of functions tell what they are entered with."""
    for function in functions:
        if id(function) in _replaced or not reach.is_others(function.__globals__):
            continue
        code = function.__code__
        if (new := _told(code)) is not code:
            function.__code__ = new
            _replaced[id(function)] = function, code, new


def _told(code: CodeType) -> CodeType:
    known = _telling.get(id(code))
    if known is None or known[0] is not code:  # not by equality: another file's may be equal
        if len(_telling) >= _MOST_CODES:
            _telling.clear()
        known = _telling[id(code)] = code, handlers.telling(code, _entered)
    return known[1]


def _restore() -> None:
    for function, code, new in _replaced.values():
        if function.__code__ is new:
            function.__code__ = code
    _replaced.clear()
    if _tool is not None:
        _unwatch()


def _watch() -> None:
    """Has Python tell, from 3.12 on, unless all that may ask it for that do."""
    global _tool
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
    free = (k for k in (3, 4, *range(6)) if monitoring.get_tool(k) is None)
    _tool = next(free, None)
    if _tool is not None:
        monitoring.use_tool_id(_tool, "sod2jax")
        monitoring.register_callback(_tool, monitoring.events.EXCEPTION_HANDLED, _handled)
        monitoring.set_events(_tool, monitoring.events.EXCEPTION_HANDLED)


def _unwatch() -> None:
    global _tool
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
    monitoring.set_events(_tool, 0)
    monitoring.free_tool_id(_tool)
    _tool = None


def _handled(code: CodeType, _: int, error: BaseException) -> None:
    if not (code.co_filename.startswith(_compat.JAX_DIRECTORY) or frames.is_passed(code)):
        _entered(error)


def _entered(error: BaseException) -> None:
    """A handler is entered."""
    recorder = attentive()
    if recorder is None or isinstance(error, _ELSEWHERE):
        return
    with contextlib.suppress(Exception), busy(recorder):
        at = _origin(error)
        if at is not None and _is_of_a_size(at):
            where = frames.line_of(at.tb_frame.f_code, at.tb_lineno)
            recorder.doubt(f"a caught {type(error).__name__} of compiled code at {where}")


def _origin(error: BaseException) -> TracebackType | None:
    """Where compiled code raised an error; None if Python code did, or JAX."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    if at is None or frames.is_jax(at.tb_frame) or frames.is_passed(at.tb_frame.f_code):
        return None
    if frames.package(at.tb_frame) == "inspect":  # about how many arguments there are
        return None
    raised = at.tb_frame.f_code.co_code[at.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return None if raised and reach.is_others(at.tb_frame.f_globals) else at


def _is_of_a_size(at: TracebackType) -> bool:
    """Whether an expression that raised seems to have given a size to compiled code."""
    frame, offset = at.tb_frame, at.tb_lasti
    if not any(holds_size(value) for value in frame.f_locals.values()):
        return False
    if isinstance(callers.called(frame, offset), FunctionType | MethodType):
        return False  # raised before it was entered: about how many arguments there are
    return any(holds_size(value) for value in _mentioned(frame, offset))


def _mentioned(frame: FrameType, offset: int) -> list[Any]:
    """The variables of an expression; all, if it calls more than one function."""
    steps = [s for s in dis.get_instructions(frame.f_code) if s.positions is not None]
    here = next((s.positions for s in steps if s.offset == offset), None)
    values = frame.f_locals
    if here is None or None in here or not reach.is_others(frame.f_globals):
        return list(values.values())
    inside = [s for s in steps if s.positions is not None and _is_inside(s.positions, here)]
    names = {s.argval for s in inside if s.opname.startswith("LOAD_")}
    if sum(s.opname == "CALL" or s.opname.startswith("CALL_") for s in inside) > 1:
        names.update(values)
    return [values[name] for name in names if isinstance(name, str) and name in values]


def _is_inside(place: dis.Positions, around: dis.Positions) -> bool:
    first, last, start, end = around
    return (
        None not in place
        and (first, start) <= (place.lineno, place.col_offset)
        and (
            place.end_lineno,
            place.end_col_offset,
        )
        <= (last, end)
    )
