"""What Python code calls: a function that is replaced while tracing, or one that remembers.

Compiled code, as that of NumPy's generators, looks ``np.empty`` up as Python code does, but takes
what it returns for an array without asking. Calls of compiled code have no frame: at one of them,
the innermost frame is of Python code that calls something else.
"""

from __future__ import annotations

import builtins
import dis
import functools
import inspect
from types import CodeType, FrameType
from typing import Any

from sod2jax.tracing import frames

_VARIABLES = ("LOAD_FAST", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF")
_ATTRIBUTES = ("LOAD_METHOD", "LOAD_ATTR")
_IDLE = ("PUSH_NULL", "EXTENDED_ARG", "KW_NAMES", "PRECALL")


def calls(frame: FrameType, function: Any) -> bool:
    """Whether the call that a frame is at is written as one of what stands in for a function."""
    steps = _callee(frame.f_code, frame.f_lasti)
    if steps and steps[-1][0] in _ATTRIBUTES:
        return steps[-1][1] == function.__name__
    called = _value(steps, frame)
    if isinstance(called, functools.partial):
        called = called.func
    return getattr(called, "__wrapped__", None) is function


def remembers(frame: FrameType) -> bool:
    """Whether a frame is calling a function that remembers its results, for which it hashes.

    What such a function does not find it computes. Where JAX calls what a call gives, it is one.
    """
    steps = _callee(frame.f_code, frame.f_lasti)
    if steps and "CALL" in steps[-1][0] and frames.is_jax(frame):
        return True
    called = _value(steps, frame)
    return hasattr(called, "cache_info") or hasattr(called, "trace")


def called(frame: FrameType, offset: int) -> Any:
    """What a frame calls by name at an instruction; None for anything else.

    Bound methods are found as the functions of their classes.
    """
    return _value(_callee(frame.f_code, offset), frame)


def _value(steps: tuple[tuple[str, Any], ...], frame: FrameType) -> Any:
    """What a dotted name stands for, found without running anything; None for anything else."""
    if not steps or not steps[0][0].startswith(_VARIABLES):
        return None
    if any(kind not in _ATTRIBUTES for kind, _ in steps[1:]):
        return None
    spaces, name = (frame.f_locals, frame.f_globals, vars(builtins)), steps[0][1]
    value = next((space[name] for space in spaces if name in space), None)
    for _, attribute in steps[1:]:
        value = inspect.getattr_static(value, attribute, None)
    return value


@functools.lru_cache(maxsize=4096)
def _callee(code: CodeType, offset: int) -> tuple[tuple[str, Any], ...]:
    """The instructions, and their names, that find what is called; none if nothing is.

    The text of a call begins with what is called: they begin where the call does.
    """
    steps = [(s, s.positions) for s in dis.get_instructions(code) if s.positions is not None]
    step, here = max((s for s in steps if s[0].offset <= offset), key=lambda s: s[0].offset)
    if "CALL" not in step.opname or here.col_offset is None:  # past its inline caches, perhaps
        return ()
    start, end = (here.lineno, here.col_offset), (here.end_lineno, here.end_col_offset)
    if step.opname == "CALL_KW":  # the names of keywords are pushed last, and stand at no place
        steps = [pair for pair in steps if pair[0].offset != step.offset - 2]
    found = [
        ((p.end_lineno, p.end_col_offset), s)
        for s, p in steps
        if (p.lineno, p.col_offset) == start
        and (p.end_lineno, p.end_col_offset) < end
        and s.opname not in _IDLE
    ]
    return tuple((s.opname, s.argval) for _, s in sorted(found, key=lambda pair: pair[0]))
