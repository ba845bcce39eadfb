"""Writes docs/bare.md: common functions, and how they run when they are optimized without specs.

Run `python -m tests.bare_page` from the root of the repository.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.harnesses import bare
from tests.harnesses.bare import Bare

PAGE = Path(__file__).resolve().parents[1] / "docs" / "bare.md"
_HEAD = """# What bare use covers

{count} common one-line functions, each used as `sod2jax.optimize(f)`: without specs, constraints
or buckets. `tests/test_bare.py` calls each at ten sizes, among them odd and even ones, primes,
powers of two and 1, with poison in the padding: results equal those of `jax.jit` in values, shapes,
dtypes and weak types. Written by `python -m tests.bare_page`; a test keeps it true.

- *arguments*: dtypes and shapes; letters are the sizes that vary from call to call.
- *programs*, *executables*: the most that the ten calls make, the first call's own among them. What
  `jax.jit` makes is one executable for each size.
- *runs*: "padded", or "exact shapes" with the reason; such a call warns, and `explain()` says why.
"""


def page() -> str:
    """The text of the page."""
    parts = [_HEAD.format(count=len(bare.ENTRIES))]
    written = dict(_written())
    for group, entries in bare.GROUPS.items():
        parts.append(
            f"## {group}\n\n"
            "| entry | function | arguments | programs | executables | runs |\n"
            "|---|---|---|---|---|---|\n"
            + "\n".join(_row(entry, written[entry.name]) for entry in entries)
            + "\n"
        )
    return "\n".join(parts)


def _row(entry: Bare, text: str) -> str:
    arguments = ", ".join(f"{np.dtype(arg.dtype)}[{_shape(arg.spec)}]" for arg in entry.args)
    runs = "padded" if entry.exact is None else f"exact shapes: {entry.exact}"
    shown = text.replace("|", "\\|")
    return (
        f"| {entry.name} | `{shown}` | {arguments} "
        f"| {entry.traces} | {entry.executables} | {runs} |"
    )


def _shape(spec: str | tuple[int, ...]) -> str:
    return spec if isinstance(spec, str) else ", ".join(map(str, spec))


def _written() -> Iterator[tuple[str, str]]:
    """The name and the source of every entry, as the table has it."""
    source = inspect.getsource(bare)
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "rows"):
            continue
        module, _, functions = node.args
        assert isinstance(module, ast.Constant) and isinstance(functions, ast.Dict)
        for key, value in zip(functions.keys, functions.values, strict=True):
            assert isinstance(key, ast.Constant)
            body = value.body if isinstance(value, ast.Lambda) else value
            assert body.lineno == body.end_lineno, f"{key.value} takes more than one line"
            yield (
                f"{module.value}.{key.value}",
                lines[body.lineno - 1][body.col_offset : body.end_col_offset],
            )


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
