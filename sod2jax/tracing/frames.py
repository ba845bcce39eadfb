"""Whose code asks something of a size, and whether to look it up in a dictionary or a set."""

from __future__ import annotations

import ast
import dis
import functools
import linecache
from typing import Any

# Packages that ask for the class or the hash of a size for reasons of their own.
_OTHERS = frozenset(
    "abc copy copyreg dataclasses functools jax jaxlib numpy pickle reprlib sod2jax "
    "typing weakref".split()
)
_HASHERS = _OTHERS | {"flax"}  # compares sets of sizes with each other only
_LOOKUPS = frozenset(
    "BINARY_SUBSCR STORE_SUBSCR DELETE_SUBSCR CONTAINS_OP BUILD_MAP BUILD_CONST_KEY_MAP "
    "BUILD_SET MAP_ADD SET_ADD SET_UPDATE _count_elements() dict() frozenset() set() .add() "
    ".discard() .fromkeys() .get() .pop() .remove() .setdefault()".split()
)


def is_users(frame: Any, others: frozenset[str] = _OTHERS) -> bool:
    """Whether a frame is none of a package that asks for reasons of its own."""
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    return package not in others


def looks_up(frame: Any) -> bool:
    """Whether the frame is the user's and hashes for a dictionary or a set."""
    return is_users(frame, _HASHERS) and _operation(frame.f_code, frame.f_lasti) in _LOOKUPS


@functools.lru_cache(maxsize=4096)
def _operation(code: Any, offset: int) -> str:
    """Name of an instruction; where it calls one, that of the function() or the .method()."""
    step = next((s for s in dis.get_instructions(code) if s.offset == offset), None)
    if step is None or "CALL" not in step.opname or step.positions is None:  # PRECALL in 3.11
        return "" if step is None else step.opname
    first, last, start, end = step.positions
    if first is None:
        return ""
    lines = [line.encode() for line in linecache.getlines(code.co_filename)[first - 1 : last]]
    lines[-1:] = [line[:end] for line in lines[-1:]]
    lines[:1] = [line[start:] for line in lines[:1]]
    try:
        call = ast.parse(b"".join(lines).decode(), mode="eval").body
    except SyntaxError:
        return ""
    function = getattr(call, "func", None)
    if isinstance(function, ast.Attribute):
        return f".{function.attr}()"
    return f"{function.id}()" if isinstance(function, ast.Name) else ""
