"""Whether Python code calls a function that is replaced while tracing, or compiled code does.

Compiled code, as that of NumPy's generators, looks ``np.empty`` up as Python code does, but takes
what it returns for an array without asking. Calls of compiled code have no frame: at one of them,
the innermost frame is of Python code that calls something else.
"""

from __future__ import annotations

import dis
import functools
from typing import Any

_VARIABLES = ("LOAD_FAST", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF")
_ATTRIBUTES = ("LOAD_METHOD", "LOAD_ATTR")


def calls(frame: Any, function: Any) -> bool:
    """Whether the call that a frame is at is written as one of what stands in for a function."""
    kind, name = _callee(frame.f_code, frame.f_lasti)
    if kind in _ATTRIBUTES:
        return name == function.__name__
    if not kind.startswith(_VARIABLES):
        return False
    spaces = (frame.f_locals, frame.f_globals)
    called = next((space[name] for space in spaces if name in space), None)
    if isinstance(called, functools.partial):
        called = called.func
    return getattr(called, "__wrapped__", None) is function


@functools.lru_cache(maxsize=4096)
def _callee(code: Any, offset: int) -> tuple[str, Any]:
    """The instruction that loads what is called, and its name: the call's text begins with it."""
    steps = [(s, s.positions) for s in dis.get_instructions(code) if s.positions is not None]
    step, here = max((s for s in steps if s[0].offset <= offset), key=lambda s: s[0].offset)
    if "CALL" not in step.opname or here.col_offset is None:  # past its inline caches, perhaps
        return "", None
    start, end = (here.lineno, here.col_offset), (here.end_lineno, here.end_col_offset)
    loads = [
        ((p.end_lineno, p.end_col_offset), s.opname, s.argval)
        for s, p in steps
        if (p.lineno, p.col_offset) == start
        and (p.end_lineno, p.end_col_offset) < end
        and s.opname != "PUSH_NULL"
    ]
    return max(loads, key=lambda load: load[0])[1:] if loads else ("", None)
