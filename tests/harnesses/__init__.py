"""One table of programs: it feeds the exactness tests and the coverage page."""

from __future__ import annotations

import importlib
import pkgutil

from tests.harnesses.base import Arg as Arg
from tests.harnesses.base import Harness as Harness
from tests.harnesses.base import check as check

SHARDS = 16  # of all harnesses, for tests that run them all
_OTHERS = ("bare", "base")  # modules without harnesses


def all_harnesses() -> dict[str, Harness]:
    """Every harness by name, from all family files of this package."""
    table: dict[str, Harness] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _OTHERS):
        for harness in importlib.import_module(f"{__name__}.{module}").HARNESSES:
            assert harness.name not in table, f"two harnesses are called {harness.name}"
            table[harness.name] = harness
    return table


def shard(k: int) -> list[Harness]:
    """One of ``SHARDS`` parts of all harnesses."""
    return list(all_harnesses().values())[k::SHARDS]
