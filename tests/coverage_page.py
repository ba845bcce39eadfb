"""Writes docs/coverage.md: for every primitive its operator class and how it runs on padded arrays.

Run `python -m tests.coverage_page` from the root of the repository.
"""

from __future__ import annotations

from pathlib import Path

from sod2jax import rdp, rewrite
from sod2jax._operator_classes import GROUPS
from sod2jax.rdp.rule import registered
from sod2jax.rewrite.engine import rules
from tests.harnesses import all_harnesses

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
_HEAD = """# Coverage

Every primitive of jax 0.10 to 0.12 outside Pallas. Written by `python -m tests.coverage_page`; a
test keeps it true.

- *class*: the operator class of SoD² (see `sod2jax/classify.py`).
- *analysis*: "own" if Rank and Dimension Propagation has a transfer rule, "default" if it takes the
  shapes from JAX and assumes nothing else.
- *on padded arrays*: what the rewrite rule does. "exact shapes" means that there is none: a program
  that gives the primitive a symbolic dimension runs through exact-shape executables, and warns.
  Operands without a symbolic dimension never need a rule.
- *refused*: forms that are refused although there is a rule, each shown by a harness of this name.
"""


def page() -> str:
    """The text of the page."""
    assert rdp and rewrite
    table = rules()
    refused: dict[str, list[str]] = {}
    for name, harness in all_harnesses().items():
        if harness.exact is not None:
            refused.setdefault(harness.exact, []).append(f"`{name}`")
    parts = [_HEAD]
    for subject, (operator_class, names) in GROUPS.items():
        rows = [
            f"| `{name}` | {_analysis(name)} | {_rule(table.get(name))} "
            f"| {', '.join(refused.get(name, []))} |"
            for name in sorted(names.split())
        ]
        parts.append(
            f"## {subject} ({operator_class.name})\n\n"
            "| primitive | analysis | on padded arrays | refused |\n|---|---|---|---|\n"
            + "\n".join(rows)
            + "\n"
        )
    return "\n".join(parts)


def _analysis(name: str) -> str:
    return "own" if name in registered() else "default"


def _rule(rule: object) -> str:
    if rule is None:
        return "exact shapes"
    return (rule.__doc__ or "").strip().splitlines()[0]


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
