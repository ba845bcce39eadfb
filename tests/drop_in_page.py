"""Writes docs/drop_in.md: what `jit` has, and what an optimized function makes of it.

Run `python -m tests.drop_in_page` from the root of the repository.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from tests.drop_in import ROWS, Row, filter_jit, jax_jit, nnx_jit

PAGE = Path(__file__).resolve().parents[1] / "docs" / "drop_in.md"
MODULES: dict[str, ModuleType] = {"jax.jit": jax_jit, "nnx.jit": nnx_jit, "filter_jit": filter_jit}
_TITLES = {
    "jax.jit": "## In the place of `jax.jit`",
    "nnx.jit": "## In the place of `nnx.jit`",
    "filter_jit": "## `filter=True`, in the place of `equinox.filter_jit`",
}
_HEAD = """# In the place of jit

Every keyword, method and behaviour of `jax.jit`, `flax.nnx.jit` and `equinox.filter_jit`, and what
`sod2jax.optimize` makes of it: the same, better, or refused, and why. Each row is a test in
`tests/drop_in/`, run beside the library's own jit. Written by `python -m tests.drop_in_page`; tests
keep it true, and see that no keyword and no method is left out.
"""


def page() -> str:
    """The text of the page."""
    parts = [_HEAD]
    for of, title in _TITLES.items():
        rows = [_line(row) for row in sorted(ROWS, key=_order) if row.of == of]
        parts.append("\n".join([title, "", "| what | | |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def _order(row: Row) -> int:
    """As they stand in the file; of several on one function, as they are written there."""
    return row.check.__code__.co_firstlineno


def _line(row: Row) -> str:
    says = row.says.replace("|", "\\|")
    return f"| {_shown(row.name)} | {row.verdict} | {says} |"


def _shown(name: str) -> str:
    """Keywords and methods, which are one word, as code."""
    is_code = " " not in name and ("_" in name or "(" in name or "." in name)
    return f"`{name}`" if is_code else name


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
