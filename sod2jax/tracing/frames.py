"""Whose code asks something of a size, and what for."""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import linecache
import sys
from collections.abc import Container, Iterator
from types import CodeType, FrameType
from typing import Any

from sod2jax import _compat

# Packages that ask for whoever calls them.
RELAYS = frozenset(
    "abc collections dataclasses enum functools json numbers numpy pprint reprlib string textwrap "
    "types typing".split()
)
# Packages that want the true class: they copy, or look for methods.
WANT_TRUE_CLASS = frozenset("copy copyreg jax jaxlib pickle sod2jax weakref".split())
_GENERATED = "<string>"  # the file of what dataclasses write
_MOST_KNOWN = 1 << 16
_known: dict[int, tuple[CodeType, bool]] = {}
# Of our modules, those that stand between a function and its caller.
_HOOKS = ("arithmetic.py", "hooks.py", "numeric.py", "polyfill.py")
# Of JAX's functions, those that write a text for whoever calls them.
_WRITERS = frozenset(
    "__format__ __repr__ __str__ _get_shape_sharding_str str_short str_short_aval".split()
)


def asking(packages: Container[str] = ()) -> FrameType:
    """The frame that asks: the nearest one that is not ours and does not ask for its caller.

    Args:
      packages: those whose frames ask for their callers.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and (is_passed(frame.f_code) or package(frame) in packages):
        frame = frame.f_back
    return frame


def looking(frame: FrameType, packages: Container[str]) -> FrameType:
    """From a frame on, the first one that is of none of some packages."""
    while frame.f_back is not None and package(frame) in packages:
        frame = frame.f_back
    return frame


def wants_true_class(frame: FrameType) -> bool:
    """Whether a frame asks for a class to copy an object, or to look for methods."""
    return package(looking(frame, RELAYS)) in WANT_TRUE_CLASS


def wants_arrays(frame: FrameType) -> bool:
    """Whether a frame takes what a trace has in the place of arrays, whatever it stands for."""
    return package(frame) in WANT_TRUE_CLASS | {"numpy"}


def writing(packages: Container[str]) -> FrameType:
    """The frame that asks for a text, as ``asking`` does; JAX's methods write for their callers."""
    frame = asking(packages)
    while frame.f_back is not None and (
        is_passed(frame.f_code)
        or package(frame) in packages
        or (is_jax(frame) and _outermost(frame.f_code) in _WRITERS)
    ):
        frame = frame.f_back
    return frame


def _outermost(code: CodeType) -> str:
    """The name of the function or method that code is of, or inside of."""
    return code.co_qualname.partition(".<locals>")[0].rpartition(".")[2]


def package(frame: FrameType) -> str:
    """The package that a frame's code belongs to."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def is_jax(frame: FrameType) -> bool:
    """Whether a frame is one of JAX's."""
    return frame.f_code.co_filename.startswith(_compat.JAX_DIRECTORY)


def is_own(frame: FrameType) -> bool:
    """Whether a frame is of this package, and asks for itself: hooks ask for their callers."""
    file = frame.f_code.co_filename
    return file.startswith(_compat.PACKAGE_DIRECTORY) and not file.endswith(_HOOKS)


def line(frame: FrameType) -> str:
    """Where a frame is: "file:line (function)"."""
    return line_of(frame.f_code, frame.f_lineno)


def line_of(code: CodeType, number: int) -> str:
    """The same of code at a line."""
    return f"{code.co_filename}:{number} ({code.co_name})"


def users_line() -> str:
    """The nearest line outside JAX and this package."""
    frame = sys._getframe(1)
    while frame is not None:
        if not (is_jax(frame) or is_passed(frame.f_code)):
            return line(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return "unknown source"


def is_passed(code: CodeType) -> bool:
    """Whether a frame of this code is ours, or asks for its caller."""
    known = _known.get(id(code))
    if known is None or known[0] is not code:  # not by equality: another file's may be equal
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        known = _known[id(code)] = (code, _asks_for_another(code))
    return known[1]


def _asks_for_another(code: CodeType) -> bool:
    name = code.co_filename
    ours = name.startswith(_compat.PACKAGE_DIRECTORY) or name == contextlib.__file__
    generated = name == _GENERATED and code.co_name.startswith("__")
    return ours or generated or name.endswith("shape_poly.py") or _compat.is_relay(code)


def words_error(frame: FrameType) -> bool:
    """Whether the statement that a frame is at words an error."""
    statement = _statement(frame.f_code, frame.f_lasti)
    if isinstance(statement, ast.Raise):
        return True
    if isinstance(statement, ast.Assert) and statement.msg is not None:
        return (at := _position(frame)) is not None and at >= _start(statement.msg)
    return False


def _position(frame: FrameType) -> tuple[int, int] | None:
    """Line and column of the instruction that a frame is at."""
    at = _instruction(frame.f_code, frame.f_lasti)
    place = None if at is None else at.positions
    if place is None or place.lineno is None or place.col_offset is None:
        return None
    return place.lineno, place.col_offset


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


@functools.lru_cache(maxsize=4096)
def _instruction(code: CodeType, offset: int) -> dis.Instruction | None:
    """The one at an offset, which may be past its inline caches."""
    steps = (s for s in dis.get_instructions(code) if s.offset <= offset)
    return max(steps, key=lambda s: s.offset, default=None)


@functools.lru_cache(maxsize=32)
def _tree(file: str, lines: tuple[str, ...]) -> ast.Module | None:
    del file
    with contextlib.suppress(SyntaxError):
        return ast.parse("".join(lines))
    return None


def _nodes(code: CodeType, offset: int, kind: Any) -> Iterator[Any]:
    """The nodes of a kind around an instruction, outer ones first; none without the source."""
    at = _instruction(code, offset)
    place = None if at is None else at.positions
    tree = _tree(code.co_filename, tuple(linecache.getlines(code.co_filename)))
    if tree is None or place is None or None in place:
        return
    first, last, start, end = place
    for found in ast.walk(tree):
        node: Any = found
        if not isinstance(node, kind) or (node.lineno, node.col_offset) > (first, start):
            continue
        if (last, end) <= (node.end_lineno, node.end_col_offset):
            yield node


def _statement(code: CodeType, offset: int) -> ast.stmt | None:
    """The innermost statement around an instruction."""
    return next(iter(reversed(list(_nodes(code, offset, ast.stmt)))), None)


def path(frame: FrameType) -> list[ast.AST]:
    """The nodes around the instruction that a frame is at, outer ones first; or no source."""
    at = _instruction(frame.f_code, frame.f_lasti)
    place = None if at is None else at.positions
    file = frame.f_code.co_filename
    tree = _tree(file, tuple(linecache.getlines(file)))
    if tree is None or place is None or None in place:
        return []
    first, last, start, end = place
    return _around(tree, (first, start), (last, end))  # type: ignore[arg-type]


def _around(node: ast.AST, start: tuple[int, int], end: tuple[int, int]) -> list[ast.AST]:
    for child in ast.iter_child_nodes(node):
        place: Any = child
        if not hasattr(child, "lineno"):  # as of the parts of a comprehension
            found = _around(child, start, end)
            if found:
                return [child, *found]
        elif (place.lineno, place.col_offset) <= start and end <= (
            place.end_lineno,
            place.end_col_offset,
        ):
            return [child, *_around(child, start, end)]
    return []
