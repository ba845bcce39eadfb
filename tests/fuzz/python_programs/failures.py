"""Programs that once came out wrong, or ran with exact shapes for no reason: made small."""

from __future__ import annotations

from typing import Any

from tests.fuzz.python_programs.generate import Program
from tests.fuzz.python_programs.grammar import PREAMBLE

_SIZES = (5, 8, 1, 3, 12, 2)


def _program(body: str, specs: tuple[str, ...], bare: bool) -> Program:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    head = f"def f({', '.join('xyz'[: len(specs)])}):"
    names = sorted({d for spec in specs for d in spec.split(", ") if d.isalpha()})
    points: list[dict[str, int]] = [
        {name: _SIZES[(k * (1 + j)) % 6] for j, name in enumerate(names)} for k in range(6)
    ]
    options: dict[str, Any] = {} if bare else {"shapes": specs, "buckets": dict.fromkeys(names, (12,))}
    return Program(0, f"{PREAMBLE}\n{head}\n{lines}\n", specs, options, tuple(points))


_BODIES: dict[str, tuple[tuple[str, ...], str]] = {}

FAILURES = {
    f"{name}-{'bare' if bare else 'specs'}": _program(body, specs, bare)
    for name, (specs, body) in _BODIES.items()
    for bare in (False, True)
}
