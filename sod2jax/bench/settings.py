"""What a run of the bench is asked to do, with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One suite at one size, and the methods to run; `suite` is None for the built-in one."""

    suite: Path | None
    about: str
    model: str
    size: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """A run, with every default filled in; every case runs at every batch size."""

    cases: tuple[Case, ...]
    batches: tuple[int, ...]
    requests: int
    passes: int
    seed: int
    weights: Path | None
    json: Path | None
    plot: Path | None
