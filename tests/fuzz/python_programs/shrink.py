"""Makes a failing program small: leaves out statements, and puts parts in the place of wholes."""

from __future__ import annotations

import ast
import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

from tests.fuzz.python_programs.generate import Program, is_python
from tests.fuzz.python_programs.grammar import PREAMBLE
from tests.fuzz.python_programs.judge import Verdict, judge

_MOST = 150  # programs that are tried


def shrunk(program: Program, verdict: Verdict, compiled: bool = False) -> tuple[Program, Verdict]:
    """A smaller program that fails in the same way, and its verdict."""
    tries = 0
    found = True
    while found:
        found = False
        for smaller in _smaller(program):
            tries += 1
            if tries > _MOST:
                return program, verdict
            other = judge(smaller, compiled)
            if other.kind == verdict.kind and _alike(other, verdict):
                program, verdict, found = smaller, other, True
                break
    return program, verdict


def _alike(a: Verdict, b: Verdict) -> bool:
    """Whether an error is still an error, and another result another result."""
    return ("Error(" in a.detail) == ("Error(" in b.detail)


def _smaller(program: Program) -> Iterator[Program]:
    if len(program.points) > 2:
        halves = program.points[-2:], program.points[:2], program.points[: len(program.points) // 2]
        for points in halves:
            yield dataclasses.replace(program, points=points)
    body = program.source.removeprefix(PREAMBLE)
    seen = {body}
    for tree in _edits(ast.parse(body)):
        text = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
        if text not in seen and len(text) < len(body) + 20 and is_python(text):
            seen.add(text)
            yield dataclasses.replace(program, source=PREAMBLE + "\n" + text)


def _edits(tree: ast.Module) -> Iterator[ast.Module]:
    """Trees with one statement or expression less, the large ones first."""
    nodes = list(ast.walk(tree))
    for index, node in enumerate(nodes):
        for field, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                for k, statement in enumerate(value):
                    for new in _without(statement):
                        if new or len(value) > 1:
                            yield _replaced(tree, index, field, [*value[:k], *new, *value[k + 1 :]])
            elif isinstance(value, list) and len(value) > 1:
                keep = isinstance(node, ast.Dict | ast.Compare | ast.arguments)
                for k in () if keep else range(len(value)):
                    yield _replaced(tree, index, field, [*value[:k], *value[k + 1 :]])
    for index, node in enumerate(nodes):
        for field, value in ast.iter_fields(node):
            values = value if isinstance(value, list) else [value]
            for k, part in enumerate(values):
                for new in _parts(part):
                    whole: Any = [*values[:k], new, *values[k + 1 :]]
                    yield _replaced(tree, index, field, whole if isinstance(value, list) else new)


def _without(statement: ast.stmt) -> Iterator[list[Any]]:
    yield []
    for field in ("body", "orelse", "finalbody"):
        inner = getattr(statement, field, None)
        if inner and not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield inner
    for handler in getattr(statement, "handlers", ()):
        yield handler.body


def _parts(node: Any) -> Iterator[Any]:
    """What can stand in the place of an expression."""
    if not isinstance(node, ast.expr) or isinstance(node, ast.Constant):
        return
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
    if not isinstance(node, ast.Name | ast.Attribute):
        yield ast.Constant(3)


def _replaced(tree: ast.Module, index: int, field: str, value: Any) -> ast.Module:
    """A copy of a tree with another value in a field of its ``index``-th node."""
    new = copy.deepcopy(tree)
    setattr(list(ast.walk(new))[index], field, copy.deepcopy(value))
    return new
