"""Which texts people alone read: what is printed, logged or warned of.

The text has to be an argument of such a call, or formatted into one, in the same function; and what
the call gives is not used. What is called is looked up, so nothing counts by its name.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import logging
import sys
from types import FrameType
from typing import Any

from sod2jax.tracing import frames

_LEVELS = frozenset("critical debug error exception info log warn warning".split())
_PRINTED = frozenset("print_exc print_exception print_last print_list print_stack print_tb".split())
# What shows its arguments, by the module that defines it.
_SHOWING = {
    "_warnings": _LEVELS,
    "absl.logging": _LEVELS,
    "builtins": frozenset({"print"}),
    "logging": _LEVELS,
    "traceback": _PRINTED,
    "warnings": _LEVELS,
}
_GIVE_NOTHING = _PRINTED | {"print"}
_PACKAGES = frozenset("absl logging traceback warnings".split())
_FORMATTING = frozenset({str, repr, format, list, tuple})
_METHODS = frozenset("format join".split())
_PARTS = (
    *(ast.Constant, ast.Dict, ast.FormattedValue, ast.JoinedStr, ast.keyword, ast.List),
    *(ast.Starred, ast.Tuple),
)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_COMPREHENDING = frozenset("<dictcomp> <genexpr> <listcomp> <setcomp>".split())
_UNKNOWN = object()


def only(frame: FrameType) -> bool:
    """Whether what a frame writes where it is goes to people."""
    user, is_written = _past(frame), frames.package(frame) in _PACKAGES
    return (is_written and frames.is_jax(user)) or _shows_only(user)


def _past(frame: FrameType) -> FrameType:
    """The frame that has something shown by those packages, and by handlers of other packages."""
    if frames.package(frame) not in _PACKAGES:
        return frame
    inner, known = frame, set()
    while frame.f_back is not None and (frames.package(frame) in _PACKAGES or _is_handler(frame)):
        known.add(frames.package(frame))
        frame = frame.f_back
    return inner if frames.package(frame) in known else frame  # its own handler reads it


def _is_handler(frame: FrameType) -> bool:
    first = frame.f_code.co_varnames[:1]
    kind = type(frame.f_locals.get(first[0])) if first else object
    return issubclass(kind, logging.Filterer | logging.Formatter)


def _shows_only(frame: FrameType) -> bool:
    """Whether the expression that a frame is at is shown, and used for nothing else."""
    path = frames.path(frame)
    for k in reversed(range(1, len(path))):
        node, inner = path[k], path[k + 1] if k + 1 < len(path) else None
        if isinstance(node, _COMPREHENSIONS) and frame.f_code.co_name in _COMPREHENDING:
            return frame.f_back is not None and _shows_only(frame.f_back)
        if isinstance(node, ast.Call):
            if inner is not None and inner is node.func:
                return False
            if not _formats(node, frame):
                unused = isinstance(path[k - 1], ast.Expr)
                return _shows(node, frame, unused)
        elif not (isinstance(node, (*_PARTS, *_COMPREHENSIONS)) or _is_joined(node)):
            return False
    return False


def _is_joined(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod)


def _formats(call: ast.Call, frame: FrameType) -> bool:
    """Whether a call makes a text of its arguments, or a list of texts."""
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in _METHODS:
        is_text = isinstance(function.value, ast.JoinedStr)
        return is_text or isinstance(_value(function.value, frame), str)
    called = _value(function, frame)
    return any(called is known for known in _FORMATTING)


def _shows(call: ast.Call, frame: FrameType, unused: bool) -> bool:
    """Whether a call shows its arguments to people."""
    called = _value(call.func, frame)
    names = _SHOWING.get(getattr(called, "__module__", None) or "", frozenset())
    name = getattr(called, "__name__", "")
    if name not in names or not (unused or name in _GIVE_NOTHING):
        return False
    if any(word.arg is None for word in call.keywords):
        return False
    return all(_is_stream(_value(w.value, frame)) for w in call.keywords if w.arg == "file")


def _is_stream(file: Any) -> bool:
    """Whether a file is one of those that a process has from the start."""
    return file is not None and (file is sys.stdout or file is sys.stderr)


def _value(node: ast.expr, frame: FrameType) -> Any:
    """What a dotted name stands for, found without running anything."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        spaces = (frame.f_locals, frame.f_globals, vars(builtins))
        return next((space[node.id] for space in spaces if node.id in space), _UNKNOWN)
    if isinstance(node, ast.Call) and _value(node.func, frame) is logging.getLogger:
        return logging.getLogger()  # they have the same methods
    if not isinstance(node, ast.Attribute):
        return _UNKNOWN
    owner = _value(node.value, frame)
    if owner is _UNKNOWN:
        return _UNKNOWN
    return inspect.getattr_static(owner, node.attr, _UNKNOWN)
