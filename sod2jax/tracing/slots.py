"""Methods of numbers that are called by name: ``(25).__eq__(n)`` asks the number alone.

Compiled code answers that with ``NotImplemented`` where it is given no ``int``, and asks nothing of
a size. So a function that calls such methods by name makes a program doubtful.
"""

from __future__ import annotations

import dis
import functools
import itertools
import os
from collections.abc import Sequence
from types import CodeType, FunctionType, MethodWrapperType, WrapperDescriptorType
from typing import Any

from sod2jax.tracing import frames, reach
from sod2jax.tracing.recorder import Recorder

_ARITHMETIC = "add and divmod floordiv lshift mod mul or pow rshift sub truediv xor"
_REFLECTED = (f"r{name}" for name in _ARITHMETIC.split())
_NAMES = frozenset(
    f"__{name}__" for name in (*"eq ge gt le lt ne".split(), *_ARITHMETIC.split(), *_REFLECTED)
)

_KINDS = frozenset("bool complex float int".split())


def _is_installed(function: FunctionType) -> bool:
    """Whether it is of a package, which has such names in what it makes of classes."""
    return f"{os.sep}site-packages{os.sep}" in function.__code__.co_filename


@functools.lru_cache(maxsize=4096)
def _calls_by_name(code: CodeType) -> bool:
    """Whether such a method is looked up in what may be a number, or a class of numbers."""
    if _NAMES.isdisjoint(code.co_names):
        return False
    steps = [s for s in dis.get_instructions(code) if s.opname != "EXTENDED_ARG"]
    return any(
        found.argval in _NAMES
        and found.opname in ("LOAD_METHOD", "LOAD_ATTR")
        and _may_be_number(owner)
        for owner, found in itertools.pairwise(steps)
    )


def _may_be_number(owner: dis.Instruction) -> bool:
    """Whether what an instruction loads is a literal, a variable, or a class of numbers."""
    if owner.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME")):
        return owner.argval in _KINDS
    known = owner.opname.startswith(("LOAD_CONST", "LOAD_SMALL_INT", "LOAD_FAST", "LOAD_DEREF"))
    return known and owner.argval not in ("self", "cls")


def _is_such_method(value: Any) -> bool:
    """Whether something is such a method of a number, or of a class of numbers."""
    if isinstance(value, WrapperDescriptorType):
        return value.__name__ in _NAMES and value.__objclass__.__name__ in _KINDS
    if isinstance(value, MethodWrapperType):
        return value.__name__ in _NAMES and type(value.__self__).__name__ in _KINDS
    return False


def doubt_calls(recorder: Recorder, reached: Sequence[Any]) -> None:
    """Leaves doubts about functions that call such methods, but for methods of such a name.

    Args:
      recorder: of the trace.
      reached: what was traced seems to call it.
    """
    for method in filter(_is_such_method, reached):
        recorder.doubt(f"{method.__qualname__}, which is called by another name")
    functions = [value for value in reached if isinstance(value, FunctionType)]
    own = [f for f in functions if reach.is_others(f.__globals__) and not _is_installed(f)]
    for function in own:
        for code in reach.codes(function.__code__):
            if code.co_name not in _NAMES and _calls_by_name(code):
                where = frames.line_of(code, code.co_firstlineno)
                recorder.doubt(f"a method of numbers that is called by name in {where}")
