"""What XLA may leave out where compiling costs more than it saves; it changes only rounding."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import jax
import pytest

THOROUGH = os.environ.get("TEST_PROFILE") == "thorough"  # as `make test-all` sets it
FLAGS: dict[str, Any] = {"xla_cpu_parallel_codegen_split_count": 1}
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    FLAGS["xla_cpu_use_fusion_emitters"] = False  # later versions have no others

# As `compiler_options` of `jax.jit`.
QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    **FLAGS,
}


def last_of(*cases: Any) -> list[Any]:
    """Parameters of a test that repeat each other: `make test` runs the last."""
    *slow, last = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [*(pytest.param(*case, marks=pytest.mark.slow) for case in slow), pytest.param(*last)]


def run_plainly(
    fun: Callable[..., Any], calls: Sequence[Sequence[Any]], quickly: bool = True
) -> list[list[Any]]:
    """The leaves that ``jax.jit`` gives for each call, of shapes of their own.

    All calls run in one executable, as building one has a price of its own.
    """
    options = QUICK if quickly else None
    plain = jax.jit(lambda calls: [fun(*call) for call in calls], compiler_options=options)
    return [jax.tree.leaves(result) for result in plain(calls)]
