"""What can be asked of XLA beside the program, by platform."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax

CompilerOptions = Mapping[str, str | bool]

MEMORY = "ordered for memory"

_OPTIONS: dict[str, dict[str, CompilerOptions]] = {
    "cpu": {
        # XLA's default orders for concurrency: whatever is independent may be alive at once.
        MEMORY: {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"},
        "copies by region": {"xla_cpu_copy_insertion_use_region_analysis": True},
    }
}


def compiler_options(platform: str) -> dict[str, CompilerOptions]:
    """The options of a platform that its compiler knows, by what they do."""
    known = _OPTIONS.get(platform, {})
    return {name: options for name, options in known.items() if _is_known(tuple(options.items()))}


@functools.cache
def _is_known(options: tuple[tuple[str, str | bool], ...]) -> bool:
    """Whether the compiler takes options: it refuses those that it does not know."""
    lowered = jax.jit(lambda x: x).lower(jax.ShapeDtypeStruct((), "float32"))
    try:
        lowered.compile(compiler_options=dict(options))
    except jax.errors.JaxRuntimeError:
        return False
    return True
