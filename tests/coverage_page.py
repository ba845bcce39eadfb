"""Writes docs/coverage.md: for every primitive its operator class and how it runs on padded arrays.

Run `python -m tests.coverage_page` from the root of the repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sod2jax import rdp, rewrite
from sod2jax.classify.table import GROUPS
from sod2jax.rdp.rule import registered
from sod2jax.rewrite.engine import rules
from tests.harnesses import all_harnesses

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
_HEAD = """# Coverage

Every primitive of jax 0.10 to 0.12 outside Pallas. Written by `python -m tests.coverage_page`; a
test keeps it true.

- *class*: the operator class of SoD² (see `sod2jax/classify/`).
- *analysis*: "own" if Rank and Dimension Propagation has a transfer rule, "default" if it takes the
  shapes from JAX and assumes nothing else.
- *on padded arrays*: what the rewrite rule does. "exact shapes" means that there is none, and why:
  a program that gives the primitive a symbolic dimension runs through exact-shape executables, and
  warns. Operands without a symbolic dimension never need a rule.
- *refused*: forms that are refused although there is a rule, each shown by a harness of this name.

Primitives that other packages register are told from these by identity, whatever their names are.
One that no symbolic dimension touches runs as it is. Elsewhere the function that
`sod2jax.register_rule` got runs in its place, or that its lowering rule was made of, or its `impl`;
exact shapes, where there is none that JAX can trace.
"""


# Why primitives have no rule, by subject; a primitive of its own comes first.
_REASONS = {
    "shapes as data": "bound when a module is exported, after tracing",
    "generators": "replaced before a trace ends",
    "other constructors": "makes tokens, references or constants of a backend, without a "
    "symbolic shape",
    "place in the machine": "belongs to a mesh or a platform, not to an array",
    "reinterpretations": "the inner form of an extended dtype is its own",
    "marks": "orders effects or marks code; carries no symbolic shape under jit",
    "scaled contractions": "its scales go with blocks of the contracted axis, which padding would "
    "shift",
    "attention and recurrence kernels": "opaque kernels of one backend, with layouts of their own",
    "checks of keys": "keys are marked as consumed",
    "sparse": "indices of stored elements would have pad lanes, which no rule can tell from others",
    "placement": "places shards; padding has to keep them divisible",
    "other collectives": "shards pad apart; the true size of the whole is no multiple of the "
    "devices",
    "mutable references": "a reference keeps its shape outside the program's values",
    "thunks": "steps of a backend",
    "control flow of thunks": "steps of a backend",
    "opaque calls": "nothing is known of what is behind it; it must not see padding",
    "calls": "what it says of its body is for one equation, which a padded body is not",
    "other wrappers of sub-jaxprs": "runs its body elsewhere: on a mesh, on a device, in a fused "
    "kernel",
    **dict.fromkeys(
        ("psum", "pmax", "pmin"),
        "over a mesh, shards pad apart; over rows that `vmap` names, it is made a reduction",
    ),
    "zeros_like": "replaced by a broadcast before a trace ends",
    "global_array_to_host_local_array": "moves arrays between processes",
}


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
            f"| `{name}` | {_analysis(name)} | {_rule(name, subject, table)} "
            f"| {', '.join(refused.get(name, []))} |"
            for name in sorted(names)
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


def _rule(name: str, subject: str, table: Mapping[str, object]) -> str:
    rule = table.get(name)
    if rule is None:
        return f"exact shapes: {_REASONS.get(name) or _REASONS[subject]}"
    return (rule.__doc__ or "").strip().splitlines()[0]


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
